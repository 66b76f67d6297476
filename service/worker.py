"""One thread beside the event loop, for what would keep the loop from turning."""

import asyncio
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar, TypeVarTuple

import faiss
from threadpoolctl import threadpool_limits

__all__ = ["Worker", "limit_threads", "switching_often"]

SWITCH_SECONDS = 0.0005

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Worker:
    """Calls functions one after the other; what one of them raises reaches its caller only.

    Args:
        threads: threads FAISS and NumPy may use within a call.

    Attributes:
        pending: calls that run or wait.
    """

    def __init__(self, *, threads: int) -> None:
        self.pending = 0
        self._executor = ThreadPoolExecutor(1, "hdrm-inference", initializer=limit_threads, initargs=(threads,))

    async def run(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """The function's result.

        Raises:
            RuntimeError: the thread has ended.
        """
        self.pending += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, function, *args)
        finally:
            self.pending -= 1

    async def responds(self, seconds: float) -> bool:
        """Whether the thread is alive and gets through with its calls in this time."""
        try:
            async with asyncio.timeout(seconds):
                await self.run(int)
        except (RuntimeError, TimeoutError):
            return False
        return True

    def close(self) -> None:
        """Wait for the call that is running; the ones behind it are cancelled."""
        self._executor.shutdown(wait=True, cancel_futures=True)


def limit_threads(threads: int) -> None:
    """How many threads libraries may use when the calling thread calls them: OpenMP's limit is a thread's own."""
    faiss.omp_set_num_threads(threads)
    # matrix products in FAISS: threads that wait for the next one would take the cores from those that answer
    threadpool_limits(threads, user_api="blas")


@contextmanager
def switching_often() -> Iterator[None]:
    """While the block runs, a thread gives the interpreter to one that waits for it after 0.5 ms, and not after 5.

    For what runs beside the event loop, which needs the interpreter back each time that it has been to its sockets.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
