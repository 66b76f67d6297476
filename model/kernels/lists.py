"""The nearest items of some inverted lists."""

import numpy as np
import numpy.typing as npt

from model.kernels.build import (
    Float32,
    Float64,
    Int32,
    Int64,
    boolean,
    compiled,
    f32_1r,
    f32_2r,
    f64_2,
    i32_1r,
    i64,
    i64_1,
    i64_1r,
    i64_2,
    u8_2r,
    void,
)
from model.kernels.distances import NONE, lift_one, radius
from model.kernels.heap import BLOCK, PEAKS, keep_greatest, sink, sort
from model.kernels.products import TILE, TOGETHER, aligned, products
from model.kernels.rerank import decide

__all__ = ["search_lists"]


@compiled(fused=True, regrouped=True)
def _coded_products(
    out: Float32, query: Float32, stretched: Float32, base: np.float32, heights: Float32, codes: npt.NDArray[np.uint8]
) -> None:
    """Products of a query with items in codes.

    Args:
        out: (t,), set.
        query: its coordinates, (d + 1,).
        stretched: (d,), all but the first, each times the step between two codes.
        base: what they give with codes of 0.
        heights, codes: the items' first coordinates, (t,), and the others, (t, d).
    """
    for place in range(len(codes)):
        code, total = codes[place], np.float32(0)
        for j in range(len(stretched)):
            total += stretched[j] * np.float32(code[j])
        out[place] = total + query[0] * heights[place] + base


@compiled(fused=False)
def _contains(items: Int32, item: int) -> bool:
    count = 0
    for place in range(len(items)):
        count += items[place] == item
    return count > 0


@compiled(fused=False)
def _keep_of_list(far: Float64, fetched: Int64, score: Float32, listed: Int32, gone: Int32) -> int:
    """Bring products into the heap of `keep_greatest`; how many were turned away because their items are gone."""
    least, turned = np.float32(-far[0]), 0
    for place in range(len(listed)):
        if score[place] > least:
            if _contains(gone, listed[place]):
                turned += 1
            else:
                far[0], fetched[0] = -np.float64(score[place]), listed[place]
                sink(far, fetched, 0, len(far))
                least = np.float32(-far[0])
    return turned


@compiled(
    void,
    f64_2,
    i64_2,
    i64_1,
    i64_1,
    f32_2r,
    f32_2r,
    i64_1r,
    i32_1r,
    f32_1r,
    u8_2r,
    f32_1r,
    f32_1r,
    f32_2r,
    boolean,
    i64,
    i64_1,
    i64_1,
    i64_1r,
    i32_1r,
    fused=False,
)
def search_lists(
    distances: Float64,
    items: Int64,
    counts: Int64,
    turned: Int64,
    queries: Float32,
    centres: Float32,
    offsets: Int64,
    listed: Int32,
    heights: Float32,
    codes: npt.NDArray[np.uint8],
    least: Float32,
    step: Float32,
    vectors: Float32,
    curved: bool,
    probes: int,
    ks: Int64,
    fetches: Int64,
    gone_indptr: Int64,
    gone: Int32,
) -> None:
    """The nearest items in the lists whose centres have the greatest products with a query, re-ranked in float64.

    Args:
        distances, items: (b, the greatest of fetches), set: of each row as many as `counts` says, nearest first.
        counts: (b,), set.
        turned: (b,), set: items that were near enough and must not be returned.
        queries: (b, d).
        centres, offsets, listed, heights, codes, least, step: see `model.retrieval.lists.Lists`.
        vectors: (n, d).
        curved: whether distances are geodesics of hyperbolic space, or straight.
        probes: lists looked into.
        ks, fetches: (b,), items asked for and re-ranked.
        gone_indptr, gone: what must not be returned, in rows.
    """
    (b, d), n_lists = queries.shape, centres.shape[1]
    most, longest = min(TOGETHER, b), 0
    for number in range(n_lists):
        longest = max(longest, offsets[number + 1] - offsets[number])
    lifted, scores = np.empty((most, d + 1), np.float32), aligned(most, min(BLOCK, n_lists) + TILE)
    away, near = np.empty((most, probes)), np.empty((most, probes), np.int64)
    stretched, peaks, score = aligned(1, d)[0], aligned(1, PEAKS)[0], aligned(1, longest)[0]
    for first in range(0, b, TOGETHER):
        rows = min(TOGETHER, b - first)
        for row in range(rows):
            lift_one(lifted[row], queries[first + row], radius(queries[first + row]), curved, False)
        away[:], near[:] = np.inf, NONE
        for start in range(0, n_lists, BLOCK):
            size = min(BLOCK, n_lists - start)
            products(scores[:rows], lifted[:rows], centres, start, size)
            for row in range(rows):
                keep_greatest(away[row], near[row], scores[row, :size], start, peaks)
        for row in range(first, first + rows):
            far, fetched, query = distances[row, : fetches[row]], items[row, : fetches[row]], lifted[row - first]
            far[:], fetched[:], turned[row], base = np.inf, NONE, 0, np.float32(0)
            for j in range(d):
                stretched[j] = query[j + 1] * step[j]
                base += query[j + 1] * least[j]
            # the nearest list first, so that few of the others' items are near enough
            sort(away[row - first], near[row - first], probes)
            for place in range(probes):
                start, stop = offsets[near[row - first, place]], offsets[near[row - first, place] + 1]
                own, excluded = listed[start:stop], gone[gone_indptr[row] : gone_indptr[row + 1]]
                _coded_products(score, query, stretched, base, heights[start:stop], codes[start:stop])
                turned[row] += _keep_of_list(far, fetched, score, own, excluded)
            counts[row], _ = decide(far, fetched, queries[row], vectors, ks[row], curved)
