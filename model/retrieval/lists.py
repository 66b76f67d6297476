"""Inverted lists: items in groups of neighbours, a byte a coordinate, of which a search looks into a few."""

from dataclasses import dataclass, fields

import faiss
import numpy as np
import numpy.typing as npt

from model.config import SpaceName
from model.retrieval.metric import Metric, metric

__all__ = ["Lists", "build_lists"]

Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]

LISTS_PER_ROOT = 4  # lists for each square root of an item
MULTIPLE = 16  # of which there are as many as a wide register holds, or more
SAMPLED = 40  # vectors for each list that the centres are learned from
ROUNDS = 10
SEED = 1
ROWS = 1 << 16  # items looked at together
CODES = 255  # steps between the least and the greatest that a byte can say


@dataclass(frozen=True)
class Lists:
    """The coordinates of n items (`Metric.items`) in l lists; all arrays may be memory maps.

    Attributes:
        centres: the list that an item is in is the one whose product with it is the greatest: (d + 1, l) float32.
        offsets: list i has the places offsets[i]:offsets[i + 1]: (l + 1,) int64.
        items: the item at each place, (n,) int32.
        heights: its first coordinate, (n,) float32.
        codes: its others are least + codes * step, (n, d) uint8.
        least, step: (d,) float32.

    Raises:
        ValueError: arrays of other shapes or types, or that do not say where each item is.
    """

    centres: Float32
    offsets: Int64
    items: Int32
    heights: Float32
    codes: npt.NDArray[np.uint8]
    least: Float32
    step: Float32

    def __post_init__(self) -> None:
        n, d = self.codes.shape
        expected = {
            "centres": (np.float32, (d + 1, len(self.offsets) - 1)),
            "offsets": (np.int64, self.offsets.shape),
            "items": (np.int32, (n,)),
            "heights": (np.float32, (n,)),
            "codes": (np.uint8, (n, d)),
            "least": (np.float32, (d,)),
            "step": (np.float32, (d,)),
        }
        for name, (dtype, shape) in expected.items():
            array = getattr(self, name)
            if (array.dtype, array.shape) != (dtype, shape):
                raise ValueError(f"lists: {name}: got {array.dtype} {array.shape}, expected {dtype.__name__} {shape}")
        # machine code would read beside the arrays
        if self.offsets[0] != 0 or self.offsets[-1] != n or (np.diff(self.offsets) < 0).any():
            raise ValueError(f"lists: offsets: expected numbers that never fall, from 0 to {n}")
        if len(self.items) and not 0 <= self.items.min() <= self.items.max() < n:
            raise ValueError(f"lists: items: expected item indices from 0 to {n - 1}")

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """All of them, by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def nbytes(self) -> int:
        """Of all arrays."""
        return sum(array.nbytes for array in self.arrays.values())


def build_lists(vectors: Float32, geometry: SpaceName = "hyperbolic") -> Lists:
    """About 4 sqrt(n) lists of (n, d) float32 tangent vectors: d + 10 bytes an item, and the centres.

    The same vectors, on as many threads, give the same lists.
    """
    (n, d), measure = vectors.shape, metric(geometry)
    count = min(max(int(LISTS_PER_ROOT * n**0.5), 1), n)
    count -= count % MULTIPLE if count > MULTIPLE else 0
    sample = np.sort(np.random.default_rng(SEED).choice(n, min(n, SAMPLED * count), replace=False))
    clustering = faiss.Clustering(d + 1, count)
    clustering.niter, clustering.seed, clustering.spherical = ROUNDS, SEED, True
    clustering.min_points_per_centroid, clustering.max_points_per_centroid = 1, SAMPLED
    centres = faiss.IndexFlatIP(d + 1)
    clustering.train(measure.items(vectors[sample]), centres)
    parts = [vectors[start : start + ROWS] for start in range(0, n, ROWS)]
    assigned = np.concatenate([centres.search(measure.items(part), 1)[1][:, 0] for part in parts])
    order = np.argsort(assigned, kind="stable")
    offsets = np.concatenate(([0], np.cumsum(np.bincount(assigned, minlength=count))))
    heights, codes, least, step = _coded(measure, vectors, order)
    learned = faiss.vector_to_array(clustering.centroids).reshape(count, d + 1)
    return Lists(
        np.ascontiguousarray(learned.T), offsets.astype(np.int64), order.astype(np.int32), heights, codes, least, step
    )


def _coded(measure: Metric, vectors: Float32, order: Int64) -> tuple[Float32, npt.NDArray[np.uint8], Float32, Float32]:
    """Heights, codes, least and step of the items in an order."""
    n, d = vectors.shape
    parts = [slice(start, start + ROWS) for start in range(0, n, ROWS)]
    least, greatest = np.full(d, np.inf, np.float32), np.full(d, -np.inf, np.float32)
    for part in parts:
        coordinates = measure.items(vectors[part])[:, 1:]
        least, greatest = np.minimum(least, coordinates.min(axis=0)), np.maximum(greatest, coordinates.max(axis=0))
    step = (greatest - least) / np.float32(CODES)
    heights, codes = np.empty(n, np.float32), np.empty((n, d), np.uint8)
    for part in parts:
        coordinates = measure.items(vectors[order[part]])
        heights[part] = coordinates[:, 0]
        codes[part] = np.rint((coordinates[:, 1:] - least) / np.where(step > 0, step, 1)).clip(0, CODES)
    return heights, codes, least, step
