"""Training samples for the diffusion: each history cut at a random point into past and future."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from model.history import Histories

__all__ = ["Cuts", "draw_cuts"]


@dataclass(frozen=True)
class Cuts:
    """One cut of every history; rows correspond.

    Attributes:
        past: everything before the cut; its items are not to be predicted.
        kept: the past with some items dropped, what the model gets to see.
        future: the items after the cut that are to be predicted.
        others: a row's items that are neither right nor wrong: its past and, without an order, the rest of the row. In
            time order what comes much later is wrong: it teaches what comes next.
    """

    past: Histories
    kept: Histories
    future: Histories
    others: Histories


def draw_cuts(
    histories: Histories,
    generator: np.random.Generator,
    *,
    ordered: bool,
    horizon: int | Literal["rest"],
    least_past: float,
    dropout: float,
) -> Cuts:
    """Cut every history of at least two items, the others give empty rows.

    Args:
        histories: rows to cut; without an order they are shuffled first.
        generator: source of the cuts, of the shuffling and of the dropping.
        ordered: whether rows are in time order.
        horizon: greatest length of the future, or all that follows the cut.
        least_past: least share of a row that is its past.
        dropout: a row loses each item of its past with a probability drawn from 0 to this.
    """
    if not ordered:
        shuffled = np.lexsort((generator.random(len(histories.items)), histories.owners()))
        histories = Histories(histories.indptr, histories.items[shuffled])
    lengths, owners, places = histories.lengths, histories.owners(), histories.positions()
    # at least one item on either side
    first = np.clip(np.floor(lengths * least_past).astype(np.int64), 1, np.maximum(lengths - 1, 1))
    cuts = np.where(lengths > 1, generator.integers(first, np.maximum(lengths, 2)), 0)[owners]
    usable = (lengths > 1)[owners]
    past = usable & (places < cuts)
    future = usable & (places >= cuts)
    if horizon != "rest":
        future &= places < cuts + horizon
    rate = generator.random(len(histories)) * dropout
    # the newest item of the past always stays, so that no past is emptied
    kept = past & ((generator.random(len(owners)) >= rate[owners]) | (places == cuts - 1))
    others = past if ordered else usable & ~future
    return Cuts(*(histories.select(part) for part in (past, kept, future, others)))
