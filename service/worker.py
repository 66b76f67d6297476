"""One thread beside the event loop, for what would keep the loop from turning."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, TypeVarTuple

import faiss
from threadpoolctl import threadpool_limits

__all__ = ["Worker", "limit_threads"]

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
