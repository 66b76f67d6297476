"""Histories whose answers are known."""

import numpy as np

from model.history import Histories
from training.corpus import hold_out

__all__ = ["communities", "cycles", "histories", "nothing"]


def histories(*rows: list[int]) -> Histories:
    return Histories.of([np.array(row, np.int32) for row in rows])


def nothing(n: int) -> Histories:
    return histories(*([] for _ in range(n)))


def communities(users: int = 16, items: int = 20) -> tuple[Histories, Histories]:
    """Half the users know half the items, the others the other half: what is learned from, and the newest part."""
    generator = np.random.default_rng(0)
    half = items // 2
    rows = [(generator.permutation(half)[: half - 2] + half * (user % 2)).tolist() for user in range(users)]
    return hold_out(histories(*rows), 0.2, ordered=True, seed=0)


def cycles(users: int = 60, items: int = 12, length: int = 6) -> Histories:
    """Everyone goes through the items in the same circle, from a start of their own."""
    return histories(*([(user + step) % items for step in range(length)] for user in range(users)))
