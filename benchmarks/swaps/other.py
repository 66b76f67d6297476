"""Another model than a given one that answers the same users, and nobody as that one does."""

from dataclasses import replace

import numpy as np

from model.artifact import load_artifact, write_artifact
from model.store import ModelStore
from training.export import indexed, make_probe

__all__ = ["add_other"]

KEPT = ("preset", "training", "seed", "data", "metrics", "diagnostics", "run")  # of the manifest
SEED = 0


def add_other(store: ModelStore, version: str) -> str:
    """Put a model into a store whose items have each other's places; its version. It is not made current."""
    artifact = load_artifact(store.path(version))
    places = np.random.default_rng(SEED).permutation(len(artifact.catalogue.items))
    own, histories = artifact.model, artifact.catalogue.histories
    model = indexed(
        replace(own, vectors=own.vectors[places], messages=own.messages[places], index=None, recall={}), histories
    )
    recommender = model.recommender(artifact.catalogue.counts)
    catalogue = replace(artifact.catalogue, user_vectors=recommender.user_vectors(histories, model.config.steps))
    about = {name: getattr(artifact.manifest, name) for name in KEPT}
    about["protocol"] = f"{version} with items in each other's places"
    with store.staging() as staged:
        write_artifact(staged, model, catalogue, make_probe(recommender, histories), about)
        return store.add(staged).version
