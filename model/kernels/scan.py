"""The nearest of all items."""

import math

import numpy as np
import numpy.typing as npt

from model.kernels.build import (
    Float32,
    Float64,
    Int32,
    Int64,
    bool_1,
    boolean,
    compiled,
    f32_2r,
    f64,
    f64_2,
    i32_1r,
    i64,
    i64_1,
    i64_1r,
    i64_2,
    void,
)
from model.kernels.distances import NONE, lift_one, radius
from model.kernels.heap import BLOCK, PEAKS, keep_greatest
from model.kernels.products import TILE, TOGETHER, aligned, products
from model.kernels.rerank import decide

__all__ = ["UNIT_ROUNDOFF", "least_product", "nearest"]

UNIT_ROUNDOFF = 2.0**-24  # of float32
TINY = float(np.finfo(np.float32).tiny)


@compiled(f64, f64, f64, i64, f64, boolean, fused=False)
def least_product(key: float, r: float, dim: int, longest: float, curved: bool) -> float:
    """What the float32 product of a query with an item of this key is at least, for items up to a radius.

    Each coordinate is rounded once, and a sum of n products is off by at most gamma_n sum |x_i y_i|, in whatever
    order it is taken (Higham, Accuracy and Stability, 3.1): together (1 + e)^2 (1 + gamma_(d+1)) - 1 <= (d + 5) e
    of that sum, for e = 2^-24. The sum is at most cosh r_u cosh r_v + sinh r_u sinh r_v = cosh(r_u + r_v), or
    |u||v| + |v|^2 / 2 in flat space.
    """
    off = (dim + 6) * UNIT_ROUNDOFF
    if curved:
        return -1 - key - off * math.cosh(r + longest)
    return (r * r - key) / 2 - off * (r * longest + longest * longest / 2) - TINY


@compiled(
    void,
    f64_2,
    i64_2,
    i64_1,
    bool_1,
    f32_2r,
    f32_2r,
    f32_2r,
    f64,
    boolean,
    i64_1,
    i64_1,
    i64_1r,
    i32_1r,
    bool_1,
    i64_1r,
    i32_1r,
    fused=False,
)
def nearest(
    distances: Float64,
    items: Int64,
    counts: Int64,
    certified: npt.NDArray[np.bool_],
    queries: Float32,
    points: Float32,
    vectors: Float32,
    longest: float,
    curved: bool,
    ks: Int64,
    fetches: Int64,
    gone_indptr: Int64,
    gone: Int32,
    confined: npt.NDArray[np.bool_],
    own_indptr: Int64,
    own: Int32,
) -> None:
    """The nearest items by products in float32, re-ranked in float64, with a certificate; see `LorentzScan`.

    Args:
        distances, items: (b, the greatest of fetches), set: of each row as many as `counts` says, nearest first.
        counts, certified: (b,), set.
        queries: (b, d).
        points: the items' coordinates, (d + 1, n or more).
        vectors: (n, d).
        longest: the greatest radius among them.
        curved: whether distances are geodesics of hyperbolic space, or straight.
        ks, fetches: (b,), items asked for and re-ranked.
        gone_indptr, gone: what must not be returned, in rows.
        confined: (b,), rows that may have nothing but what is their `own`, ascending in rows of `own_indptr`.

    Raises:
        IndexError: an own item out of order, or that there is not.
    """
    (b, d), n = queries.shape, len(vectors)
    most = min(TOGETHER, b)
    # a tile more in a row, so that rows do not stand in each other's way in the cache
    lifted, scores = np.empty((most, d + 1), np.float32), aligned(most, min(BLOCK, n) + TILE)
    radii, places = np.empty(most), np.empty(most, np.int64)
    allowed, peaks = np.empty(min(BLOCK, n), np.float32), aligned(1, PEAKS)[0]
    for first in range(0, b, TOGETHER):
        rows = min(TOGETHER, b - first)
        for row in range(rows):
            radii[row] = radius(queries[first + row])
            lift_one(lifted[row], queries[first + row], radii[row], curved, False)
            places[row] = own_indptr[first + row]
            for place in range(own_indptr[first + row], own_indptr[first + row + 1]):
                before = own[place - 1] if place > own_indptr[first + row] else NONE
                if not before < own[place] < n:
                    raise IndexError("items that a query is confined to do not ascend, or there is no such item")
            distances[first + row, : fetches[first + row]] = np.inf
            items[first + row, : fetches[first + row]] = NONE
        for start in range(0, n, BLOCK):
            size = min(BLOCK, n - start)
            products(scores[:rows], lifted[:rows], points, start, size)
            for row in range(rows):
                m, score = fetches[first + row], scores[row, :size]
                for place in range(gone_indptr[first + row], gone_indptr[first + row + 1]):
                    if start <= gone[place] < start + size:
                        score[gone[place] - start] = -np.inf
                if confined[first + row]:
                    allowed[:size] = -np.inf
                    while places[row] < own_indptr[first + row + 1] and own[places[row]] < start + size:
                        allowed[own[places[row]] - start] = score[own[places[row]] - start]
                        places[row] += 1
                    score = allowed[:size]
                keep_greatest(distances[first + row, :m], items[first + row, :m], score, start, peaks)
        for row in range(rows):
            far, fetched = distances[first + row, : fetches[first + row]], items[first + row, : fetches[first + row]]
            reached = far[0]
            counts[first + row], last = decide(far, fetched, queries[first + row], vectors, ks[first + row], curved)
            # where even what may not be returned was fetched, nothing is left
            sure = len(far) == n or reached == np.inf
            if not sure:
                sure = least_product(last, radii[row], d, longest, curved) > -reached
            certified[first + row] = sure
