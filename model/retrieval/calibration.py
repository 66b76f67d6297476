"""How many items an approximate search has to fetch, and from how many lists, to find nearly all of the nearest."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.config import SpaceName
from model.history import Histories
from model.retrieval.approximate import ApproximateIndex
from model.retrieval.flat import FlatIndex
from model.retrieval.hits import Hits
from model.retrieval.lists import Lists, build_lists

__all__ = ["Calibrated", "calibrate", "shared"]

Float32 = npt.NDArray[np.float32]

K = 20
# recall: a little more than .99, which others than those calibrated with are to have; and what fetching less may cost
WANTED, SPARE = 0.993, 0.002
LENGTHS = (10, 20, 50, 100, 200, 500)
FACTORS = (2, 3, 4, 6, 8, 12)  # items fetched for each one asked for
PROBES = 8  # the fewest tried
NAME = f"recall@{K}"


@dataclass(frozen=True)
class Calibrated:
    """An index and what it was measured to find.

    Attributes:
        index: the calibrated one.
        recall: mean share of the k nearest items found, by name, such as recall@20.
    """

    index: ApproximateIndex
    recall: dict[str, float]


def calibrate(
    vectors: Float32, queries: Float32, *, lists: Lists | None = None, geometry: SpaceName = "hyperbolic"
) -> Calibrated:
    """The cheapest index with a recall@20 of more than .99, if there is one, for queries like these.

    Args:
        vectors: (n, d) float32 tangent vectors of the items.
        queries: (b, d) float32 tangent vectors of users.
        lists: those of the vectors, built if they are not given.
        geometry: what distances are measured in.
    """
    lists, nothing = lists or build_lists(vectors, geometry), Histories.empty(len(queries))
    truth = FlatIndex(vectors, geometry=geometry).search(queries, [K] * len(queries), nothing)

    def attempt(probes: int, factor: int) -> Calibrated:
        overfetch = {k: factor * k for k in LENGTHS}
        index = ApproximateIndex(vectors, lists, probes=probes, overfetch=overfetch, geometry=geometry)
        return Calibrated(index, {NAME: shared(index.search(queries, [K] * len(queries), nothing), truth)})

    # rising by the square root of two, up to all lists
    ladder = {min(round(PROBES * 2 ** (step / 2)), len(lists)): None for step in range(2 * len(lists).bit_length())}
    for probes in ladder:
        made = attempt(probes, FACTORS[-1])
        if made.recall[NAME] >= WANTED + SPARE:
            break
    fewer = (attempt(made.index.probes, factor) for factor in FACTORS[:-1])
    return next((one for one in fewer if one.recall[NAME] >= WANTED), made)


def shared(found: list[Hits], truth: list[Hits]) -> float:
    """Mean share of the true lists that was found."""
    shares = [
        len(np.intersect1d(hits.items, true.items)) / len(true.items)
        for hits, true in zip(found, truth, strict=True)
        if len(true.items)
    ]
    return float(np.mean(shares))
