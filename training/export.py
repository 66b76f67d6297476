"""From a trained model to an artifact in the store: the index, the probe, the files."""

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from model.analysis import Analysis
from model.artifact import Catalogue, TrainedModel, write_artifact
from model.errors import UnavailableError
from model.facets import Facets
from model.fragments import Fragments, ItemMetadata
from model.history import Histories
from model.manifest import Manifest
from model.probe import Probe
from model.recommender import Recommender
from model.retrieval import SCANNED_ITEMS, FlatIndex, calibrate
from model.store import ModelStore
from training.fit import Fit
from training.splits import Split

__all__ = ["add", "build_model", "indexed", "make_catalogue", "make_probe"]

CALIBRATION_USERS = 256
PROBE_USERS = 8
PROBE_K = 20


def build_model(fitted: Fit, train: Histories) -> TrainedModel:
    """The trained parts, with a calibrated index where the catalogue is large."""
    vectors, messages = (tensor.detach().cpu().contiguous().numpy() for tensor in (fitted.items, fitted.messages))
    return indexed(TrainedModel(fitted.diffusion.config, fitted.diffusion.weights(), vectors, messages), train)


def indexed(model: TrainedModel, histories: Histories) -> TrainedModel:
    """The model with an index calibrated for users with these histories, where the catalogue is large."""
    vectors, geometry = model.vectors, model.config.encoder.space
    if len(vectors) <= SCANNED_ITEMS:
        return model
    users = np.flatnonzero(histories.lengths)
    chosen = users[np.linspace(0, len(users) - 1, min(CALIBRATION_USERS, len(users))).astype(np.int64)]
    index = FlatIndex(vectors, geometry=geometry)  # it builds nothing
    recommender = Recommender(model.config, model.weights, model.messages, index, np.zeros(0, np.int32))
    queries = recommender.user_vectors(histories.take(chosen), model.config.steps)
    calibrated = calibrate(vectors, queries, geometry=geometry)
    return replace(model, index=calibrated.index, recall=calibrated.recall)


def make_catalogue(split: Split, items: pl.DataFrame, model: TrainedModel) -> Catalogue:
    """Ids, histories, users' vectors and popularity as served; the metadata of `items` (columns as in a data set)."""
    known = pl.DataFrame({"item_id": split.items.ids()}).join(items, on="item_id", how="left", maintain_order="left")
    metadata = ItemMetadata(
        titles=known["title"].to_list(),
        years=known["year"].to_list(),
        categories=[categories or [] for categories in known["categories"].to_list()],
    )
    counts = np.bincount(split.served.items, minlength=len(split.items)).astype(np.int64)
    return Catalogue(
        users=split.users,
        items=split.items,
        histories=split.served,
        user_vectors=model.recommender(counts).user_vectors(split.served, model.config.steps),
        counts=counts,
        fragments=Fragments.of(split.items, metadata),
        facets=Facets.of(metadata),
    )


def make_probe(recommender: Recommender, histories: Histories) -> Probe:
    """The answers for a few histories, of many lengths."""
    by_length = np.argsort(histories.lengths, kind="stable")
    by_length = by_length[histories.lengths[by_length] > 0]
    chosen = by_length[np.linspace(0, len(by_length) - 1, min(PROBE_USERS, len(by_length))).astype(np.int64)]
    rows = histories.take(chosen)
    hits = recommender.recommend(rows, PROBE_K, Histories.empty(len(rows)))
    return Probe(
        histories=[row.tolist() for row in rows.rows()],
        items=[h.items.tolist() for h in hits],
        distances=[h.distances.tolist() for h in hits],
    )


def add(
    store: ModelStore, model: TrainedModel, catalogue: Catalogue, about: dict[str, Any], analysis: Analysis
) -> Manifest:
    """Write and put into the store; `about` as in `model.artifact.write_artifact`."""
    probe = make_probe(model.recommender(catalogue.counts), catalogue.histories)
    with store.staging() as directory:
        try:
            write_artifact(directory, model, catalogue, probe, about, analysis)
        except OSError as error:
            raise UnavailableError(f"{store.root}: the model cannot be written ({error})", hint="make room") from error
        return store.add(directory)
