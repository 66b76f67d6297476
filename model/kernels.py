"""Loops that answer requests, compiled to machine code by Numba: one call a batch and phase, without Python inside.

They do not hold the interpreter's lock, and a row's result is the same in any batch, bit for bit: rows share what is
read of a matrix, but each is computed as if it were alone. All of them are in one module because Numba's cache on disk
does not notice changes in others.

Symbols: b rows of a batch, n items, d coordinates, h vectors of a condition, w hidden units; u queries, v items,
tangent vectors at the origin; r radii; K = 1, see model.geometry.
"""

import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt
from numba import types

__all__ = [
    "CACHE_LINE",
    "NONE",
    "UNIT_ROUNDOFF",
    "attend",
    "denoise",
    "exceeded",
    "exponential",
    "keys",
    "least_product",
    "lift",
    "mean_rows",
    "mix",
    "nearest",
    "normalising",
    "rerank",
    "search_lists",
]

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Function = TypeVar("Function", bound=Callable[..., Any])

NONE = -1  # in place of an item
TOGETHER = 16  # rows whose products are taken together
TILE = 256  # items whose products are: what is read and written meanwhile stays in the nearest cache
BLOCK = 4096  # items that are chosen from at a time
PEAKS = 512  # groups of them whose greatest product is looked at first
HALVINGS = 12  # of the range of products, to find one that few are greater than
UNIT_ROUNDOFF = 2.0**-24  # of float32
TINY = float(np.finfo(np.float32).tiny)
LEAST_RADIUS = 1e-6  # below it, capping the radius changes nothing in float32
NORMALISED_EPSILON = 1e-5  # of torch's layer_norm
CACHE_LINE = 64  # bytes; vectors that lie across two are read at half the speed
EXP_LEAST, EXP_MOST = np.float32(-87.3), np.float32(88.0)  # beyond them float32 has no normal number
LOG2_E, LOG_2_HIGH, LOG_2_LOW = np.float32(1.44269504), np.float32(0.693359375), np.float32(-2.12194440e-4)
EXP_0, EXP_1, EXP_2 = np.float32(5.0000001201e-1), np.float32(1.6666665459e-1), np.float32(4.1665795894e-2)
EXP_3, EXP_4, EXP_5 = np.float32(8.3334519073e-3), np.float32(1.3981999507e-3), np.float32(1.9875691500e-4)


def _array(dtype: Any, dimensions: int, *, readonly: bool = False) -> Any:
    """The type of a contiguous array; of one that is only read, writable ones are taken too."""
    return types.Array(dtype, dimensions, "C", readonly=readonly)


# float32, float64, int32 and int64 arrays of so many dimensions; r: only read
f32_1, f32_2, f32_3 = (_array(types.float32, dimensions) for dimensions in (1, 2, 3))
f64_1, f64_2 = _array(types.float64, 1), _array(types.float64, 2)
i64_1, i64_2 = _array(types.int64, 1), _array(types.int64, 2)
bool_1 = _array(types.boolean, 1)
u8_2r = _array(types.uint8, 2, readonly=True)
f32_1r, f32_2r = _array(types.float32, 1, readonly=True), _array(types.float32, 2, readonly=True)
i32_1r, i64_1r = _array(types.int32, 1, readonly=True), _array(types.int64, 1, readonly=True)
f64, i64, boolean, void = types.float64, types.int64, types.boolean, types.void


def compiled(*signature: Any, fused: bool, regrouped: bool = False) -> Callable[[Function], Function]:
    """Decorates a function to be machine code.

    The code is kept on disk where a folder can be written: beside the module, or in the user's cache.

    Args:
        signature: types of the result and of the arguments, the only ones that it takes and for which it is compiled at
            once; none for a function that others call, which is compiled into them.
        fused: whether a product and a sum may be rounded once; not where two functions have to agree to the last bit.
        regrouped: whether a sum is taken of many partial sums, as wide as the machine's registers: always the same on
            one machine, for the same number of terms.
    """
    liberties = {name for name, taken in (("contract", fused), ("reassoc", regrouped)) if taken}

    def decorate(function: Function) -> Function:
        kernel = numba.njit(nogil=True, error_model="numpy", fastmath=liberties or False)(function)
        if signature:
            with suppress(RuntimeError):  # there is no such folder
                kernel.enable_caching()
            result, *arguments = signature
            kernel.compile(result(*arguments))
            kernel.disable_compile()
        return cast(Function, kernel)

    return decorate


