"""Why an item: those of a history that are nearest to it."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from model.retrieval.metric import Metric

__all__ = ["MOST_REASONED", "nearest_reasons"]

Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]

REASONS = 3  # for an item
MOST_REASONED = 1000  # items of a history that are looked at
LOOKED_AT = 3 * REASONS  # by exact distances, of those that float32 products say are nearest


def nearest_reasons(
    metric: Metric, items: Int32, vectors: Float32, taken: Int32, places: Float32
) -> list[Sequence[tuple[int, float]]]:
    """For each item up to three others that are nearest to it and how far they are, the nearest first.

    Args:
        metric: how far items are apart.
        items, vectors: what is to be explained, (k,) and (k, d).
        taken, places: what it may be explained by, (n,), none twice, and (n, d).
    """
    if not len(taken):
        return [()] * len(items)
    products = metric.queries(vectors) @ metric.items(places).T
    products[items[:, None] == taken] = -np.inf  # nothing explains itself
    looked_at = min(LOOKED_AT, len(taken))
    nearest = np.argpartition(-products, looked_at - 1, axis=1)[:, :looked_at]
    found = list[Sequence[tuple[int, float]]]()
    for item, vector, candidates in zip(items.tolist(), vectors, nearest, strict=True):
        candidates = candidates[taken[candidates] != item]
        distances = metric.distance(metric.keys(vector, places, candidates))
        order = np.lexsort((taken[candidates], distances))[:REASONS]
        found.append(list(zip(taken[candidates[order]].tolist(), distances[order].tolist(), strict=True)))
    return found
