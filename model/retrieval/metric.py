"""How near items are: float64 keys that decide, and float32 products that are cheap.

Every distance here rises with a *key* that is exact where items are near, and falls with a *product* of two vectors of
d + 1 coordinates, which one matrix multiplication gives for all pairs:

    hyperbolic   key cosh d - 1      product -cosh d, the Lorentz inner product: ascending distance, descending product
    euclidean    key |u - v|^2       product u.v - |v|^2 / 2

Symbols: u queries, v items, tangent vectors at the origin (..., d); K = 1, see model.geometry.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model import kernels
from model.config import SpaceName

__all__ = ["Metric", "metric"]

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Metric:
    """A distance between tangent vectors.

    Attributes:
        curved: geodesics of hyperbolic space, or straight lines.
    """

    curved: bool

    def keys(self, query: Float32, vectors: Float32, candidates: Int64) -> Float64:
        """Of some items: (d,), (n, d), (m,) -> (m,). Equal items have equal keys wherever they stand."""
        found = np.empty(len(candidates))
        kernels.keys(found, query, vectors, candidates, self.curved)
        return found

    def distance(self, keys: Float64) -> Float64:
        """The distances that keys stand for: (...) -> (...)."""
        return np.log1p(keys + np.sqrt(keys * (keys + 2))) if self.curved else np.sqrt(keys)

    def queries(self, u: Float32) -> Float32:
        """Coordinates of queries: (b, d) -> (b, d + 1)."""
        return self._lifted(u, item=False)

    def items(self, v: Float32) -> Float32:
        """Coordinates of items: (n, d) -> (n, d + 1)."""
        return self._lifted(v, item=True)

    def _lifted(self, vectors: Float32, *, item: bool) -> Float32:
        points = np.empty((len(vectors), vectors.shape[1] + 1), np.float32)
        kernels.lift(points, vectors, self.curved, item)
        return points


def metric(name: SpaceName) -> Metric:
    """That of a space."""
    return Metric(curved=name == "hyperbolic")
