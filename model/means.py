"""The vectors that histories are summed into, in training; answering has `model.gather`."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from model.config import UNIFORM, HalfLife, HistoryConfig
from model.history import Histories

__all__ = ["history_vectors", "mean_vectors", "recency_weights", "weighted_means"]


def recency_weights(histories: Histories, half_lives: Sequence[HalfLife]) -> Tensor:
    """Weights 2^(-age / half-life), or equal ones, normalised to sum to 1 in each row: (h, nnz) float32."""
    rates = np.array([np.inf if half_life == UNIFORM else half_life for half_life in half_lives])
    weights = np.exp2(-histories.ages()[None, :] / rates[:, None])
    totals = np.stack([np.bincount(histories.owners(), w, len(histories)) for w in weights])
    normalised = weights / np.repeat(totals, histories.lengths, axis=1)
    return torch.from_numpy(normalised.astype(np.float32))


def weighted_means(histories: Histories, vectors: Tensor, weights: Tensor) -> Tensor:
    """Sums of the rows' item vectors under each set of weights; an empty row gives zeros.

    Shapes: vectors (n_items, d), weights (h, nnz) -> (b, h, d).
    """
    items = torch.from_numpy(histories.items.astype(np.int64)).to(vectors.device)
    offsets = torch.from_numpy(histories.indptr.copy()).to(vectors.device)  # it may be a read-only memory map
    means = [
        torch.nn.functional.embedding_bag(
            items, vectors, offsets, mode="sum", per_sample_weights=w.to(vectors), include_last_offset=True
        )
        for w in weights
    ]
    return torch.stack(means, dim=1)


def mean_vectors(histories: Histories, vectors: Tensor) -> Tensor:
    """Plain means of the rows' item vectors: vectors (m, d) -> (b, d); an empty row gives zeros."""
    return weighted_means(histories, vectors, recency_weights(histories, (UNIFORM,))).squeeze(1)


def history_vectors(histories: Histories, messages: Tensor, config: HistoryConfig) -> Tensor:
    """Mean messages of the newest items at every half-life: (m, d) -> (b, h, d). An empty history gives zeros."""
    newest = histories.last(config.max_length)
    return weighted_means(newest, messages, recency_weights(newest, config.half_lives))
