"""Worker processes, kept alive."""

import logging
import multiprocessing
import os
import signal
import threading
import time
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any

from prometheus_client.multiprocess import mark_process_dead
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

if TYPE_CHECKING:
    from service.app import Service

__all__ = ["Supervisor", "create_worker_app"]

START_SECONDS = 60.0  # in which a worker need not give a sign of life: on a busy machine it is slow to start
RETRY_SECONDS = 5.0

logger = logging.getLogger("uvicorn.error")


class Supervisor(Multiprocess):
    """uvicorn's, but that a worker that cannot be replaced takes none of the others with it.

    uvicorn ends all of them then. Here the place stays empty and is tried again. If one of the first workers cannot
    start, all end.

    Args:
        config, sockets: as uvicorn's.
    """

    def __init__(self, config: Any, sockets: Any) -> None:
        super().__init__(config, sockets)
        self._begun = time.monotonic()
        self._replaced: dict[int, float] = {}  # places of other workers than the first, and when they were begun
        self._empty: dict[int, float] = {}  # places whose worker could not start, and when to try again

    def keep_subprocess_alive(self) -> None:
        """Look after every worker once."""
        for place, process in enumerate(self.processes):
            if self.should_exit.is_set():
                return
            now = time.monotonic()
            if place in self._empty:
                if now >= self._empty[place]:
                    del self._empty[place]
                    self._replace(place)
                continue
            starting = now - self._replaced.get(place, self._begun) < START_SECONDS
            if process.exitcode is None and (starting or process.is_alive(self.config.timeout_worker_healthcheck)):
                continue
            process.kill()  # it hangs, or is dead already
            process.join()
            # what it served is not served now
            mark_process_dead(process.pid, os.environ["PROMETHEUS_MULTIPROC_DIR"])  # type: ignore[no-untyped-call]
            if process.exitcode != STARTUP_FAILURE:
                logger.warning("a worker has died and is replaced")
                self._replace(place)
            elif place in self._replaced:
                logger.error(f"a worker could not start; the others go on, again in {RETRY_SECONDS:g} s")
                self._empty[place] = now + RETRY_SECONDS
            else:
                logger.error("a worker could not start, so none is started")
                self.should_exit.set()

    def _replace(self, place: int) -> None:
        self._replaced[place] = time.monotonic()
        self.processes[place] = Process(self.config, self.sockets)
        self.processes[place].start()


def create_worker_app() -> "Service":
    """The application of a worker, which ends when its parent has died: nothing else would end it, or free the port."""
    from service.app import create_app

    threading.Thread(target=_end_with_parent, name="hdrm-parent", daemon=True).start()
    return create_app()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
