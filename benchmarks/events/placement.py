"""Where new items are placed: items that the model knows are taken for new, and placed by those who took them first."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from benchmarks.events.document import Placements
from model.artifact import Artifact
from model.history import Histories
from model.retrieval.metric import metric
from service.live.placement import Placement, Taken

__all__ = ["measure_placement"]

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int32 = npt.NDArray[np.int32]

ITEMS, EVERYBODY = 100, 500  # that are placed, and users that are asked of each
TAKERS, LATER = (5, 10, 20), 20  # who place an item, and others who took it
LEAST_BEFORE = 5  # items that a taker had before
LIST_LENGTH = 20
SEED = 0


def measure_placement(artifact: Artifact, on_run: Callable[[str, int, int], None]) -> list[Placements]:
    """For how many an item is among the first 20: of others who took it next, and of everybody.

    Empty where the model knows no items that enough users took.
    """
    generator = np.random.default_rng(SEED)
    catalogue, recommender = artifact.catalogue, artifact.recommender
    owners, places = catalogue.histories.owners(), catalogue.histories.positions()
    common = np.flatnonzero(catalogue.counts >= 2 * (max(TAKERS) + LATER))
    chosen = np.sort(generator.choice(common, min(ITEMS, len(common)), replace=False))
    known = np.flatnonzero(catalogue.histories.lengths)
    everybody = generator.choice(known, min(EVERYBODY, len(known)), replace=False)
    everybody_had = [catalogue.histories[int(user)] for user in everybody]
    found: dict[tuple[int, str], list[tuple[float, float]]] = {}
    for number, item in enumerate(chosen.tolist()):
        on_run("placement", number, len(chosen))
        had = [
            catalogue.histories[int(owners[at])][: int(places[at])]
            for at in generator.permutation(np.flatnonzero(catalogue.histories.items == item))
            if places[at] >= LEAST_BEFORE
        ][: max(TAKERS) + LATER]
        if len(had) < max(TAKERS) + LATER:
            continue
        vectors = recommender.user_vectors(Histories.of(had), artifact.manifest.model.steps)
        later = _Crowd(artifact, item, vectors[max(TAKERS) :], had[max(TAKERS) :])
        all_ = _Crowd(artifact, item, catalogue.user_vectors[everybody], everybody_had)

        def note(n: int, way: str, vector: Float32, later: _Crowd = later, all_: _Crowd = all_) -> None:
            found.setdefault((n, way), []).append((later.share(vector), all_.share(vector)))

        note(0, "as trained", artifact.model.vectors[item])
        for n in TAKERS:
            mean = vectors[:n].mean(0, dtype=np.float64)
            note(n, "as served", _placed(artifact, vectors[:n]))
            note(n, "tangent mean", mean.astype(np.float32))
            note(n, "shrunk by n/(n + 5)", (mean * (n / (n + 5))).astype(np.float32))
    return [
        Placements(takers=n, way=way, items=len(shares), later=_mean(shares, 0), everybody=_mean(shares, 1))
        for (n, way), shares in sorted(found.items())
    ]


class _Crowd:
    """Users, and how far the last of their first 20 items is, without the one that is looked at."""

    def __init__(self, artifact: Artifact, item: int, vectors: Float32, had: Sequence[Int32]) -> None:
        self._vectors, self._metric = vectors, metric(artifact.manifest.model.encoder.space)
        excluded = Histories.of([np.append(own, np.int32(item)) for own in had])
        hits = artifact.recommender.index.search(vectors, [LIST_LENGTH] * len(vectors), excluded)
        self._last: Float64 = np.array([one.distances[-1] for one in hits])

    def share(self, place: Float32) -> float:
        """For how many an item at this place would be among the first 20."""
        distances = self._metric.distance(self._metric.keys(place, self._vectors, np.arange(len(self._vectors))))
        return float((distances < self._last).mean())


def _placed(artifact: Artifact, takers: Float32) -> Float32:
    """What the service makes of those who took a new item."""
    new = len(artifact.catalogue.items)
    placement = Placement(artifact.model.vectors, artifact.catalogue.counts, lambda histories: takers[: len(histories)])
    nothing = np.zeros(0, np.int32)
    placement.apply([Taken(new, str(number), nothing) for number in range(len(takers))])
    [vector] = placement.placed.vectors
    place: Float32 = vector
    return place


def _mean(shares: Sequence[tuple[float, float]], which: int) -> float:
    return float(np.mean([share[which] for share in shares]))
