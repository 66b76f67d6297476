"""What a model is learned from, and the rule by which some of it is held out."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.history import Histories

__all__ = ["LEAST_HISTORY", "Corpus", "hold_out", "sample", "some"]

LEAST_HISTORY = 3  # interactions of a user that something is held out of


@dataclass(frozen=True)
class Corpus:
    """Interactions to learn from.

    Attributes:
        histories: one row a user, item indices.
        n_items: size m of the catalogue.
        ordered: whether rows are in time order, newest last.
    """

    histories: Histories
    n_items: int
    ordered: bool

    def __len__(self) -> int:
        """Number of users."""
        return len(self.histories)


def hold_out(histories: Histories, share: float, *, ordered: bool, seed: int) -> tuple[Histories, Histories]:
    """Take the newest share of every row (without an order: a random share) away.

    Rows of at least three items lose the share rounded to the nearest number, at least one; shorter ones nothing.

    Returns:
        What is left and what was taken, rows as before.
    """
    lengths, owners = histories.lengths, histories.owners()
    taken = np.where(lengths >= LEAST_HISTORY, np.maximum(np.floor(lengths * share + 0.5), 1), 0)
    ages = histories.ages()
    if not ordered:
        shuffled = np.lexsort((np.random.default_rng([seed, 3]).random(len(owners)), owners))
        ages = ages[np.argsort(shuffled)]
    held = ages < taken[owners]
    return histories.select(~held), histories.select(held)


def some(generator: np.random.Generator, pool: npt.NDArray[np.int64], n: int) -> npt.NDArray[np.int64]:
    """At most n of the pool, drawn without replacement, ascending."""
    return pool if len(pool) <= n else np.sort(generator.choice(pool, n, replace=False))


def sample(histories: Histories, n: int, seed: int) -> Histories:
    """The rows of at most n users that have one, the other rows emptied."""
    chosen = np.zeros(len(histories), bool)
    chosen[some(np.random.default_rng([seed, 0]), np.flatnonzero(histories.lengths), n)] = True
    return histories.select(chosen[histories.owners()])
