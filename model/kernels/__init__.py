"""Loops that answer requests, compiled to machine code by Numba: one call a batch and phase, without Python inside.

They do not hold the interpreter's lock, and a row's result is the same in any batch, bit for bit: rows share what is
read of a matrix, but each is computed as if it were alone.

Symbols: b rows of a batch, n items, d coordinates, h vectors of a condition, w hidden units; u queries, v items,
tangent vectors at the origin; r radii; K = 1, see model.geometry.
"""

from model.kernels.attention import attend, normalising
from model.kernels.distances import NONE, keys, lift
from model.kernels.exponential import exponential
from model.kernels.heap import exceeded
from model.kernels.lists import search_lists
from model.kernels.means import mean_rows
from model.kernels.products import CACHE_LINE
from model.kernels.rerank import rerank
from model.kernels.reverse import denoise, mix
from model.kernels.scan import UNIT_ROUNDOFF, least_product, nearest

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
