"""Synthetic interactions of any size: power laws, nested communities, drifting tastes, no pair twice.

Sizes. n interactions are made by n / 50 users with n^0.6 items. 50 lies between dense data (MovieLens: 106 to 166 a
user) and sparse (shops: 5 to 20). Catalogues grow slower than the interactions with them, as vocabularies do (Heaps'
law): MovieLens has 1,682 items at 1e5, 3,706 at 1e6, 10,677 at 1e7; Netflix 17,770 at 1e8; here they are 1,000,
3,981, 15,849 and 63,096.

Activity. The numbers of interactions of users follow a power law with density exponent 2.5, cut at half of the
catalogue: its quantiles, scaled by the least activity so that the mean is 50.

Popularity. The weights of items are (rank + q)^-1, a Zipf-Mandelbrot law, whose offset q is such that the first item
is worth `HEAD` of an interaction to every user on average.

Communities. Items stand in a line, in random order of popularity, cut into `BRANCHES` equal stretches, each of them
again, and so on down to some `LEAF` items. A taste is a place in the line. An item is taken by choosing one of the
nested stretches around the taste - the smallest with probability 1/2, the next with 1/4, ... - and in it an item in
proportion to its weight. A user starts with a taste drawn by weight; with probability `DRIFT` at each interaction the
taste moves to an item drawn in the same way around the first one, in a stretch that is not the smallest. So a user's
newest items say most about the next, and older ones still something. As every draw is in proportion to weight within
a stretch that holds the place it starts from, an item's overall popularity is its weight whatever the path - before
pairs that would repeat are drawn anew, each time from the next larger stretch, which flattens the head a little.

Cost. Drawing by weight in a stretch is a bisection in the cumulative weights, finding repeats a sort within a chunk
of users: O(n log n) time. Memory is 4 bytes an interaction and a chunk. A seed and a size give the same data always:
every chunk has a generator of its own.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.history import Histories
from training.corpus import Corpus

__all__ = ["LEAST", "items_for", "synthesise", "users_for"]

Float64 = npt.NDArray[np.float64]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]

PER_USER = 50
ITEMS_EXPONENT = 0.6
LEAST = 10_000  # interactions
ACTIVITY_EXPONENT = 2.5
LARGEST_SHARE = 0.5  # of the catalogue in one history
HEAD = 0.3
BRANCHES = 4
LEAF = 32
DRIFT = 0.1
CHUNK = 1 << 18  # interactions made at a time
PATIENCE = 4  # redraws from the whole catalogue by weight before one without weights, which ends soon for certain


def users_for(interactions: int) -> int:
    """Number of users."""
    return interactions // PER_USER


def items_for(interactions: int) -> int:
    """Size of the catalogue."""
    return round(math.pow(interactions, ITEMS_EXPONENT))


def synthesise(interactions: int, *, seed: int) -> Corpus:
    """Exactly so many distinct (user, item) pairs, each user's in time order, newest last.

    Raises:
        ValueError: fewer than 10,000 interactions.
    """
    if interactions < LEAST:
        raise ValueError(f"interactions: got {interactions}, expected at least {LEAST}")
    generator = np.random.default_rng([seed, 0])
    n_items = items_for(interactions)
    indptr = _activity(interactions, n_items, generator)
    line = _Line.of(n_items, generator)
    ids = generator.permutation(n_items).astype(np.int32)  # neighbours in the line are none in memory
    items = np.empty(interactions, np.int32)
    for number, rows in enumerate(_chunks(indptr)):
        chunk = indptr[rows] - indptr[rows.start]
        begin, end = indptr[rows.start], indptr[rows.stop - 1]
        items[begin:end] = ids[_histories(chunk, line, np.random.default_rng([seed, 1, number]))]
    return Corpus(Histories(indptr, items), n_items, ordered=True)


@dataclass(frozen=True)
class _Line:
    """Items in a line, by place.

    Attributes:
        ends: cumulative weights, (m + 1,), from 0.
        levels: how often the line is cut into smaller stretches.
    """

    ends: Float64
    levels: int

    @classmethod
    def of(cls, n_items: int, generator: np.random.Generator) -> "_Line":
        weights = 1 / (generator.permutation(n_items) + 1 + _offset(n_items))
        return cls(np.concatenate(([0.0], np.cumsum(weights))), int(math.log(n_items / LEAF, BRANCHES)))

    def draw(self, places: Int64, up: Int64, generator: np.random.Generator) -> Int64:
        """An item by weight in the stretch around each place that is `up` levels above the smallest."""
        m = len(self.ends) - 1
        stretches = BRANCHES ** np.maximum(self.levels - up, 0)
        number = places * stretches // m
        # the places p with p * stretches // m == number
        first, beyond = -(-number * m // stretches), -(-(number + 1) * m // stretches)
        low, high = self.ends[first], self.ends[beyond]
        drawn = np.searchsorted(self.ends, low + generator.random(len(places)) * (high - low), side="right") - 1
        kept: Int64 = np.clip(drawn, first, beyond - 1)  # whatever rounding did
        return kept


def _histories(indptr: Int64, line: _Line, generator: np.random.Generator) -> Int64:
    """Places of the items of some users, without repeats in a row."""
    m, n = len(line.ends) - 1, int(indptr[-1])
    owners = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    starts = np.zeros(n, bool)
    starts[indptr[:-1]] = True
    moves = np.flatnonzero(starts | (generator.random(n) < DRIFT))
    everywhere = np.full(len(indptr) - 1, line.levels)
    homes = line.draw(np.zeros_like(everywhere), everywhere, generator)[owners[moves]]
    tastes = np.where(starts[moves], homes, line.draw(homes, generator.geometric(0.5, len(moves)), generator))
    counts = np.diff(moves, append=n)
    taste, up = np.repeat(tastes, counts), generator.geometric(0.5, n) - 1

    places = line.draw(taste, up, generator)
    seen = np.empty(0, np.int64)
    pending = np.arange(n)
    while True:
        seen, pending = _accept(seen, pending, owners[pending] * m + places[pending])
        if len(pending) == 0:
            return places
        up[pending] += 1
        hopeless = up[pending] > line.levels + PATIENCE
        anywhere = generator.integers(0, m, len(pending))
        places[pending] = np.where(hopeless, anywhere, line.draw(taste[pending], up[pending], generator))


def _accept(seen: Int64, pending: Int64, keys: Int64) -> tuple[Int64, Int64]:
    """Those seen (sorted) with the new keys among `keys`, and the pending ones whose key is not the first."""
    fresh, first = np.unique(keys, return_index=True)
    if len(seen):
        new = seen[np.minimum(np.searchsorted(seen, fresh), len(seen) - 1)] != fresh
        fresh, first = fresh[new], first[new]
    left = np.ones(len(pending), bool)
    left[first] = False
    # a stable sort merges two sorted runs
    return np.sort(np.concatenate((seen, fresh)), kind="stable"), pending[left]


def _activity(interactions: int, n_items: int, generator: np.random.Generator) -> Int64:
    """Offsets of the users' rows, (n + 1,): truncated Pareto quantiles in random order."""
    users, most, tail = users_for(interactions), LARGEST_SHARE * n_items, ACTIVITY_EXPONENT - 1
    quantiles = (np.arange(users) + 0.5) / users

    def degrees(least: float) -> Float64:
        cut = 1 - (least / most) ** tail
        return np.asarray(least * (1 - quantiles * cut) ** (-1 / tail))

    least = _root(lambda least: float(degrees(least).mean()) - interactions / users, 1.0, most)
    ends = np.cumsum(generator.permutation(degrees(least)))
    return np.concatenate(([0], np.rint(ends * (interactions / ends[-1])))).astype(np.int64)


def _offset(n_items: int) -> float:
    """q of the weights (rank + q)^-1, rank from 1, that gives the first item HEAD / PER_USER of all."""
    ranks = np.arange(1, n_items + 1)
    return _root(lambda q: HEAD / PER_USER - 1 / (1 + q) / float((1 / (ranks + q)).sum()), 0.0, float(n_items))


def _root(rising: Callable[[float], float], low: float, high: float) -> float:
    """Where a rising function crosses zero, by bisection; an end where it does not."""
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if rising(middle) > 0 else (middle, high)
    return low


def _chunks(indptr: Int64) -> list[slice]:
    """Slices of `indptr` that hold the offsets of consecutive users with some CHUNK interactions, at least one user."""
    ends = np.unique(np.searchsorted(indptr, np.arange(CHUNK, indptr[-1] + CHUNK, CHUNK)).clip(max=len(indptr) - 1))
    return [slice(int(a), int(b) + 1) for a, b in zip([0, *ends[:-1]], ends, strict=True)]
