"""One thread beside the event loop in which all inference of a process runs."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, TypeVarTuple

import faiss
import torch

from service.errors import Problem

__all__ = ["Worker"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Worker:
    """Calls functions one after the other; what one of them raises reaches its caller only.

    Args:
        threads: threads torch and FAISS may use within a call.
        max_pending: calls that may wait; further ones are refused at once.
    """

    def __init__(self, *, threads: int, max_pending: int) -> None:
        # the OpenMP limit that FAISS sets belongs to the calling thread, so it is set in the thread itself
        self._executor = ThreadPoolExecutor(1, "hdrm-inference", initializer=_limit, initargs=(threads,))
        self._max_pending = max_pending
        self._pending = 0

    async def run(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """The function's result.

        Raises:
            Problem: 503, as many calls as allowed are waiting.
        """
        if self._pending >= self._max_pending:
            raise Problem(503, "overloaded", "More requests are waiting than the service can take on.")
        self._pending += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, function, *args)
        finally:
            self._pending -= 1

    def close(self) -> None:
        """Wait for the call that is running; the ones behind it are cancelled."""
        self._executor.shutdown(wait=True, cancel_futures=True)


def _limit(threads: int) -> None:
    torch.set_num_threads(threads)
    faiss.omp_set_num_threads(threads)
