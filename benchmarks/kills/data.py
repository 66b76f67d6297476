"""Data of which everything is soon learned, as `hdrm data` would have written it."""

from pathlib import Path

import numpy as np
import polars as pl

from training.data.datasets import make_dataset, write_dataset
from training.data.schema import ITEM_TYPES, TIMESTAMP

__all__ = ["write_generated"]

USERS, GROUPS, GROUP, TAKEN = 1000, 20, 50, 40
SECOND = 1_000_000  # microseconds


def write_generated(folder: Path) -> Path:
    """Users who take items of one group each, in turns of a second; no item is more popular than others. The folder."""
    generator = np.random.default_rng(0)
    groups = np.arange(USERS)[:, None] % GROUPS
    items = groups + GROUPS * np.array([generator.permutation(GROUP)[:TAKEN] for _ in range(USERS)])
    users, places = np.divmod(np.arange(USERS * TAKEN), TAKEN)
    interactions = pl.DataFrame(
        {
            "user_id": [f"u{user}" for user in users.tolist()],
            "item_id": [f"i{item}" for item in items.ravel().tolist()],
            "timestamp": pl.Series((places * USERS + users) * SECOND).cast(TIMESTAMP),
        }
    )
    known = [(f"i{item}", None, None, list[str]()) for item in range(GROUPS * GROUP)]
    dataset = make_dataset(
        interactions,
        pl.DataFrame(known, schema=ITEM_TYPES, orient="row"),
        name="generated",
        source="benchmarks/kills/data.py",
        terms=None,
        order="timestamp",
    )
    write_dataset(dataset, folder)
    return folder
