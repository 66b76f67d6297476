"""A batch from where it is to its end."""

from collections.abc import Callable, Iterator, Sequence
from itertools import dropwhile, islice
from typing import Any

import orjson

from hdrm.parts import SCHEMA, Batch, Begun, Parts
from model.errors import ConfigError
from service.bulk import Answered, answer_all
from service.engine import Engine
from service.requests import RecommendRequest

__all__ = ["check_same", "fill"]

PART_ROWS = 2**17  # are in memory together, and lost by an interruption
ITEM_FIELDS = ("rank", "item_id", "title", "score", "distance")
OPTIONS = {
    "model_version": "--version",
    "steps": "HDRM_STEPS",
    "users": "--users",
    "k": "--k",
    "categories": "--category",
    "deny": "--deny",
    "warm": "--warm",
    "event_types": "HDRM_EVENT_TYPES",
}


def check_same(parts: Parts, begun: Batch, wanted: Batch) -> None:
    """Make sure that what was begun is what is wanted.

    Raises:
        ConfigError: it is not; the message says in what they differ.
    """
    differing = [
        f"{option} was {getattr(begun, name)} and is {getattr(wanted, name)}"
        for name, option in OPTIONS.items()
        if getattr(begun, name) != getattr(wanted, name)
    ]
    if differing:
        raise ConfigError(
            f"{parts.folder}: another batch was begun here: {'; '.join(differing)}",
            hint="give what was given then to go on with it, or --force to begin anew",
        )


def fill(
    parts: Parts,
    begun: Begun,
    engine: Engine,
    request: RecommendRequest,
    ids: Iterator[str],
    *,
    together: int,
    answered: Callable[[Sequence[Answered]], None],
    passed: Callable[[int], None],
) -> Begun:
    """Answer those who have not been yet.

    Args:
        parts: to be added to.
        begun: how far it is.
        engine: of the moment of the batch.
        request: what each user asks.
        ids: of all users, ascending; who is deleted is left out.
        together: users in a batch of the engine.
        answered: told every answer.
        passed: told how many users are done with, answered or not, whenever some are.

    Returns:
        How far it is: at the end.

    Raises:
        UnavailableError: a part cannot be written.
    """
    last = begun.last
    left = ids if last is None else dropwhile(lambda user_id: user_id <= last, ids)
    size = max(PART_ROWS // request.k, 1)
    while users := list(islice(left, size)):
        known = [user_id for user_id in users if not engine.live.histories.is_deleted(user_id)]
        passed(len(users) - len(known))
        columns: dict[str, list[Any]] = {name: [] for name in SCHEMA}
        for start in range(0, len(known), together):
            some = known[start : start + together]
            answers = answer_all(engine, [request.model_copy(update={"user_id": user_id}) for user_id in some])
            answered(answers)
            for user_id, answer in zip(some, answers, strict=True):
                _add(columns, user_id, answer.core)
            passed(len(some))
        begun = parts.add(
            begun,
            columns,
            last=users[-1],
            users=begun.users + len(known),
            left_out=begun.left_out + len(users) - len(known),
        )
    return begun


def _add(columns: dict[str, list[Any]], user_id: str, core: bytes) -> None:
    """Add the rows of an answer. They are read off what the service sends, so they are what it says."""
    answer = orjson.loads(core)
    items = answer["items"]
    for name in ITEM_FIELDS:
        columns[name] += [item.get(name) for item in items]
    for name, value in (("user_id", user_id), *((name, answer[name]) for name in ("strategy", "model_version"))):
        columns[name] += [value] * len(items)
