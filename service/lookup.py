"""From requests to queries: ids to indices, histories as they are now, filters to items."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import orjson

from service.cursor import read_cursor
from service.errors import Problem
from service.filters import allowed_items, known_categories
from service.live.state import LiveState
from service.query import NOTHING, PLAIN, Query, Shape
from service.registry import Loaded
from service.requests import Asker, RankRequest, RecommendRequest
from service.responses import FieldProblem, Warned

__all__ = ["Lookup"]

Int32 = npt.NDArray[np.int32]

REMEMBERED_USERS = 2**14  # about 3 MB of short ids
LAYOUT = "4"  # of the core in the cache; a change of it must not meet older values
IDENTITY = {"user_id", "history", "user_ids", "fallback", "cursor"}  # what does not say which items are wished for
USUAL = frozenset({"user_id", "fallback", "k", "exclude_seen"})
SHAPELESS = USUAL | {"history", "user_ids", "disliked"}


@dataclass(slots=True)
class _Asked:
    """Who asks, looked up."""

    known: bool | None
    histories: list[Int32] = field(default_factory=list)
    new: list[Int32] = field(default_factory=list)
    disliked: list[Int32] = field(default_factory=list)
    warnings: list[Warned] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)  # names of fields


class Lookup:
    """Looks requests up, for one model.

    Args:
        loaded: the model.
        live: what has changed since it was trained.
    """

    def __init__(self, loaded: Loaded, live: LiveState) -> None:
        self._version = loaded.version
        self._steps = loaded.steps
        self._catalogue = loaded.artifact.catalogue
        self._histories = self._catalogue.histories
        self._live = live
        # who comes again soon is not looked for again
        self._users = lru_cache(REMEMBERED_USERS)(self._catalogue.users.index)
        self._usual_options = lru_cache(None)(lambda k, exclude_seen: _digest([k, exclude_seen]))
        self._revision: bytes | None = None
        self._keys = hashlib.blake2b()

    def recommend(self, request: RecommendRequest) -> Query:
        """The query of a request.

        Raises:
            Problem: 404, somebody is unknown and that is to be an error; 409, the cursor does not go with the request.
        """
        if request.user_id is not None and request.model_fields_set <= USUAL:  # the quick way
            known, history, new, disliked = self.of_user(request.user_id)
            if not (len(new) or len(disliked) or len(self._live.items.hidden)):
                if not known and request.fallback == "error":
                    raise _unknown(["user_id"])
                options = self._usual_options(request.k, request.exclude_seen)
                if not len(history):
                    return Query(known, (), NOTHING, request.k, None, options=options)
                key = self._key(b"%d %d" % (request.k, request.exclude_seen), known, (history,))
                excluded = history if request.exclude_seen else NOTHING
                return Query(known, (history,), excluded, request.k, key, options=options)
        asked = self._asked(request)
        options = self._options(request)
        offset = 0 if request.cursor is None else read_cursor(request.cursor, self._version, options)
        shape = PLAIN
        if not request.model_fields_set <= SHAPELESS:
            shape = Shape(
                allowed=self._allowed(request, asked),
                named=request.filter is not None and bool(request.filter.allow),
                novelty=request.novelty,
                diversity=request.diversity,
                explain=request.explain,
                fields=None if request.fields is None else frozenset(request.fields),
                offset=offset,
            )
        disliked = self._disliked(request, asked)
        gone = [disliked, *((*asked.histories, *asked.new) if request.exclude_seen else ())]
        return self._query(request, asked, shape, request.k, disliked, gone, options)

    def rank(self, request: RankRequest) -> Query:
        """The query of a request that names its items.

        Raises:
            Problem: 404, somebody is unknown and that is to be an error.
        """
        asked = self._asked(request)
        items = self._indices(request.item_ids, asked)
        shape = Shape(
            allowed=np.unique(np.array(items, np.int32)),
            named=True,
            ranked=True,
            explain=request.explain,
            fields=None if request.fields is None else frozenset(request.fields),
        )
        options = _digest(["rank", request.model_dump(exclude=IDENTITY)])
        # what is named is answered, also what was seen or is disliked; what is hidden is not
        k = max(len(set(items)), 1)
        return self._query(request, asked, shape, k, self._disliked(request, asked), [], options)

    def of_user(self, user_id: str) -> tuple[bool, Int32, Int32, Int32]:
        """Whether a user is known; the history, of the model's items and of new ones; what is disliked."""
        since = self._live.histories.of(user_id)
        if since is not None:
            return since.known, since.items, since.new, since.disliked
        user = self._users(user_id)
        return (user is not None, NOTHING if user is None else self._histories[user], NOTHING, NOTHING)

    def _query(
        self,
        request: Asker,
        asked: _Asked,
        shape: Shape,
        k: int,
        disliked: Int32,
        gone: Sequence[Int32],
        options: str,
    ) -> Query:
        if asked.unknown and request.fallback == "error":
            raise _unknown(asked.unknown)
        histories, new, size = tuple(asked.histories), _joined(asked.new), self._live.items.size
        excluded = _joined([self._live.items.hidden, *gone])
        warnings = tuple(dict.fromkeys(asked.warnings))
        wishes = f"{k} {options} {shape.offset} {len(excluded)} {warnings}".encode()
        return Query(
            known=asked.known,
            histories=histories,
            excluded=excluded[excluded < size],
            k=k,
            key=self._key(wishes, asked.known, (*histories, new, disliked)) if histories else None,
            shape=shape,
            disliked=disliked,
            new=new,
            excluded_new=excluded[excluded >= size],
            warnings=warnings,
            options=options,
        )

    def _options(self, request: RecommendRequest) -> str:
        if request.model_fields_set - IDENTITY <= USUAL:
            return self._usual_options(request.k, request.exclude_seen)
        return _digest(request.model_dump(exclude=IDENTITY))

    def _disliked(self, request: Asker, asked: _Asked) -> Int32:
        named = np.array(self._indices(request.disliked, asked), np.int32)
        return np.unique(_joined([*asked.disliked, named]))

    def _asked(self, request: Asker) -> _Asked:
        if request.history is not None:
            asked = _Asked(known=None)
            taken = self._indices(request.history, asked)
            # newest last, each at its newest place
            items = np.array(list(dict.fromkeys(reversed(taken)))[::-1], np.int32)
            size = self._live.items.size
            self._take(asked, items[items < size], items[items >= size], NOTHING)
            if not len(items):
                asked.unknown.append("history")
            return asked
        members = [request.user_id] if request.user_ids is None else list(dict.fromkeys(request.user_ids))
        asked = _Asked(known=True)
        for number, user_id in enumerate(members):
            assert user_id is not None
            known, items, new, disliked = self.of_user(user_id)
            self._take(asked, items, new, disliked)
            if not known:
                asked.known = False
                asked.unknown.append("user_id" if request.user_ids is None else f"user_ids.{number}")
                asked.warnings += ["unknown_users"] if request.user_ids is not None else []
        return asked

    @staticmethod
    def _take(asked: _Asked, items: Int32, new: Int32, disliked: Int32) -> None:
        asked.histories += [items] if len(items) else []
        asked.new.append(new)
        asked.disliked.append(disliked)

    def _indices(self, ids: Sequence[str], asked: _Asked) -> list[int]:
        found = [self._live.items.index(item_id) for item_id in ids]
        if None in found:
            asked.warnings.append("unknown_items")
        return [index for index in found if index is not None]

    def _allowed(self, request: RecommendRequest, asked: _Asked) -> Int32 | None:
        wanted = request.filter
        if wanted is None or not wanted.model_fields_set:
            return None
        self._indices((*wanted.allow, *wanted.deny), asked)
        if not known_categories(
            (*wanted.categories_any, *wanted.categories_all, *wanted.categories_none), self._live.items
        ):
            asked.warnings.append("unknown_categories")
        return allowed_items(wanted, self._live.items)

    def _key(self, wishes: bytes, known: bool | None, items: Sequence[Int32]) -> str:
        """Everything the core depends on. Nobody's id is among it: who has the same history gets the same answer."""
        if self._revision != self._live.revision:  # what all keys have in common is digested once
            self._revision = self._live.revision
            common = orjson.dumps([LAYOUT, self._version, self._steps]) + self._revision
            self._keys = hashlib.blake2b(common, digest_size=16)
        digest = self._keys.copy()
        # lengths are told first, so that nothing can pass for part of another
        digest.update(b"%d %b %b " % (len(wishes), str(known).encode(), str([*map(len, items)]).encode()))
        digest.update(wishes)
        for part in items:
            digest.update(part.tobytes())
        return "hdrm:answer:" + digest.hexdigest()


def _joined(parts: Sequence[Int32]) -> Int32:
    return np.concatenate(parts) if parts else NOTHING


def _digest(value: object) -> str:
    return hashlib.blake2b(orjson.dumps(value), digest_size=8).hexdigest()


def _unknown(fields: Sequence[str]) -> Problem:
    said = {"history": "the model knows nothing of it"}
    errors = [FieldProblem(field=name, message=said.get(name, "the model does not know this user")) for name in fields]
    return Problem(404, "user_unknown", "The model does not know who is asked for.", errors=errors)
