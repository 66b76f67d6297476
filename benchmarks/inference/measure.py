"""Microseconds a user by phase and batch, and how long a plain loop in float64 takes for the same answers."""

from collections.abc import Callable, Iterable
from itertools import cycle
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from threadpoolctl import threadpool_limits

from benchmarks.baselines.baseline import Progress
from benchmarks.inference.document import Batch, Loop
from benchmarks.timing import seconds_in_turns
from model.artifact import Artifact
from model.diffusion import UserDiffusion
from model.history import Histories
from model.retrieval.metric import metric
from model.retrieval.rerank import rerank

__all__ = ["BATCHES", "THREADS", "K", "PlainLoop", "measure_batch", "measure_loop", "users_of"]

T = TypeVar("T")
Float64 = npt.NDArray[np.float64]

BATCHES = (1, 16, 256)
K = 20
THREADS = 1
FETCHED = K + 16  # re-ranked for a user by a scan
LOOPED = 8  # users in a loop over users


def users_of(artifact: Artifact, *, seed: int) -> Histories:
    """Histories of random users who have one, as many as the largest batch; some twice where there are too few."""
    histories = artifact.catalogue.histories
    users = np.flatnonzero(histories.lengths)
    return histories.take(np.random.default_rng(seed).choice(users, max(BATCHES), replace=len(users) < max(BATCHES)))


def measure_batch(artifact: Artifact, users: Histories, size: int, *, rounds: int, progress: Progress) -> Batch:
    """Answers for so many users at once, their histories excluded; others at each turn, as far as there are any."""
    recommender, measure = artifact.recommender, metric(artifact.manifest.model.encoder.space)
    denoise, index = recommender.compiled(recommender.config.steps), recommender.index
    starts = range(0, len(users) - size + 1, size)
    parts = [users.take(np.arange(start, start + size)) for start in starts]
    conditions = [recommender.gather(part) for part in parts]
    vectors = [denoise(condition) for condition in conditions]
    asked = list(zip(vectors, parts, strict=True))
    fetched = [index.search(v, [FETCHED] * size, part) for v, part in asked]
    # all lists as long as the shortest: a rectangle, as a search has
    least = min(len(hits.items) for found in fetched for hits in found)
    candidates = [np.stack([hits.items[:least] for hits in found]).astype(np.int64) for found in fetched]
    with threadpool_limits(THREADS):
        seconds = seconds_in_turns(
            {
                "gather": _each(parts, recommender.gather),
                "denoise": _each(conditions, denoise),
                "search": _each(asked, lambda pair: index.search(pair[0], [K] * size, pair[1])),
                "rerank": _each(
                    list(zip(vectors, candidates, strict=True)),
                    lambda pair: rerank(measure, pair[0], index.vectors, pair[1]),
                ),
                "total": _each(parts, lambda part: recommender.recommend(part, K, part)),
            },
            rounds=rounds,
            progress=progress,
        )
    each = {name: value * 1e6 / size for name, value in seconds.items()}
    each["search"] = max(each["search"] - each["rerank"], 0.0)
    return Batch(users=size, **each)


class PlainLoop:
    """Answers one user after the other in float64, as one would write it down: the modules, then all distances."""

    def __init__(self, artifact: Artifact) -> None:
        config, model = artifact.manifest.model, artifact.model
        self._diffusion = UserDiffusion.of(config, model.weights).double()
        self._steps = config.steps
        self._vectors = model.vectors.astype(np.float64)
        self._items = torch.from_numpy(self._vectors)
        self._messages = torch.from_numpy(model.messages.astype(np.float64))
        self._curved = config.encoder.space == "hyperbolic"

    @torch.inference_mode()
    def answer(self, history: Histories, *, by_pair: bool) -> npt.NDArray[np.int64]:
        """The K nearest items of one user, (K,); `by_pair` takes one distance at a time."""
        condition = self._diffusion.condition(history, self._items, self._messages)
        user = self._diffusion(condition, self._steps)[0].numpy()
        if by_pair:
            keys = np.array([self._keys(user, item) for item in self._vectors])
        else:
            keys = self._keys(user, self._vectors)
        keys[history.items] = np.inf
        return np.argsort(keys, kind="stable")[:K]

    def _keys(self, user: Float64, items: Float64) -> Float64:
        """(d,), (..., d) -> (...): cosh d - 1 without cancellation, or the square of the distance."""
        if not self._curved:
            keys: Float64 = np.vecdot(items - user, items - user)
            return keys
        r_user, r = np.linalg.norm(user), np.linalg.norm(items, axis=-1)
        apart = items / np.where(r > 0, r, 1.0)[..., None] - user / (r_user if r_user > 0 else 1.0)
        keys = 2 * np.sinh((r_user - r) / 2) ** 2 + np.sinh(r_user) * np.sinh(r) * np.vecdot(apart, apart) / 2
        return keys


def measure_loop(artifact: Artifact, users: Histories, best: Batch, *, rounds: int, progress: Progress) -> Loop:
    """The plain loop; `best` is what it is compared with."""
    loop = PlainLoop(artifact)
    rows = [users.take(np.array([row])) for row in range(len(users))]
    groups = [rows[start : start + LOOPED] for start in range(0, len(rows) - LOOPED + 1, LOOPED)]
    with threadpool_limits(THREADS):
        seconds = seconds_in_turns(
            {
                "user": _each(groups, lambda group: [loop.answer(row, by_pair=False) for row in group]),
                "pair": _each(rows, lambda row: loop.answer(row, by_pair=True)),
            },
            rounds=rounds,
            progress=progress,
        )
    by_user, by_pair = seconds["user"] * 1e6 / LOOPED, seconds["pair"] * 1e6
    return Loop(
        by_user=by_user, by_user_ratio=by_user / best.total, by_pair=by_pair, by_pair_ratio=by_pair / best.total
    )


def _each(inputs: Iterable[T], action: Callable[[T], object]) -> Callable[[], object]:
    """The action on the next of the inputs at every call, over and over."""
    endless = cycle(inputs)
    return lambda: action(next(endless))
