"""Runs that are done, kept on disk, so that an interrupted benchmark goes on where it was."""

import hashlib
import json
import zipfile
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import numpy as np

import benchmarks
from benchmarks.accuracy.problem import Problem
from benchmarks.accuracy.runs import Outcome, Run
from benchmarks.baselines.registry import BASELINES, TRAINED
from benchmarks.baselines.settings import load_settings
from model.errors import HdrmError
from training.code import digest_of_code
from training.config import load_config

__all__ = ["Finished", "digest_of"]

STATE = "state: "
UNFINISHED = ".unfinished"
SCALARS = ("described", "fit_seconds", "fit_cpu_seconds", "evaluation_seconds", "peak_rss_bytes", "figures")


class Finished:
    """Outcomes in a folder, one `.npz` without pickles for each run.

    Args:
        folder: made when the first outcome is kept.
        problem: the data; outcomes of other data, or of other code, are not found.
    """

    def __init__(self, folder: Path, problem: Problem) -> None:
        self.folder = folder
        self.about = [digest_of(problem), digest_of_code(benchmarks)]
        self.ordered = problem.ordered

    def load(self, run: Run) -> Outcome | None:
        """What came of the run, None if it is not done."""
        try:
            with self._path(run).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                known = json.loads(str(arrays["about"]))
                ranked = {(name, mode): arrays[f"{name}:{mode}"] for name, mode in known["lists"]}
                states = {name: arrays[STATE + name].tobytes() for name in known["states"]}
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):  # not there, or cut short
            return None
        return Outcome(ranked=ranked, states=states, **{name: known[name] for name in SCALARS})

    def keep(self, run: Run, outcome: Outcome) -> None:
        """Keep what came of the run.

        Raises:
            HdrmError: it cannot be written.
        """
        arrays = {f"{name}:{mode}": lists for (name, mode), lists in outcome.ranked.items()}
        arrays |= {STATE + name: np.frombuffer(state, np.uint8) for name, state in outcome.states.items()}
        known = {"lists": list(outcome.ranked), "states": list(outcome.states)}
        known |= {name: getattr(outcome, name) for name in SCALARS}
        about = np.array(json.dumps(known))
        unfinished = self._path(run).with_suffix(UNFINISHED)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with unfinished.open("wb") as file:
                np.savez(file, allow_pickle=False, about=about, **arrays)
            unfinished.replace(self._path(run))
        except OSError as error:
            raise HdrmError(
                f"{self.folder}: a finished run cannot be kept there ({error.strerror or error})",
                hint="mend that; the same command with --resume goes on from the runs before",
            ) from error

    def count(self) -> int:
        """Outcomes that are kept, of whatever data."""
        return len(list(self.folder.glob("*.npz")))

    def clear(self) -> None:
        """Forget all outcomes, when they are in the document."""
        for path in (*self.folder.glob("*.npz"), *self.folder.glob(f"*{UNFINISHED}")):
            path.unlink()
        with suppress(OSError):  # not there, or others keep something in it
            self.folder.rmdir()

    def _path(self, run: Run) -> Path:
        identity = json.dumps([self.about, asdict(run), self._settings(run)], sort_keys=True)
        return self.folder / f"{hashlib.sha256(identity.encode()).hexdigest()[:16]}.npz"

    def _settings(self, run: Run) -> object:
        """What is kept in files and may change between two benchmarks without concern to the others."""
        if run.model in TRAINED:
            return load_settings(run.model)
        if run.model in BASELINES:
            return None
        return load_config(run.model, run.changes).resolved(ordered=self.ordered).model_dump(mode="json")


def digest_of(problem: Problem) -> str:
    """What tells the data from others."""
    digest = hashlib.sha256(json.dumps([problem.name, problem.n_items, problem.ordered]).encode())
    parts = [problem.search, problem.stop]
    for query in problem.queries:
        digest.update(query.mode.encode())
        parts += [query.history, query.masked, query.truth]
    for part in parts:
        digest.update(part.indptr.tobytes())
        digest.update(np.ascontiguousarray(part.items).tobytes())
    return digest.hexdigest()
