"""Days that are done, kept on disk with the models, so that an interrupted fortnight goes on where it was."""

import hashlib
import json
import shutil
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

import benchmarks
from benchmarks.fortnight.document import METRICS, POLICIES, Day
from model.errors import HdrmError
from model.store import ModelStore
from training.code import digest_of_code

__all__ = ["Kept", "Scored"]


@dataclass(frozen=True)
class Scored:
    """A day, and what every user of it had.

    Attributes:
        day: the day.
        users: indices of those who were asked for, (n,) int64.
        values: by policy, metric and user, (3, 2, n) float64.
    """

    day: Day
    users: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]


class Kept:
    """What is done of one fortnight, one `.npz` without pickles for each day.

    Args:
        folder: made when the first thing is kept.
        identity: what tells a fortnight from others, as JSON can hold it; nothing is found of others, or of other
            code.
    """

    def __init__(self, folder: Path, identity: Sequence[object]) -> None:
        told = json.dumps([identity, digest_of_code(benchmarks)], sort_keys=True)
        self.folder = folder
        self._own = folder / hashlib.sha256(told.encode()).hexdigest()[:16]

    def store(self) -> ModelStore:
        """Of the models of the fortnight."""
        return ModelStore(self._own / "models")

    def load(self, day: int) -> Scored | None:
        """A day, None if it is not done."""
        try:
            with self._path(day).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                about = Day.model_validate_json(str(arrays["about"]))
                return Scored(about, arrays["users"], arrays["values"])
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):  # not there, or cut short
            return None

    def keep(self, number: int, scored: Scored) -> None:
        """Keep a day.

        Raises:
            HdrmError: it cannot be written.
        """
        assert scored.values.shape == (len(POLICIES), len(METRICS), len(scored.users))
        unfinished = self._path(number).with_suffix(".unfinished")
        try:
            self._own.mkdir(parents=True, exist_ok=True)
            with unfinished.open("wb") as file:
                about = np.array(scored.day.model_dump_json())
                np.savez(file, allow_pickle=False, about=about, users=scored.users, values=scored.values)
            unfinished.replace(self._path(number))
        except OSError as error:
            raise HdrmError(
                f"{self.folder}: a finished day cannot be kept there ({error.strerror or error})",
                hint="mend that; the same command with --resume goes on from the days before",
            ) from error

    def begun(self) -> bool:
        """Whether anything is there, of whatever fortnight."""
        return self.folder.exists()

    def clear(self) -> None:
        """Forget all, models too, when the days are in the document."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, day: int) -> Path:
        return self._own / f"day-{day:02}.npz"
