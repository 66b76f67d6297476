"""One retraining at a time, whichever machine it runs on: a lease in the model store.

Who holds it writes it anew every few seconds. Whoever wants it and sees it unchanged for longer than it lasts, by a
clock of their own, takes it over: its holder was killed. So no two machines need agree on the time.
"""

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from model.errors import HdrmError, UnavailableError
from model.folder import Folder, LocalFolder

__all__ = ["LASTS_SECONDS", "Lease", "held_lease"]

NAME = "lease.json"
LASTS_SECONDS = 20.0
RENEWALS = 4  # in this time
SETTLE_SECONDS = 2.0  # in which a write of somebody else at the same moment would show, where there are no locks
POLL_SECONDS = 0.5


class Lease:
    """A lease that is held.

    Args:
        folder: of the store.
        seconds: how long it lasts unless it is renewed.
    """

    def __init__(self, folder: Folder, *, seconds: float = LASTS_SECONDS) -> None:
        self._folder = folder
        self._seconds = seconds
        self._holder = uuid4().hex
        self._count = 0
        self._ended = threading.Event()
        self._renewer = threading.Thread(target=self._renew, name="hdrm-lease", daemon=True)

    def acquire(self) -> None:
        """Take it, if nobody else renews it.

        Raises:
            UnavailableError: somebody else holds it, or it cannot be written.
        """
        seen, since = self._read(), time.monotonic()
        while not (self._is_free(seen, since) and self._take(seen)):
            time.sleep(POLL_SECONDS)
            now = self._read()
            if now is not None and seen is not None and now != seen:
                raise UnavailableError(
                    f"{self._folder.location}: another retraining is running, on {now.get('host')}",
                    hint=f"wait for it to end; a lease that is not renewed is free after {self._seconds:g} seconds",
                )
            if now != seen:
                seen, since = now, time.monotonic()
        self._renewer.start()

    def certainly(self) -> None:
        """Make sure that it is held still, before something is done that only its holder may do.

        Raises:
            UnavailableError: it was lost.
        """
        if not self._is_ours():
            raise UnavailableError(
                f"{self._folder.location}: the lease was lost; nothing is published",
                hint="another run has taken over, because this one did not renew it in time",
            )

    def release(self) -> None:
        """Give it back."""
        self._ended.set()
        if self._renewer.is_alive():
            self._renewer.join()
        with suppress(HdrmError):
            if self._is_ours():
                self._folder.remove(NAME)

    def _is_free(self, seen: dict[str, Any] | None, since: float) -> bool:
        return seen is None or _has_ended(seen) or time.monotonic() - since > self._seconds

    def _take(self, seen: dict[str, Any] | None) -> bool:
        """Whether it is ours now; `seen` is what is replaced."""
        with self._folder.locked():
            if self._read() != seen:
                return False
            self._write()
        if not isinstance(self._folder, LocalFolder):
            time.sleep(SETTLE_SECONDS)
        return self._is_ours()

    def _is_ours(self) -> bool:
        now = self._read()
        return now is not None and now.get("holder") == self._holder

    def _renew(self) -> None:
        while not self._ended.wait(self._seconds / RENEWALS):
            with suppress(HdrmError):  # the next time, perhaps
                if not self._is_ours():
                    return  # somebody has taken it over; `certainly` will tell
                self._write()

    def _read(self) -> dict[str, Any] | None:
        content = self._folder.read(NAME)
        try:
            found: Any = None if content is None else json.loads(content)
        except ValueError:
            found = {}
        return found if found is None or isinstance(found, dict) else {}

    def _write(self) -> None:
        self._count += 1
        pid = os.getpid()
        told = {"holder": self._holder, "host": socket.gethostname(), "pid": pid, "renewals": self._count}
        self._folder.write(
            NAME, (json.dumps(told | {"process": _process(pid), "numbered": _numbering()}) + "\n").encode()
        )


@contextmanager
def held_lease(folder: Folder, *, seconds: float = LASTS_SECONDS) -> Iterator[Lease]:
    """While the block runs, the lease is held; raises as `Lease.acquire`."""
    lease = Lease(folder, seconds=seconds)
    lease.acquire()
    try:
        yield lease
    finally:
        lease.release()


def _has_ended(told: dict[str, Any]) -> bool:
    """Whether the holder was a process of this machine that is not there any more."""
    pid = told.get("pid")
    if (told.get("host"), told.get("numbered")) != (socket.gethostname(), _numbering()) or not isinstance(pid, int):
        return False
    return _process(pid) != told.get("process")


def _process(pid: int) -> str | None:
    """When a process began, which tells it from others of its number; None if there is none, or none can be told."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return None


def _numbering() -> str | None:
    """In which processes' numbers mean the same: a container may have the name of its machine, and its own numbers."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip() + os.readlink("/proc/self/ns/pid")
    except OSError:
        return None
