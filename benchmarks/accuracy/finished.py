"""Runs that are done, kept on disk, so that an interrupted benchmark goes on where it was."""

import hashlib
import json
import shutil
import zipfile
from dataclasses import asdict
from pathlib import Path

import numpy as np

from benchmarks.accuracy.problem import Problem
from benchmarks.accuracy.runs import Outcome, Run

__all__ = ["Finished"]

STATE = "state: "
SCALARS = ("described", "fit_seconds", "evaluation_seconds", "peak_rss_bytes", "figures")


class Finished:
    """Outcomes in a folder, one `.npz` without pickles for each run.

    Args:
        folder: made when the first outcome is kept.
        problem: the data; outcomes of other data are not found.
    """

    def __init__(self, folder: Path, problem: Problem) -> None:
        self.folder = folder
        self.about = [problem.fingerprint, problem.ordered, problem.protocol, [q.mode for q in problem.queries]]

    def load(self, run: Run) -> Outcome | None:
        """What came of the run, None if it is not done."""
        try:
            with self._path(run).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                known = json.loads(str(arrays["about"]))
                ranked = {(name, mode): arrays[f"{name}:{mode}"] for name, mode in known["lists"]}
                states = {name: arrays[STATE + name].tobytes() for name in known["states"]}
        except (OSError, EOFError, zipfile.BadZipFile):  # not there, or cut short
            return None
        return Outcome(ranked=ranked, states=states, **{name: known[name] for name in SCALARS})

    def keep(self, run: Run, outcome: Outcome) -> None:
        """Keep what came of the run."""
        self.folder.mkdir(parents=True, exist_ok=True)
        arrays = {f"{name}:{mode}": lists for (name, mode), lists in outcome.ranked.items()}
        arrays |= {STATE + name: np.frombuffer(state, np.uint8) for name, state in outcome.states.items()}
        known = {"lists": list(outcome.ranked), "states": list(outcome.states)}
        known |= {name: getattr(outcome, name) for name in SCALARS}
        about = np.array(json.dumps(known))
        np.savez(self._path(run), allow_pickle=False, about=about, **arrays)

    def clear(self) -> None:
        """Forget everything, when it is in the document or not wanted."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, run: Run) -> Path:
        identity = json.dumps([self.about, asdict(run)], sort_keys=True)
        return self.folder / f"{hashlib.sha256(identity.encode()).hexdigest()[:16]}.npz"
