"""The model store: a directory of artifacts and a pointer to the one to serve.

<root>/<version>/        published artifacts, never changed afterwards
<root>/current           text file with the version to serve, replaced atomically
<root>/.staging/         artifacts being written; never served
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model.artifact import verify_artifact
from model.errors import ArtifactError
from model.manifest import MANIFEST, Manifest, read_manifest

__all__ = ["ModelStore"]


class ModelStore:
    """Artifacts below one directory.

    Args:
        root: the directory; it need not exist before the first publication.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def versions(self) -> list[str]:
        """Published versions, in no particular order of time."""
        if not self.root.is_dir():
            return []
        return sorted(path.parent.name for path in self.root.glob(f"[!.]*/{MANIFEST}"))

    def current(self) -> str | None:
        """The version to serve, None if none was published yet.

        Raises:
            ArtifactError: the pointer cannot be read.
        """
        pointer = self.root / "current"
        try:
            return pointer.read_text().strip() or None
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise ArtifactError(
                f"{pointer}: cannot be read ({type(error).__name__})",
                hint="it is a text file that holds one of the versions beside it",
            ) from error

    def path(self, version: str | None = None) -> Path:
        """Directory of a version, of the current one by default.

        Raises:
            ArtifactError: there is no such version; the message lists those that are.
        """
        wanted = version if version is not None else self.current()
        if wanted is None:
            raise ArtifactError(
                f"{self.root}: no model has been published here",
                hint=f"train one: hdrm train --data DIR --models {self.root}",
            )
        if wanted not in self.versions():
            known = ", ".join(self.versions()) or "none"
            raise ArtifactError(f"{self.root}: no model version {wanted!r}; there are: {known}")
        return self.root / wanted

    def prepare(self) -> None:
        """Make sure that publishing will be possible, before the work of training is done.

        Raises:
            ArtifactError: the directory cannot be made or written to.
        """
        area = self.root / ".staging"
        try:
            area.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=area).close()
        except OSError as error:
            raise ArtifactError(
                f"{self.root}: models cannot be written there ({error.strerror})",
                hint="choose a folder that you can write to, or one that does not exist yet",
            ) from error

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """A fresh directory to write an artifact into; removed afterwards unless it was published."""
        self.prepare()
        directory = Path(tempfile.mkdtemp(dir=self.root / ".staging"))
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def publish(self, staged: Path) -> Manifest:
        """Make a complete staged artifact visible under its version, and current.

        The directory appears by one rename. A version that is there already has the same content by
        construction and is kept; if its files were damaged since, the staged ones take their place.
        """
        manifest = read_manifest(staged)
        for path in staged.iterdir():
            path.chmod(0o644)  # safetensors writes for the owner alone, but another account may serve
            _sync(path)
        staged.chmod(0o755)
        _sync(staged)
        target = self.root / manifest.version
        if target.exists() and verify_artifact(target):
            target.rename(Path(tempfile.mkdtemp(dir=staged.parent, prefix="damaged-")))
        if not target.exists():
            staged.rename(target)
            _sync(self.root)
        self.activate(manifest.version)
        return read_manifest(target)

    def activate(self, version: str) -> None:
        """Point `current` at a published version, atomically.

        Raises:
            ArtifactError: there is no such version.
        """
        self.path(version)
        handle, name = tempfile.mkstemp(dir=self.root, prefix=".current-")
        with os.fdopen(handle, "w") as file:
            file.write(version + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, self.root / "current")
        _sync(self.root)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
