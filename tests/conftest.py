"""Data with a planted structure, small enough to train on in a second."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import settings

from benchmarks import quick
from service.events.record import Deletion, deletion_of
from training.data.datasets import Dataset, Order, make_dataset, write_dataset
from training.data.schema import TIMESTAMP

USERS, ITEMS, CLUSTERS = 120, 60, 4

# how long an example takes depends on the machine
settings.register_profile("hdrm", deadline=None)
settings.load_profile("hdrm")

# small models gain nothing from more, and lose much where processes share few cores: threads that wait for each other
# spin. What the tests start as commands takes it from the environment.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"

# settings that train in a second and still learn
QUICK = [*quick.QUICK, "encoder_fit.batch_users=64", "diffusion_fit.batch_users=64"]


def deletions(when: Mapping[str, float]) -> dict[str, Deletion]:
    """Of users, by their ids."""
    return {user: deletion_of(user, timestamp=timestamp) for user, timestamp in when.items()}


def planted(*, presplit: bool = False, ordered: bool = True, users: int = USERS) -> Dataset:
    """Users stay with one cluster of items for a while and then move to another: the newest items tell the next."""
    generator = np.random.default_rng(0)
    rows = []
    for user in range(users):
        clusters = generator.permutation(CLUSTERS)[:2]
        for place in range(20):
            cluster = clusters[0] if place < 8 else clusters[1]
            item = int(cluster) + CLUSTERS * int(generator.integers(ITEMS // CLUSTERS))
            part = "train" if place < 14 else "valid" if place < 17 else "test"
            rows.append((f"u{user}", f"i{item}", 1_000_000 * (place * users + user), part))
    interactions = pl.DataFrame(rows, ["user_id", "item_id", "timestamp", "part"], orient="row").unique(
        ["user_id", "item_id"], keep="first", maintain_order=True
    )
    timed = ordered and not presplit
    interactions = interactions.with_columns(pl.when(timed).then("timestamp").cast(TIMESTAMP).alias("timestamp"))
    if not presplit:
        interactions = interactions.drop("part")
    items = pl.DataFrame(
        [(f"i{i}", f"Item {i}" if i else None, 1990 + i, [f"c{i % CLUSTERS}"]) for i in range(ITEMS)],
        schema={"item_id": pl.String, "title": pl.String, "year": pl.Int32, "categories": pl.List(pl.String)},
        orient="row",
    )
    order: Order = ("row" if presplit else "timestamp") if ordered else "none"
    return make_dataset(interactions, items, name="planted", source="tests", terms=None, order=order)


@pytest.fixture(scope="session")
def dataset() -> Dataset:
    return planted()


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory, dataset: Dataset) -> Path:
    """The planted data as a folder, the way the command line takes it."""
    path = tmp_path_factory.mktemp("data") / "planted"
    write_dataset(dataset, path)
    return path
