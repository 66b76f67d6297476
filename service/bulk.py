"""Answers for many users at one moment, without a server: the same that the service gives then."""

import heapq
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from service.engine import Engine
from service.live.state import LiveState
from service.requests import RecommendRequest

__all__ = ["Answered", "answer_all", "everybody"]


class Answered(NamedTuple):
    """An answer.

    Attributes:
        key: where the service looks for it in its cache; None for an answer that it does not keep.
        core: JSON of the answer, without what differs from call to call.
    """

    key: str | None
    core: bytes


def answer_all(engine: Engine, requests: Sequence[RecommendRequest]) -> list[Answered]:
    """The answers to requests, all in one batch.

    Raises:
        Problem: as of `Lookup.recommend`.
    """
    queries = engine.prepare(requests)
    asked = [query for query in queries if query.key is not None]
    cores = iter(engine.finish(asked, engine.infer(asked)) if asked else ())
    return [Answered(query.key, engine.popular(query) if query.key is None else next(cores)) for query in queries]


def everybody(state: LiveState) -> tuple[int, Iterator[str]]:
    """How many users there are, of the model and of events, and their ids, ascending; deleted ones among them."""
    users, newcomers = state.items.catalogue.users, sorted(state.histories.newcomers())
    # the vocabulary's byte order is that of code points, by which str is compared
    return len(users) + len(newcomers), heapq.merge(map(bytes.decode, users), newcomers)
