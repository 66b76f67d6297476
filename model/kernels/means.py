"""Means of histories."""

from model.kernels.build import Float32, Int32, Int64, compiled, f32_2r, f32_3, i32_1r, i64, i64_1r, void
from model.kernels.products import add_weighted, aligned

__all__ = ["mean_rows", "newest_of"]


@compiled(fused=False)
def newest_of(indptr: Int64, items: Int32, row: int, longest: int, n: int) -> Int32:
    """The newest items of a row, the oldest of them first, checked."""
    stop = indptr[row + 1]
    newest = items[max(indptr[row], stop - longest) : stop]
    for place in range(len(newest)):
        if not 0 <= newest[place] < n:
            raise IndexError("a history has an item that has no vector")
    return newest


@compiled(void, f32_3, i64, i64_1r, i32_1r, f32_2r, f32_2r, f32_2r, fused=True)
def mean_rows(
    means: Float32, place: int, indptr: Int64, items: Int32, vectors: Float32, weights: Float32, scales: Float32
) -> None:
    """Weighted means of the vectors of each row's newest items; zeros of an empty row.

    Args:
        means: (b, places, d), of which those from `place` on are set, one for each weighting.
        place: the first of them.
        indptr, items: rows of items, oldest first; see `model.history.Histories`.
        vectors: (n, d).
        weights: (h, longest) by age, the oldest first; as many items count.
        scales: (longest, h): what makes a row of one item, of two and so on a mean.

    Raises:
        IndexError: an item that has no vector.
    """
    (h, longest), mean = weights.shape, aligned(1, vectors.shape[1])[0]
    for row in range(len(means)):
        newest = newest_of(indptr, items, row, longest, len(vectors))
        for q in range(h):
            mean[:] = 0
            add_weighted(mean, weights[q, longest - len(newest) :], vectors, newest)
            for j in range(len(mean)):
                means[row, place + q, j] = mean[j] * scales[max(len(newest), 1) - 1, q]
