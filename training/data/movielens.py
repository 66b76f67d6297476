"""MovieLens 100K, with titles, years and genres, out of a wheel that pip downloads and verifies."""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Final

from model.errors import DataError, UnavailableError
from training.data.importers import Imported, ImportOptions, import_dataset
from training.data.sources import GROUPLENS_TERMS

__all__ = ["GROUPLENS_TERMS", "NAME", "SOURCE", "fetch_ml_100k"]

NAME: Final = "ml-100k"
REQUIREMENT: Final = "recbole==1.2.1"
WHEEL_SHA256: Final = "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407"
WHEEL: Final = "recbole-1.2.1-py3-none-any.whl"
FOLDER: Final = "recbole/dataset_example/ml-100k"
FILES: Final = ("ml-100k.inter", "ml-100k.item")
SOURCE: Final = f"{WHEEL}: {', '.join(FILES)}"
BY_HAND: Final = (
    f"check the network and pip's settings; or elsewhere run `pip download --no-deps {REQUIREMENT}`, "
    f"unzip {FOLDER} and run `hdrm data import ml-100k.inter`"
)


def fetch_ml_100k(*, python: str = sys.executable) -> Imported:
    """Download the wheel into a temporary folder, verify it, and import its two files.

    Args:
        python: the interpreter whose pip downloads.

    Raises:
        UnavailableError: pip is missing, or could not download.
        DataError: the file is not the one expected.
    """
    with tempfile.TemporaryDirectory(prefix="hdrm-") as temporary:
        folder = Path(temporary)
        wheel = download_wheel(folder, python)
        unpack(wheel, folder)
        options = ImportOptions(movielens_titles=True, name=NAME, source=SOURCE, terms=GROUPLENS_TERMS)
        return import_dataset(folder / FILES[0], options)


def download_wheel(folder: Path, python: str) -> Path:
    """Run `pip download`, which checks the sha256 itself, and check it again."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{REQUIREMENT} --hash=sha256:{WHEEL_SHA256}\n", encoding="utf-8")
    command = [python, "-m", "pip", "download", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
    command += ["--disable-pip-version-check", "--no-input", "--progress-bar", "off"]
    command += ["--dest", str(folder), "--requirement", str(requirements)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    except OSError as error:
        raise UnavailableError(f"cannot run {python}: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise UnavailableError("pip download took longer than 10 minutes", hint=BY_HAND) from error
    if done.returncode != 0:
        raise failure_of(done.stdout + done.stderr)
    wheel = folder / WHEEL
    if not wheel.is_file():
        raise UnavailableError(f"pip downloaded no {WHEEL}", hint=BY_HAND)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if digest != WHEEL_SHA256:
        raise DataError(f"{WHEEL} has sha256 {digest}, expected {WHEEL_SHA256}")
    return wheel


def failure_of(output: str) -> DataError | UnavailableError:
    """What pip's output says went wrong."""
    if "No module named pip" in output:
        return UnavailableError("this Python has no pip to download with", hint="python -m ensurepip, then try again")
    last = "\n".join(f"  {line}" for line in output.strip().splitlines()[-6:])
    if "DO NOT MATCH THE HASHES" in output:
        return DataError(
            f"the download of {REQUIREMENT} is not the expected file:\n{last}",
            hint="check which package index pip uses",
        )
    return UnavailableError(f"pip could not download {REQUIREMENT}:\n{last}", hint=BY_HAND)


def unpack(wheel: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            for name in FILES:
                (folder / name).write_bytes(archive.read(f"{FOLDER}/{name}"))
    except (KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{wheel.name} does not hold {FOLDER}: {error}") from error
