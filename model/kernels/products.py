"""Sums of products, and memory for them."""

import numpy as np

from model.kernels.build import Float32, Int32, compiled

__all__ = [
    "CACHE_LINE",
    "TILE",
    "TOGETHER",
    "add_product",
    "add_weighted",
    "aligned",
    "inner_product",
    "products",
    "set_rows",
    "total_of",
]

CACHE_LINE = 64  # bytes; vectors that lie across two are read at half the speed
TOGETHER = 16  # rows whose products are taken together
TILE = 256  # items whose products are: what is read and written meanwhile stays in the nearest cache


@compiled(fused=False)
def aligned(rows: int, columns: int) -> Float32:
    """An array of any content whose first row begins where a line of the cache does."""
    memory = np.empty(rows * columns + CACHE_LINE // 4, np.float32)
    first = -(memory.ctypes.data // 4) % (CACHE_LINE // 4)
    return memory[first : first + rows * columns].reshape(rows, columns)


@compiled(fused=True)
def set_rows(x: Float32, row: Float32) -> None:
    """Make every row of x this one. (An assignment of arrays checks shapes by code that takes seconds to compile.)"""
    for i in range(len(x)):
        for j in range(x.shape[1]):
            x[i, j] = row[j]


@compiled(fused=True)
def add_product(out: Float32, at: int, x: Float32, matrix: Float32, first: int, columns: int) -> None:
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
def products(out: Float32, x: Float32, matrix: Float32, start: int, size: int) -> None:
    """out[:, :size] = x @ matrix[:, start : start + size]."""
    for first in range(0, size, TILE):
        columns = min(TILE, size - first)
        for row in range(len(x)):
            out[row, first : first + columns] = 0
        add_product(out, first, x, matrix, start + first, columns)


@compiled(fused=True)
def add_weighted(sums: Float32, weights: Float32, vectors: Float32, items: Int32) -> None:
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
def inner_product(x: Float32, y: Float32) -> np.float32:
    total = np.float32(0)
    for j in range(len(x)):
        total += x[j] * y[j]
    return total


@compiled(fused=True, regrouped=True)
def total_of(x: Float32) -> np.float32:
    total = np.float32(0)
    for j in range(len(x)):
        total += x[j]
    return total