@compiled(fused=False)
def _aligned(rows: int, columns: int) -> Float32:
    """An array of any content whose first row begins where a line of the cache does."""
    memory = np.empty(rows * columns + CACHE_LINE // 4, np.float32)
    first = -(memory.ctypes.data // 4) % (CACHE_LINE // 4)
    return memory[first : first + rows * columns].reshape(rows, columns)


@compiled(fused=True)
def _set_rows(x: Float32, row: Float32) -> None:
    """Make every row of x this one. (An assignment of arrays checks shapes by code that takes seconds to compile.)"""
    for i in range(len(x)):
        for j in range(x.shape[1]):
            x[i, j] = row[j]


@compiled(fused=True)
def _add_product(out: Float32, at: int, x: Float32, matrix: Float32, first: int, columns: int) -> None:
    """out[:, at : at + columns] += x @ matrix[:, first : first + columns], all of them contiguous as a whole.

    Eight rows of the matrix at a time, so that what is summed is seldom read and written.
    """
    n = x.shape[1]
    whole = n - n % 8
    stop = first + columns
    for i in range(0, whole, 8):
        y0, y1, y2, y3 = (
            matrix[i, first:stop],
            matrix[i + 1, first:stop],
            matrix[i + 2, first:stop],
            matrix[i + 3, first:stop],
        )
        y4, y5, y6, y7 = (
            matrix[i + 4, first:stop],
            matrix[i + 5, first:stop],
            matrix[i + 6, first:stop],
            matrix[i + 7, first:stop],
        )
        for row in range(len(x)):
            x0, x1, x2, x3, sums = x[row, i], x[row, i + 1], x[row, i + 2], x[row, i + 3], out[row, at : at + columns]
            x4, x5, x6, x7 = x[row, i + 4], x[row, i + 5], x[row, i + 6], x[row, i + 7]
            for j in range(columns):
                half = sums[j] + x0 * y0[j] + x1 * y1[j] + x2 * y2[j] + x3 * y3[j]
                sums[j] = half + x4 * y4[j] + x5 * y5[j] + x6 * y6[j] + x7 * y7[j]
    for i in range(whole, n):
        y0 = matrix[i, first:stop]
        for row in range(len(x)):
            x0, sums = x[row, i], out[row, at : at + columns]
            for j in range(columns):
                sums[j] = sums[j] + x0 * y0[j]


@compiled(fused=True)
def _products(out: Float32, x: Float32, matrix: Float32, start: int, size: int) -> None:
    """out[:, :size] = x @ matrix[:, start : start + size]."""
    for first in range(0, size, TILE):
        columns = min(TILE, size - first)
        for row in range(len(x)):
            out[row, first : first + columns] = 0
        _add_product(out, first, x, matrix, start + first, columns)


@compiled(fused=True)
def _add_weighted(sums: Float32, weights: Float32, vectors: Float32, items: Int32) -> None:
    """sums += weights @ vectors[items]: (d,), (t,), (n, d), (t,)."""
    d, whole = len(sums), len(items) - len(items) % 4
    for t in range(0, whole, 4):
        v0, v1, v2, v3 = vectors[items[t]], vectors[items[t + 1]], vectors[items[t + 2]], vectors[items[t + 3]]
        w0, w1, w2, w3 = weights[t], weights[t + 1], weights[t + 2], weights[t + 3]
        for j in range(d):
            sums[j] = sums[j] + w0 * v0[j] + w1 * v1[j] + w2 * v2[j] + w3 * v3[j]
    for t in range(whole, len(items)):
        v0, w0 = vectors[items[t]], weights[t]
        for j in range(d):
            sums[j] = sums[j] + w0 * v0[j]


@compiled(fused=True, regrouped=True)
def _inner_product(x: Float32, y: Float32) -> np.float32:
    total = np.float32(0)
    for j in range(len(x)):
        total += x[j] * y[j]
    return total


@compiled(fused=True, regrouped=True)
def _sum(x: Float32) -> np.float32:
    total = np.float32(0)
    for j in range(len(x)):
        total += x[j]
    return total


@compiled(fused=False)
def _newest(indptr: Int64, items: Int32, row: int, longest: int, n: int) -> Int32:
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
    (h, longest), mean = weights.shape, _aligned(1, vectors.shape[1])[0]
    for row in range(len(means)):
        newest = _newest(indptr, items, row, longest, len(vectors))
        for q in range(h):
            mean[:] = 0
            _add_weighted(mean, weights[q, longest - len(newest) :], vectors, newest)
            for j in range(len(mean)):
                means[row, place + q, j] = mean[j] * scales[max(len(newest), 1) - 1, q]


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
def exponential(x: np.float32) -> np.float32:
    """e^x of a float32, off by less than 2^-23 of it: arithmetic alone, which is done for many numbers at a time.

    x = n log 2 + r with |r| <= log(2) / 2, e^r by a polynomial (minimax, Cephes' expf), 2^n by its bits.
    """
    within = max(min(x, EXP_MOST), EXP_LEAST)
    n = np.floor(within * LOG2_E + np.float32(0.5))
    r = within - n * LOG_2_HIGH - n * LOG_2_LOW
    p = ((((EXP_5 * r + EXP_4) * r + EXP_3) * r + EXP_2) * r + EXP_1) * r + EXP_0
    bits = np.int32((np.int32(n) + np.int32(127)) << np.int32(23))
    power: np.float32 = (p * r * r + r + np.float32(1)) * bits.view(np.float32)
    return power


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
        x, y = _aligned(rows, d), _aligned(rows, d)
        questions, answers = _aligned(rows, heads * d), _aligned(rows, heads * d)
        hidden, result = _aligned(rows, w), _aligned(rows, d)
        for row in range(rows):
            newest = _newest(indptr, items, start + row, 1, len(vectors))
            x[row] = 0
            if len(newest):
                mean, scale = statistics[newest[0]]
                for j in range(d):
                    x[row, j] = (vectors[newest[0], j] - mean) * scale
        _set_rows(questions, question_bias)
        _add_product(questions, 0, x, question, 0, heads * d)
        answers[:] = 0
        for row in range(rows):
            newest = _newest(indptr, items, start + row, longest, len(vectors))
            count = len(newest)
            for q in range(heads if count else 0):
                asked, sums = questions[row, q * d : (q + 1) * d], answers[row, q * d : (q + 1) * d]
                # of vectors as they are; that they have mean 0 and variance 1 comes in afterwards
                total = _sum(asked)
                for t in range(count):
                    mean, scale = statistics[newest[t]]
                    told = scale * (_inner_product(asked, vectors[newest[t]]) - mean * total)
                    weights[t] = by_age[q, count - 1 - t] + told
                _softmax(weights[:count])
                shift = np.float32(0)
                for t in range(count):
                    mean, scale = statistics[newest[t]]
                    weights[t] *= scale
                    shift += weights[t] * mean
                _add_weighted(sums, weights[:count], vectors, newest)
                for j in range(d):
                    sums[j] -= shift
        for row in range(rows):
            for j in range(d):
                x[row, j] += answer_bias[j]
        _add_product(x, 0, answers, answer, 0, d)
        for row in range(rows):
            for j in range(d):
                y[row, j] = x[row, j]
        _set_rows(hidden, first_bias)
        _normalise(y)
        _add_product(hidden, 0, y, first, 0, w)
        for row in range(rows):
            for j in range(w):
                hidden[row, j] = max(hidden[row, j], np.float32(0))
            for j in range(d):
                x[row, j] += second_bias[j]
        _add_product(x, 0, hidden, second, 0, d)
        _normalise(x)
        _set_rows(result, head_bias)
        _add_product(result, 0, x, head, 0, d)
        for row in range(rows):
            known = indptr[start + row + 1] > indptr[start + row]
            for j in range(d):
                conditions[start + row, place, j] = result[row, j] if known else np.float32(0)


@compiled(fused=True, regrouped=True)
def _clamp(z: Float32, limit: float) -> None:
    """Shorten a vector to a radius."""
    squared = np.float32(0)
    for j in range(len(z)):
        squared += z[j] * z[j]
    if squared > limit * limit:
        scale = np.float32(limit / math.sqrt(squared))
        for j in range(len(z)):
            z[j] *= scale


@compiled(fused=True)
def _silu(x: Float32) -> None:
    for row in range(len(x)):
        values = x[row]
        for j in range(len(values)):
            values[j] = values[j] / (np.float32(1) + exponential(-values[j]))


@compiled(
    void,
    f32_2,
    f32_2,
    f32_1,
    f32_1,
    f64,
    f32_1,
    f32_1,
    f64,
    f32_2,
    f32_2,
    f32_2,
    f32_3,
    f32_2,
    f32_2,
    f32_1,
    fused=True,
)
def denoise(
    z_0: Float32,
    condition: Float32,
    anchor_weights: Float32,
    noise: Float32,
    start: float,
    kept: Float32,
    taken: Float32,
    limit: float,
    of_condition: Float32,
    of_z: Float32,
    biases: Float32,
    deeper: Float32,
    deeper_biases: Float32,
    head: Float32,
    head_bias: Float32,
) -> None:
    """The reverse process, `model.process.Process.reverse`, with all that does not depend on the row worked out.

    Args:
        z_0: (b, d), set to the estimate after the last step.
        condition: (b, c * d).
        anchor_weights: (c,); the anchor is the sum of the condition's vectors under them.
        noise: (d,), the start's, for an anchor of positive signs.
        start: share of the anchor in the start.
        kept, taken: (steps - 1,), shares of z_t and of z_0 in the next z_t.
        limit: greatest radius of z_t.
        of_condition: (c * d, w), of_z: (d, w), biases: (steps, w): the first layer.
        deeper: (layers, w, w), deeper_biases: (layers, w): hidden layers after the first.
        head: (w, d), head_bias: (d,): the last layer.
    """
    (b, d), (steps, w) = z_0.shape, biases.shape
    for first in range(0, b, TOGETHER):
        given = condition[first : first + TOGETHER]
        rows = len(given)
        told, x, y = _aligned(rows, w), _aligned(rows, w), _aligned(rows, w)
        anchor, z_t, estimate = _aligned(rows, d), _aligned(rows, d), _aligned(rows, d)
        told[:], anchor[:] = 0, 0
        _add_product(told, 0, given, of_condition, 0, w)
        for row in range(rows):
            for q in range(len(anchor_weights)):
                for j in range(d):
                    anchor[row, j] += anchor_weights[q] * given[row, q * d + j]
            for j in range(d):
                z_t[row, j] = np.float32(start) * anchor[row, j] + np.sign(anchor[row, j]) * noise[j]
            _clamp(z_t[row], limit)
        for step in range(steps):
            for row in range(rows):
                for j in range(w):
                    x[row, j] = told[row, j] + biases[step, j]
            _add_product(x, 0, z_t, of_z, 0, w)
            _silu(x)
            for layer in range(len(deeper)):
                for row in range(rows):
                    for j in range(w):
                        y[row, j] = deeper_biases[layer, j]
                _add_product(y, 0, x, deeper[layer], 0, w)
                _silu(y)
                x, y = y, x
            for row in range(rows):
                for j in range(d):
                    estimate[row, j] = anchor[row, j] + head_bias[j]
            _add_product(estimate, 0, x, head, 0, d)
            if step < steps - 1:
                for row in range(rows):
                    for j in range(d):
                        z_t[row, j] = kept[step] * z_t[row, j] + taken[step] * estimate[row, j]
                    _clamp(z_t[row], limit)
        for row in range(rows):
            for j in range(d):
                z_0[first + row, j] = estimate[row, j]


@compiled(void, f32_2, f32_2, f32_1, f32_3, f64, f64, f64, fused=True)
def mix(
    users: Float32,
    condition: Float32,
    base_weights: Float32,
    denoised: Float32,
    gate: float,
    scale: float,
    limit: float,
) -> None:
    """Users' vectors, `model.diffusion.UserDiffusion.mix`.

    Args:
        users: (b, d), set.
        condition: (b, c * d).
        base_weights: (h,), of the condition's first vectors.
        denoised: (p, b, d); none leaves the base.
        gate: share of their mean.
        scale: what the mixture is stretched by.
        limit: radius that is never reached.
    """
    b, d = users.shape
    for row in range(b):
        user = users[row]
        for j in range(d):
            user[j] = 0
        for q in range(len(base_weights)):
            for j in range(d):
                user[j] += base_weights[q] * condition[row, q * d + j]
        squared = np.float32(0)
        for j in range(d):
            if len(denoised):
                mean = np.float32(0)
                for p in range(len(denoised)):
                    mean += denoised[p, row, j]
                user[j] += np.float32(gate) * (mean / np.float32(len(denoised)) - user[j])
            user[j] *= np.float32(scale)
            squared += user[j] * user[j]
        radius = math.sqrt(squared)
        if radius > LEAST_RADIUS:
            capped = np.float32(limit * math.tanh(radius / limit) / radius)
            for j in range(d):
                user[j] *= capped


@compiled(fused=False, regrouped=True)
def _squared_distance(u: Float32, by_u: float, v: Float32, by_v: float) -> float:
    """|u by_u - v by_v|^2 in float64."""
    total = 0.0
    for j in range(len(v)):
        apart = np.float64(u[j]) * by_u - np.float64(v[j]) * by_v
        total += apart * apart
    return total


@compiled(fused=False, regrouped=True)
def _radius(v: Float32) -> float:
    total = 0.0
    for j in range(len(v)):
        total += np.float64(v[j]) * np.float64(v[j])
    return math.sqrt(total)


@compiled(fused=False)
def _key(u: Float32, r_u: float, sinh_u: float, v: Float32, curved: bool) -> float:
    """What rises with the distance: cosh d - 1, as `geometry.cosh_distance_minus_one`, or its square in flat space."""
    if not curved:
        return _squared_distance(u, 1.0, v, 1.0)
    r_v = _radius(v)
    apart = _squared_distance(u, 1 / r_u if r_u > 0 else 0.0, v, 1 / r_v if r_v > 0 else 0.0)
    half = math.sinh((r_u - r_v) / 2)
    return 2 * half * half + sinh_u * math.sinh(r_v) * apart / 2


@compiled(fused=False)
def _distance(key: float, curved: bool) -> float:
    return math.log1p(key + math.sqrt(key * (key + 2))) if curved else math.sqrt(key)


@compiled(fused=False)
def _lift(point: Float32, v: Float32, r: float, curved: bool, item: bool) -> None:
    """Set the d + 1 coordinates whose product with another's is minus what rises with the distance.

    cosh r, sinh r * direction for a query, and -cosh r in place of cosh r for an item; or 1, u and -|v|^2 / 2, v.
    """
    if curved:
        scale = math.sinh(r) / r if r > 0 else 1.0
        point[0] = -math.cosh(r) if item else math.cosh(r)
    else:
        scale = 1.0
        point[0] = -r * r / 2 if item else 1.0
    for j in range(len(v)):
        point[j + 1] = scale * v[j]


@compiled(f64, f32_2, f32_2r, boolean, boolean, fused=False)
def lift(points: Float32, vectors: Float32, curved: bool, item: bool) -> float:
    """Set the coordinates of many, see `_lift`: (n, d + 1), (n, d); the greatest radius."""
    longest = 0.0
    for row in range(len(vectors)):
        r = _radius(vectors[row])
        longest = max(longest, r)
        _lift(points[row], vectors[row], r, curved, item)
    return longest


@compiled(void, f64_1, f32_1r, f32_2r, i64_1r, boolean, fused=False)
def keys(found: Float64, query: Float32, vectors: Float32, candidates: Int64, curved: bool) -> None:
    """Set the keys of candidates, see `_key`: (m,), (d,), (n, d), (m,); that of -1 is infinite.

    Raises:
        IndexError: a candidate that has no vector.
    """
    r = _radius(query)
    sinh = math.sinh(r)
    for place in range(len(candidates)):
        item = candidates[place]
        if not NONE <= item < len(vectors):
            raise IndexError("a candidate has no vector")
        found[place] = _key(query, r, sinh, vectors[item], curved) if item >= 0 else np.inf


@compiled(fused=False)
def _after(key: float, item: int, other_key: float, other: int) -> bool:
    return key > other_key or (key == other_key and item > other)


@compiled(fused=False)
def _sink(heap: Float64, items: Int64, place: int, size: int) -> None:
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
def _sort(heap: Float64, items: Int64, size: int) -> None:
    """Order entries by key, ties by item."""
    for place in range(size // 2 - 1, -1, -1):
        _sink(heap, items, place, size)
    for last in range(size - 1, 0, -1):
        heap[0], heap[last] = heap[last], heap[0]
        items[0], items[last] = items[last], items[0]
        _sink(heap, items, 0, last)


@compiled(types.float32, f32_1, i64, fused=False)
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
def _keep_greatest(far: Float64, fetched: Int64, score: Float32, start: int, peaks: Float32) -> None:
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
                    _sink(far, fetched, 0, len(far))
                    least = max(least, np.float32(-far[0]))


@compiled(fused=False)
def _decide(far: Float64, fetched: Int64, query: Float32, vectors: Float32, k: int, curved: bool) -> tuple[int, float]:
    """Order what was fetched by distance, of which the first k are set; how many there are, and the last one's key."""
    keys(far, query, vectors, fetched, curved)
    _sort(far, fetched, len(far))
    count, last = 0, far[min(k, len(far)) - 1]
    while count < min(k, len(far)) and fetched[count] != NONE:
        far[count] = _distance(far[count], curved)
        count += 1
    return count, last


@compiled(void, f64_2, i64_2, f32_2r, f32_2r, boolean, fused=False)
def rerank(found: Float64, items: Int64, queries: Float32, vectors: Float32, curved: bool) -> None:
    """Order each row of candidates by key, ties by item, and set their keys: (b, m), (b, m), (b, d), (n, d).

    A candidate of -1 has an infinite key.
    """
    for row in range(len(items)):
        keys(found[row], queries[row], vectors, items[row], curved)
        _sort(found[row], items[row], items.shape[1])


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
    lifted, scores = np.empty((most, d + 1), np.float32), _aligned(most, min(BLOCK, n) + TILE)
    radii, places = np.empty(most), np.empty(most, np.int64)
    allowed, peaks = np.empty(min(BLOCK, n), np.float32), _aligned(1, PEAKS)[0]
    for first in range(0, b, TOGETHER):
        rows = min(TOGETHER, b - first)
        for row in range(rows):
            radii[row] = _radius(queries[first + row])
            _lift(lifted[row], queries[first + row], radii[row], curved, False)
            places[row] = own_indptr[first + row]
            for place in range(own_indptr[first + row], own_indptr[first + row + 1]):
                before = own[place - 1] if place > own_indptr[first + row] else NONE
                if not before < own[place] < n:
                    raise IndexError("items that a query is confined to do not ascend, or there is no such item")
            distances[first + row, : fetches[first + row]] = np.inf
            items[first + row, : fetches[first + row]] = NONE
        for start in range(0, n, BLOCK):
            size = min(BLOCK, n - start)
            _products(scores[:rows], lifted[:rows], points, start, size)
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
                _keep_greatest(distances[first + row, :m], items[first + row, :m], score, start, peaks)
        for row in range(rows):
            far, fetched = distances[first + row, : fetches[first + row]], items[first + row, : fetches[first + row]]
            reached = far[0]
            counts[first + row], last = _decide(far, fetched, queries[first + row], vectors, ks[first + row], curved)
            # where even what may not be returned was fetched, nothing is left
            sure = len(far) == n or reached == np.inf
            if not sure:
                sure = least_product(last, radii[row], d, longest, curved) > -reached
            certified[first + row] = sure


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
    """Bring products into the heap of `_keep_greatest`; how many were turned away because their items are gone."""
    least, turned = np.float32(-far[0]), 0
    for place in range(len(listed)):
        if score[place] > least:
            if _contains(gone, listed[place]):
                turned += 1
            else:
                far[0], fetched[0] = -np.float64(score[place]), listed[place]
                _sink(far, fetched, 0, len(far))
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
    lifted, scores = np.empty((most, d + 1), np.float32), _aligned(most, min(BLOCK, n_lists) + TILE)
    away, near = np.empty((most, probes)), np.empty((most, probes), np.int64)
    stretched, peaks, score = _aligned(1, d)[0], _aligned(1, PEAKS)[0], _aligned(1, longest)[0]
    for first in range(0, b, TOGETHER):
        rows = min(TOGETHER, b - first)
        for row in range(rows):
            _lift(lifted[row], queries[first + row], _radius(queries[first + row]), curved, False)
        away[:], near[:] = np.inf, NONE
        for start in range(0, n_lists, BLOCK):
            size = min(BLOCK, n_lists - start)
            _products(scores[:rows], lifted[:rows], centres, start, size)
            for row in range(rows):
                _keep_greatest(away[row], near[row], scores[row, :size], start, peaks)
        for row in range(first, first + rows):
            far, fetched, query = distances[row, : fetches[row]], items[row, : fetches[row]], lifted[row - first]
            far[:], fetched[:], turned[row], base = np.inf, NONE, 0, np.float32(0)
            for j in range(d):
                stretched[j] = query[j + 1] * step[j]
                base += query[j + 1] * least[j]
            # the nearest list first, so that few of the others' items are near enough
            _sort(away[row - first], near[row - first], probes)
            for place in range(probes):
                start, stop = offsets[near[row - first, place]], offsets[near[row - first, place] + 1]
                own, excluded = listed[start:stop], gone[gone_indptr[row] : gone_indptr[row + 1]]
                _coded_products(score, query, stretched, base, heights[start:stop], codes[start:stop])
                turned[row] += _keep_of_list(far, fetched, score, own, excluded)
            counts[row], _ = _decide(far, fetched, queries[row], vectors, ks[row], curved)
