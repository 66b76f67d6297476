"""What comes after a history."""

import math

import numpy as np

from model.kernels.build import Float32, Int32, Int64, compiled, f32_1, f32_2, f32_2r, f32_3, i32_1r, i64, i64_1r, void
from model.kernels.exponential import exponential
from model.kernels.means import newest_of
from model.kernels.products import TOGETHER, add_product, add_weighted, aligned, inner_product, set_rows, total_of

__all__ = ["attend", "normalising"]

NORMALISED_EPSILON = 1e-5  # of torch's layer_norm


@compiled(fused=True, regrouped=True)
def _mean_and_scale(values: Float32) -> tuple[np.float32, np.float32]:
    """What makes a vector, less the one and times the other, one of mean 0 and variance 1."""
    d, total, squares = len(values), np.float32(0), np.float32(0)
    for j in range(d):
        total += values[j]
    mean = np.float32(total / d)
    for j in range(d):
        squares += (values[j] - mean) * (values[j] - mean)
    return mean, np.float32(1 / math.sqrt(squares / d + NORMALISED_EPSILON))


@compiled(void, f32_2, f32_2r, fused=True)
def normalising(statistics: Float32, vectors: Float32) -> None:
    """Mean and scale of each vector, see `attend`: (n, 2), set, of (n, d)."""
    for row in range(len(vectors)):
        statistics[row, 0], statistics[row, 1] = _mean_and_scale(vectors[row])


@compiled(fused=True)
def _normalise(x: Float32) -> None:
    """Shift and scale every row to mean 0 and variance 1, as `model.attention.normalised`."""
    for row in range(len(x)):
        values = x[row]
        mean, scale = _mean_and_scale(values)
        for j in range(len(values)):
            values[j] = (values[j] - mean) * scale


@compiled(fused=True)
def _softmax(x: Float32) -> None:
    """Make a vector's values positive and their sum 1."""
    greatest, total = x[0], np.float32(0)
    for j in range(1, len(x)):
        greatest = max(greatest, x[j])
    for j in range(len(x)):
        x[j] = exponential(x[j] - greatest)
        total += x[j]
    for j in range(len(x)):
        x[j] /= total


@compiled(
    void,
    f32_3,
    i64,
    i64_1r,
    i32_1r,
    f32_2r,
    f32_2r,
    f32_2,
    f32_1,
    f32_2,
    f32_2,
    f32_1,
    f32_2,
    f32_1,
    f32_2,
    f32_1,
    f32_2,
    f32_1,
    fused=True,
)
def attend(
    conditions: Float32,
    place: int,
    indptr: Int64,
    items: Int32,
    vectors: Float32,
    statistics: Float32,
    question: Float32,
    question_bias: Float32,
    by_age: Float32,
    answer: Float32,
    answer_bias: Float32,
    first: Float32,
    first_bias: Float32,
    second: Float32,
    second_bias: Float32,
    head: Float32,
    head_bias: Float32,
) -> None:
    """What comes after each row, `model.attention.Attention.newest`; zeros of an empty row.

    Args:
        conditions: (b, places, d), of which the one at `place` is set.
        place: which.
        indptr, items: rows of items, oldest first; see `model.history.Histories`.
        vectors: items' own, (n, d).
        statistics: theirs, see `normalising`.
        question: (d, heads * d), question_bias: (heads * d,): scaled as the products with vectors are to be.
        by_age: (heads, longest); as many items count.
        answer: (heads * d, d), answer_bias: (d,).
        first: (d, w), first_bias: (w,), second: (w, d), second_bias: (d,): the hidden layer.
        head: (d, d), head_bias: (d,): the last.

    Raises:
        IndexError: an item that has no vector.
    """
    (heads, longest), d, w = by_age.shape, vectors.shape[1], len(first_bias)
    weights = np.empty(longest, np.float32)
    for start in range(0, len(conditions), TOGETHER):
        rows = min(TOGETHER, len(conditions) - start)
        x, y = aligned(rows, d), aligned(rows, d)
        questions, answers = aligned(rows, heads * d), aligned(rows, heads * d)
        hidden, result = aligned(rows, w), aligned(rows, d)
        for row in range(rows):
            newest = newest_of(indptr, items, start + row, 1, len(vectors))
            x[row] = 0
            if len(newest):
                mean, scale = statistics[newest[0]]
                for j in range(d):
                    x[row, j] = (vectors[newest[0], j] - mean) * scale
        set_rows(questions, question_bias)
        add_product(questions, 0, x, question, 0, heads * d)
        answers[:] = 0
        for row in range(rows):
            newest = newest_of(indptr, items, start + row, longest, len(vectors))
            count = len(newest)
            for q in range(heads if count else 0):
                asked, sums = questions[row, q * d : (q + 1) * d], answers[row, q * d : (q + 1) * d]
                # of vectors as they are; that they have mean 0 and variance 1 comes in afterwards
                total = total_of(asked)
                for t in range(count):
                    mean, scale = statistics[newest[t]]
                    told = scale * (inner_product(asked, vectors[newest[t]]) - mean * total)
                    weights[t] = by_age[q, count - 1 - t] + told
                _softmax(weights[:count])
                shift = np.float32(0)
                for t in range(count):
                    mean, scale = statistics[newest[t]]
                    weights[t] *= scale
                    shift += weights[t] * mean
                add_weighted(sums, weights[:count], vectors, newest)
                for j in range(d):
                    sums[j] -= shift
        for row in range(rows):
            for j in range(d):
                x[row, j] += answer_bias[j]
        add_product(x, 0, answers, answer, 0, d)
        for row in range(rows):
            for j in range(d):
                y[row, j] = x[row, j]
        set_rows(hidden, first_bias)
        _normalise(y)
        add_product(hidden, 0, y, first, 0, w)
        for row in range(rows):
            for j in range(w):
                hidden[row, j] = max(hidden[row, j], np.float32(0))
            for j in range(d):
                x[row, j] += second_bias[j]
        add_product(x, 0, hidden, second, 0, d)
        _normalise(x)
        set_rows(result, head_bias)
        add_product(result, 0, x, head, 0, d)
        for row in range(rows):
            known = indptr[start + row + 1] > indptr[start + row]
            for j in range(d):
                conditions[start + row, place, j] = result[row, j] if known else np.float32(0)
