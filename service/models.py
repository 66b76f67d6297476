"""What operators may do with the model store over HTTP."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from model.artifact import load_artifact
from model.errors import ArtifactError, ConfigError
from model.probe import run_probe
from model.report import refused_versions
from model.store import ModelStore
from service.errors import Problem
from service.requests import Activation, CanaryWish
from service.responses import CanaryState, FieldProblem, ModelsResponse, ModelState

__all__ = ["Models"]


class Models:
    """See module. What is done here every process that serves from the store sees to within seconds.

    Args:
        store: where models are.

    Attributes:
        turn: to be held by whoever calls one of these in a thread.
    """

    def __init__(self, store: ModelStore) -> None:
        self.turn = asyncio.Lock()
        self._store = store

    def listed(self, serving: str) -> ModelsResponse:
        """All models, the newest first; `serving` is the version that answers here.

        Raises:
            UnavailableError: the store cannot be reached.
        """
        store, states = self._store, list[ModelState]()
        refused = refused_versions(store)
        for version in store.versions():
            try:
                manifest = store.manifest(version)
            except ArtifactError:
                states.append(ModelState(version=version, damaged=True))
                continue
            states.append(
                ModelState(
                    version=version,
                    created_at=manifest.run.created_at,
                    data=manifest.data.name,
                    users=manifest.data.users,
                    items=manifest.data.items,
                    interactions=manifest.data.interactions,
                    metrics=manifest.metrics[-1].values if manifest.metrics else {},
                    refused=version in refused,
                )
            )
        states.sort(key=lambda state: state.created_at or "", reverse=True)
        canary = None
        with suppress(ArtifactError):  # the watcher says it
            canary = store.canary()
        return ModelsResponse(
            current=store.current(),
            serving=serving,
            canary=None if canary is None else CanaryState(version=canary.version, share=canary.share),
            previous=store.previous(),
            models=states,
        )

    def activate(self, version: str, wanted: Activation) -> None:
        """Make a version current.

        Raises:
            Problem: 404, there is none of this name; 409, it is damaged, or was refused and that is not to be passed
                over.
            UnavailableError: the store cannot be written.
        """
        if not wanted.force and version in refused_versions(self._store):
            detail = "The gate refused this model; `hdrm models show` has the reasons, and `force` passes over them."
            raise Problem(409, "model_refused", detail)
        with self._sound(version):
            self._store.activate(version)

    def roll_back(self) -> None:
        """Make the version current that was before.

        Raises:
            Problem: 409, there is none.
            UnavailableError: the store cannot be written.
        """
        try:
            self._store.rollback()
        except ArtifactError:
            raise Problem(409, "no_previous_model", "There is no model before the current one.") from None

    def try_out(self, wanted: CanaryWish) -> None:
        """Let a share of the users be answered by a version.

        Raises:
            Problem: 404, there is none of this name; 409, it is damaged, or current.
            UnavailableError: the store cannot be written.
        """
        with self._sound(wanted.version):
            try:
                self._store.set_canary(wanted.version, wanted.share)
            except ConfigError:
                raise Problem(409, "model_current", "This model is the current one.") from None

    def drop(self) -> None:
        """Let everybody be answered by the current version.

        Raises:
            UnavailableError: the store cannot be written.
        """
        self._store.drop_canary()

    @contextmanager
    def _sound(self, version: str) -> Iterator[None]:
        """What is done with a version that was found to be whole, and to compute what it did where it was trained."""
        if version not in self._store.versions():
            errors = [FieldProblem(field="version", message="there is none of this name")]
            raise Problem(404, "model_unknown", "There is no such model.", errors=errors)
        try:
            artifact = load_artifact(self._store.path(version))
            run_probe(artifact.recommender, artifact.probe)
        except ArtifactError:
            damaged = "The model is damaged, or does not compute here what it should; `hdrm models verify` tells more."
            raise Problem(409, "model_damaged", damaged) from None
        yield
