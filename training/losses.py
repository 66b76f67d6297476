"""What all stages learn from: rank a user's items before the others, by -d^2 / tau.

    softmax   cross-entropy of an item under softmax(-d^2 / tau) over the catalogue without the masked items. For
              large data the sum over the others is estimated from a sample, each term divided by how often
              it is expected in the sample (logQ correction [2]); the user's own items then take no part in it.
    hinge     [d^2(u, i) - d^2(u, j) + m]_+ for a random item j of others' (HGCF [1], eq. 10), or for the nearest of
              several.

Symbols: b users, m items, n pairs of a user and an item of theirs, s sampled items, d coordinates.
References
    [1] Sun et al., HGCF: Hyperbolic Graph Convolution Networks for Collaborative Filtering, WWW 2021
    [2] Bengio and Senecal, Adaptive Importance Sampling to Accelerate Training of a Neural Probabilistic Language
        Model, IEEE Transactions on Neural Networks 2008
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from model.config import SpaceName
from model.history import Histories
from model.space import space
from training.config import RankingConfig

__all__ = ["RankingLoss", "places"]

SMOOTHING = 0.75  # power of the popularity that items are sampled by, between uniform (0) and proportional (1)


class RankingLoss:
    """The loss of a stage.

    Args:
        config: kind of loss and its settings.
        counts: interactions of each item, (m,).
        users: how many there are; an epoch over all of them and the whole catalogue costs users x items.
        geometry: what distances are measured in.
    """

    def __init__(
        self, config: RankingConfig, counts: npt.NDArray[np.int64], *, users: int, geometry: SpaceName
    ) -> None:
        self.config, self.space = config, space(geometry)
        self.n_items = len(counts)
        self.sampled = users * len(counts) > config.full_up_to
        popularity = (counts + 1.0) ** SMOOTHING
        self.cumulative = np.cumsum(popularity / popularity.sum())
        self.log_q = np.log(popularity / popularity.sum())

    def __call__(
        self,
        users: Tensor,
        items: Tensor,
        positives: Histories,
        masked: Histories | None,
        weights: Tensor,
        generator: np.random.Generator,
    ) -> Tensor:
        """Weighted sum over the pairs, a scalar.

        Args:
            users: tangent vectors, (b, d).
            items: tangent vectors, (m, d).
            positives: b rows, the items to rank first.
            masked: b rows of items that take no part, or None.
            weights: of the pairs, (n,).
            generator: source of sampled items.
        """
        if self.config.loss == "hinge":
            losses = self._hinge(users, items, positives, masked, generator)
        elif self.sampled:
            losses = self._sampled_softmax(users, items, positives, masked, generator)
        else:
            losses = self._full_softmax(users, items, positives, masked)
        return (weights * losses).sum()

    def _hinge(
        self,
        users: Tensor,
        items: Tensor,
        positives: Histories,
        masked: Histories | None,
        generator: np.random.Generator,
    ) -> Tensor:
        drawn = np.arange(self.n_items)
        if self.sampled:
            drawn = np.unique(generator.integers(0, self.n_items, self.config.samples))
        squares = self.space.pairwise_square(users, _rows(items, torch.from_numpy(drawn).to(users.device)))
        squares = _without(squares, drawn, positives, masked, torch.inf)
        rows, own = places(positives, users.device)
        picked = torch.from_numpy(generator.integers(0, len(drawn), (len(own), self.config.negatives)))
        cells = rows.unsqueeze(1) * len(drawn) + picked.to(users.device)
        nearest = squares.flatten().gather(0, cells.flatten()).view_as(cells).amin(1)
        apart = self.space.square(_rows(users, rows), _rows(items, own))
        losses: Tensor = (apart - nearest + self.config.margin).relu()
        return losses

    def _full_softmax(self, users: Tensor, items: Tensor, positives: Histories, masked: Histories | None) -> Tensor:
        logits = self.space.pairwise_square(users, items) * (-1 / self.config.tau)
        if masked is not None:
            logits = logits.index_put(places(masked, users.device), logits.new_tensor(-torch.inf))
        return -torch.log_softmax(logits, dim=-1)[places(positives, users.device)]

    def _sampled_softmax(
        self,
        users: Tensor,
        items: Tensor,
        positives: Histories,
        masked: Histories | None,
        generator: np.random.Generator,
    ) -> Tensor:
        draws = np.searchsorted(self.cumulative[:-1], generator.random(self.config.samples), side="right")
        drawn, times = np.unique(draws, return_counts=True)
        squares = self.space.pairwise_square(users, _rows(items, torch.from_numpy(drawn).to(users.device)))
        expected = torch.from_numpy(np.log(self.config.samples / times) + self.log_q[drawn]).to(squares)
        logits = torch.sub(-expected, squares, alpha=1 / self.config.tau)
        logits = _without(logits, drawn, positives, masked, -torch.inf)
        rows, own = places(positives, users.device)
        own_logits = -self.space.square(_rows(users, rows), _rows(items, own)) / self.config.tau
        others = _rows(torch.logsumexp(logits, dim=-1, keepdim=True), rows).squeeze(1)
        return torch.logaddexp(own_logits, others) - own_logits


def _rows(matrix: Tensor, rows: Tensor) -> Tensor:
    """(n, d), (k,) -> (k, d). Unlike those of an index, its gradients are summed in one order by many threads too."""
    return nn.functional.embedding(rows, matrix)


def _without(
    values: Tensor, drawn: npt.NDArray[np.int64], positives: Histories, masked: Histories | None, value: float
) -> Tensor:
    """`values` (b, s) of sampled items, replaced where an item is one of its row's own or masked ones.

    `drawn` (s,) are the sampled items in rising order.
    """
    for histories in (positives, masked):
        if histories is not None:
            columns = np.minimum(np.searchsorted(drawn, histories.items), len(drawn) - 1)
            hit = drawn[columns] == histories.items
            where = tuple(torch.from_numpy(x[hit]).to(values.device) for x in (histories.owners(), columns))
            values = values.index_put(where, values.new_tensor(value))
    return values


def places(histories: Histories, device: torch.device) -> tuple[Tensor, Tensor]:
    """Row and item of every pair: (n,), (n,) int64."""
    rows = torch.from_numpy(histories.owners()).to(device)
    return rows, torch.from_numpy(histories.items.astype(np.int64)).to(device)
