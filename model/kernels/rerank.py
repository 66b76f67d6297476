"""What was fetched, put in order by distance."""

from model.kernels.build import Float32, Float64, Int64, boolean, compiled, f32_2r, f64_2, i64_2, void
from model.kernels.distances import NONE, distance, keys
from model.kernels.heap import sort

__all__ = ["decide", "rerank"]


@compiled(fused=False)
def decide(far: Float64, fetched: Int64, query: Float32, vectors: Float32, k: int, curved: bool) -> tuple[int, float]:
    """Order what was fetched by distance, of which the first k are set; how many there are, and the last one's key."""
    keys(far, query, vectors, fetched, curved)
    sort(far, fetched, len(far))
    count, last = 0, far[min(k, len(far)) - 1]
    while count < min(k, len(far)) and fetched[count] != NONE:
        far[count] = distance(far[count], curved)
        count += 1
    return count, last


@compiled(void, f64_2, i64_2, f32_2r, f32_2r, boolean, fused=False)
def rerank(found: Float64, items: Int64, queries: Float32, vectors: Float32, curved: bool) -> None:
    """Order each row of candidates by key, ties by item, and set their keys: (b, m), (b, m), (b, d), (n, d).

    A candidate of -1 has an infinite key.
    """
    for row in range(len(items)):
        keys(found[row], queries[row], vectors, items[row], curved)
        sort(found[row], items[row], items.shape[1])
