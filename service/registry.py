"""The model being served: found, verified and probed before any request."""

from dataclasses import dataclass

from model.artifact import Artifact, load_artifact
from model.errors import ConfigError
from model.probe import run_probe
from model.store import ModelStore
from service.settings import Settings

__all__ = ["Loaded", "load_current"]


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


def load_current(settings: Settings) -> Loaded:
    """The model that the settings name, or the store's current one; its checksums and its probe verified.

    Raises:
        ArtifactError: there is no such, it is damaged, or it computes something else here than where it was trained.
        ConfigError: more steps are set than the model's forward process has.
    """
    artifact = load_artifact(ModelStore(settings.models, settings.models_cache).path(settings.model_version))
    config = artifact.manifest.model
    steps = config.steps if settings.steps is None else settings.steps
    if steps > config.noise.timesteps:
        raise ConfigError(
            f"HDRM_STEPS: got {steps}, allowed: 0 to {config.noise.timesteps} (the forward process of model "
            f"{artifact.manifest.version})"
        )
    run_probe(artifact.recommender, artifact.probe)
    return Loaded(artifact, steps)
