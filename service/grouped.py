"""Calls that come while one is under way go together in the next."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

__all__ = ["Grouped"]

T = TypeVar("T")
R = TypeVar("R")


class Grouped(Generic[T, R]):
    """A function of one thing, made of a function of many that costs about the same.

    One call of `many` is under way at a time. It starts once all that is ready in the event loop has run, so what is
    asked in one turn is asked together, and what is asked later is never answered by a call that began before.

    Args:
        many: the results for a list, in its order; what it raises is raised to all who take part.
    """

    def __init__(self, many: Callable[[Sequence[T]], Awaitable[Sequence[R]]]) -> None:
        self._many = many
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._runner: asyncio.Task[None] | None = None

    async def __call__(self, one: T) -> R:
        """The result for one thing. Giving it up does not stop what has begun."""
        result: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((one, result))
        if self._runner is None or self._runner.done():
            self._runner = asyncio.create_task(self._run())
        return await result

    async def settled(self) -> None:
        """Returns when nothing is under way."""
        if self._runner is not None:
            await self._runner

    async def _run(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting, []
            try:
                results = await self._many([one for one, _ in group])
            except Exception as error:
                for _, waiter in group:
                    if not waiter.done():  # it may have been given up
                        waiter.set_exception(error)
                continue
            for (_, waiter), result in zip(group, results, strict=True):
                if not waiter.done():
                    waiter.set_result(result)
