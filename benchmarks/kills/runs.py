"""`hdrm retrain --once` as a process that can be killed, and how far it had come."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import orjson

from model.folder import STAGING
from model.store import ModelStore
from training.retrain.lease import NAME

__all__ = ["Phase", "Retrain"]

Phase = Literal["starting", "training", "writing", "judging", "ending"]


class Retrain:
    """A run.

    Args:
        store: of the models; a directory.
        data: folder of the data.
        options: further options.
        said: file for what it prints.
    """

    def __init__(self, store: ModelStore, data: Path, options: Sequence[str], said: Path) -> None:
        self._store = store
        self._said = said
        self._before = set(store.versions()), store.current(), self._staged()
        self.started = time.monotonic()
        command = [sys.executable, "-m", "hdrm", "retrain", "--once", "--data", str(data), "--models", str(store.root)]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HDRM_")}
        with said.open("wb") as file:
            self.process = subprocess.Popen(
                [*command, *options], stdout=file, stderr=subprocess.STDOUT, env=environment
            )

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.started

    @property
    def has_ended(self) -> bool:
        """Whether it is over."""
        return self.process.poll() is not None

    @property
    def leased(self) -> bool:
        """Whether the lease names it."""
        told: Any = orjson.loads(self._store.folder.read(NAME) or b"{}")
        return bool(told.get("pid") == self.process.pid)

    @property
    def phase(self) -> Phase:
        """How far it has come, by what lies in the store."""
        versions, current, staged = self._before
        if self._store.current() != current:
            return "ending"
        if set(self._store.versions()) - versions:
            return "judging"
        if self._staged() - staged:
            return "writing"
        return "training" if self.leased else "starting"

    @property
    def said(self) -> str:
        """The end of what it printed."""
        return self._said.read_text("utf-8", "replace").strip()[-500:]

    def kill(self) -> Phase:
        """SIGKILL; how far it had come."""
        self.process.kill()
        self.process.wait()
        return self.phase

    def _staged(self) -> set[Path]:
        """Directories: the documents that are being written there are files."""
        return {path for path in (self._store.root / STAGING).glob("*") if path.is_dir()}
