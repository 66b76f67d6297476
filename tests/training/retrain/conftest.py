"""A small model of planted data, and what stands for one where none needs to be trained."""

from pathlib import Path

import numpy as np
import pytest

from model.artifact import Artifact, Catalogue, load_artifact
from model.facets import Facets
from model.fragments import Fragments, ItemMetadata
from model.store import ModelStore
from tests.conftest import QUICK
from training.config import load_config
from training.data.datasets import Dataset
from training.splits import Split
from training.trainer import Observer, TrainingRun


@pytest.fixture(scope="session")
def artifact(tmp_path_factory: pytest.TempPathFactory, dataset: Dataset) -> Artifact:
    """Trained on the planted data."""
    models: Path = tmp_path_factory.mktemp("models")
    silent = Observer(lambda _name, _epochs: None, lambda _epoch: None)
    run = TrainingRun(
        dataset, load_config("default", QUICK), preset="default", seed=0, store=ModelStore(models), observer=silent
    )
    return load_artifact(run.run(resume=False).path)


def catalogue_of(split: Split) -> Catalogue:
    """Who and what a model of this data knows."""
    m = len(split.items)
    metadata = ItemMetadata([None] * m, [None] * m, [[]] * m)
    return Catalogue(
        users=split.users,
        items=split.items,
        histories=split.served,
        user_vectors=np.zeros((len(split.users), 2), np.float32),
        counts=np.bincount(split.served.items, minlength=m),
        fragments=Fragments.of(split.items, metadata),
        facets=Facets.of(metadata),
    )
