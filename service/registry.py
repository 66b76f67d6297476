"""The model being served: found, verified and probed before any request."""

import logging
from dataclasses import dataclass

from model.artifact import Artifact, load_artifact
from model.errors import ArtifactError, ConfigError
from model.probe import run_probe
from model.store import ModelStore
from service.settings import Settings

__all__ = ["First", "Loaded", "load_first", "load_version"]

logger = logging.getLogger("hdrm.service")


@dataclass(frozen=True)
class Loaded:
    """A model ready to serve.

    Attributes:
        artifact: the model and what it knows.
        steps: reverse steps of every request, 0 to the length of its forward process.
    """

    artifact: Artifact
    steps: int

    @property
    def version(self) -> str:
        return self.artifact.manifest.version


def load_version(store: ModelStore, settings: Settings, version: str | None) -> Loaded:
    """A version of a store, its current one if None; its checksums and its probe verified.

    Raises:
        ArtifactError: there is no such, it is damaged, or it computes something else here than where it was trained.
        ConfigError: more steps are set than the model's forward process has.
        UnavailableError: the store cannot be reached.
    """
    artifact = load_artifact(store.path(version))
    config = artifact.manifest.model
    steps = config.steps if settings.steps is None else settings.steps
    if steps > config.noise.timesteps:
        raise ConfigError(
            f"HDRM_STEPS: got {steps}, allowed: 0 to {config.noise.timesteps} (the forward process of model "
            f"{artifact.manifest.version})"
        )
    run_probe(artifact.recommender, artifact.probe)
    return Loaded(artifact, steps)


@dataclass(frozen=True)
class First:
    """What a service starts with.

    Attributes:
        loaded: the model.
        refused: the store's current version, where it could not be served and an older one took its place.
    """

    loaded: Loaded
    refused: str | None = None


def load_first(settings: Settings) -> First:
    """The model that the settings name, or the store's current one; where that is damaged, the one that was current
    before it.

    Raises:
        ArtifactError, ConfigError, UnavailableError: as `load_version`, of the version that was wanted.
    """
    store = ModelStore(settings.models, settings.models_cache)
    try:
        return First(load_version(store, settings, settings.model_version))
    except ArtifactError as error:
        if settings.model_version is not None:
            raise
        for version in store.previous():
            try:
                first = First(load_version(store, settings, version), store.current())
            except ArtifactError:
                continue
            logger.error("models: %s is REFUSED, starting with %s (%s)", first.refused, version, error.message)
            return first
        raise
