"""The least of many numbers."""

import numpy as np

from model.kernels.build import Float32, Float64, Int64, compiled, f32, f32_1, i64

__all__ = ["BLOCK", "PEAKS", "exceeded", "keep_greatest", "sink", "sort"]

BLOCK = 4096  # items that are chosen from at a time
PEAKS = 512  # groups of them whose greatest product is looked at first
HALVINGS = 12  # of the range of products, to find one that few are greater than


@compiled(fused=False)
def _after(key: float, item: int, other_key: float, other: int) -> bool:
    return key > other_key or (key == other_key and item > other)


@compiled(fused=False)
def sink(heap: Float64, items: Int64, place: int, size: int) -> None:
    """Make a heap whose first entry is the last in order, after the entry at `place` has changed."""
    while 2 * place + 1 < size:
        child = 2 * place + 1
        if child + 1 < size and _after(heap[child + 1], items[child + 1], heap[child], items[child]):
            child += 1
        if not _after(heap[child], items[child], heap[place], items[place]):
            return
        heap[child], heap[place] = heap[place], heap[child]
        items[child], items[place] = items[place], items[child]
        place = child


@compiled(fused=False)
def sort(heap: Float64, items: Int64, size: int) -> None:
    """Order entries by key, ties by item."""
    for place in range(size // 2 - 1, -1, -1):
        sink(heap, items, place, size)
    for last in range(size - 1, 0, -1):
        heap[0], heap[last] = heap[last], heap[0]
        items[0], items[last] = items[last], items[0]
        sink(heap, items, 0, last)


@compiled(f32, f32_1, i64, fused=False)
def exceeded(values: Float32, m: int) -> np.float32:
    """What at least m of the values are greater than, and few more where there is such a number; else -inf."""
    low, high = np.float32(np.inf), np.float32(-np.inf)
    for j in range(len(values)):
        if values[j] > -np.inf:
            low, high = min(low, values[j]), max(high, values[j])
    for halving in range(HALVINGS):
        middle = (low + high) / np.float32(2) if halving else low
        count = 0
        for j in range(len(values)):
            count += values[j] > middle
        if count >= m:
            low = middle
        elif halving:
            high = middle
        else:
            return np.float32(-np.inf)
    return low


@compiled(fused=False)
def keep_greatest(far: Float64, fetched: Int64, score: Float32, start: int, peaks: Float32) -> None:
    """Bring a block's products into a heap of the greatest, where they are negative, so that they ascend.

    Args:
        far, fetched: the heap, and whose products they are.
        score: (size,); -inf of what must not be taken.
        start: the item that the first belongs to.
        peaks: working memory, (PEAKS,).
    """
    size, width = len(score), len(peaks)
    for j in range(width):
        peaks[j] = score[j] if j < size else np.float32(-np.inf)
    for first in range(width, size, width):
        for j in range(min(width, size - first)):
            peaks[j] = max(peaks[j], score[first + j])
    least = np.float32(-far[0])
    if least == -np.inf:  # as many greater ones are in this block
        least = exceeded(peaks, len(far))
    # nearly all are turned away here
    for j in range(min(width, size)):
        if peaks[j] > least:
            for item in range(j, size, width):
                if score[item] > least:
                    far[0], fetched[0] = -np.float64(score[item]), start + item
                    sink(far, fetched, 0, len(far))
                    least = max(least, np.float32(-far[0]))
