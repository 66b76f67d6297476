"""One training run: split, encoder, attention, diffusion, comparison with baselines, published artifact."""

import hashlib
import json
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from model.artifact import TrainedModel
from model.folder import clear_abandoned
from model.history import Histories
from model.manifest import DataInfo, Manifest, MetricsRow, RunInfo
from model.store import ModelStore
from training.analysis import analyse
from training.baselines import EASE_MAX_ITEMS, HALF_LIVES, Popularity, tuned_ease
from training.code import digest_of_code
from training.config import TrainConfig
from training.corpus import Corpus
from training.data.datasets import Dataset
from training.data.deletions import Deleted
from training.evaluate import Ranker, RecommenderRanker, ScoreRanker, evaluate
from training.export import add, build_model, make_catalogue
from training.fit import Fit, Found, fit
from training.loop import Epoch, Stage, State, load_checkpoint, run_stage, save_checkpoint
from training.metrics import summary
from training.splits import Split, make_split

__all__ = ["Observer", "Result", "Trained", "TrainingRun"]

CHECKPOINT_SECONDS = 5.0
CHECKPOINT_KEPT_SECONDS = 7 * 86_400.0  # of a run that nobody has gone on with


@dataclass(frozen=True)
class Observer:
    """Who is told about progress; the trainer itself prints nothing.

    Attributes:
        stage: a part of the run begins: its name and its epochs, 0 where it has none.
        epoch: an epoch is over.
    """

    stage: Callable[[str, int], None]
    epoch: Callable[[Epoch], None]


@dataclass(frozen=True)
class Result:
    """What a run ends with.

    Attributes:
        manifest: of the published artifact.
        path: its directory.
    """

    manifest: Manifest
    path: Path


@dataclass(frozen=True)
class Trained:
    """A model that is in the store and not served yet.

    Attributes:
        result: where.
        split: what it was trained on, and what was held out of that.
        ranked: the test users' lists by model, see `evaluate`.
        ours: its own name among them.
    """

    result: Result
    split: Split
    ranked: dict[str, npt.NDArray[np.int32]]
    ours: str


class TrainingRun:
    """A run with given data, settings and seed; its checkpoint is found again by the same three and the same code.

    Args:
        dataset: the data.
        config: the settings.
        preset: name of the preset the settings started from.
        seed: of all randomness, the split's included.
        store: where models are.
        observer: who is told about progress.
        deletions: those that the data respects, by user id.
        found: what the search of an earlier run found, to be used in place of a search.
        searches_saved: how many runs in a row have used it, this one included.
        drill: learn from items under each other's names: a model that whoever judges it has to refuse.
    """

    def __init__(
        self,
        dataset: Dataset,
        config: TrainConfig,
        *,
        preset: str,
        seed: int,
        store: ModelStore,
        observer: Observer,
        deletions: Mapping[str, Deleted] | None = None,
        found: Found | None = None,
        searches_saved: int = 0,
        drill: bool = False,
    ) -> None:
        self.drill = drill
        self.deletions, self.found, self.searches_saved = deletions or {}, found, searches_saved
        self.dataset, self.config, self.preset, self.seed, self.observer = dataset, config, preset, seed, observer
        self.store = store
        # the fingerprint is that of the tables alone; what their order means makes a difference too
        data = [dataset.info.fingerprint, dataset.info.order, dataset.info.presplit]
        code = digest_of_code()
        lengths = None if found is None else found.lengths
        identity = json.dumps(
            [data, config.model_dump(mode="json"), preset, seed, code, lengths, searches_saved, drill]
        )
        name = hashlib.sha256(identity.encode()).hexdigest()[:16]
        self.checkpoint = self.store.root / ".checkpoints" / f"{name}.pt"

    def interrupted(self) -> bool:
        """Whether an unfinished run with the same data, settings and seed is there to be resumed."""
        return self.checkpoint.exists()

    def run(self, *, resume: bool, publish: Callable[["Trained"], None] | None = None) -> Result:
        """Train and publish.

        Args:
            resume: continue an interrupted run, if there is one; the result is the one it would have had.
            publish: makes the model, which is in the store by then, current if it may be; None does so in any case.

        Raises:
            HdrmError: the model store cannot be written to, the data cannot be split, the loss diverges, or the
                checkpoint is unreadable.
        """
        started = time.monotonic()
        self.store.prepare()
        clear_abandoned(self.checkpoint.parent, seconds=CHECKPOINT_KEPT_SECONDS)
        states = (load_checkpoint(self.checkpoint) if resume else None) or {}
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        split = make_split(self.dataset, self.config.split, seed=self.seed)
        config = self.config.resolved(ordered=split.ordered)
        learned = _renamed(split, self.seed) if self.drill else split
        fitted = fit(
            Corpus(learned.train, len(split.items), config.order == "used"),
            learned.search,
            learned.stop,
            config,
            seed=self.seed,
            device=device,
            run=partial(self._run_stage, states),
            found=self.found,
        )
        model = build_model(fitted, split.train)
        ranked = self._rank(model, split)
        *_, plain, ours = ranked
        self.observer.stage("analysis", 0)
        analysis = analyse(fitted, model, split, states, ranked, ours=ours, plain=plain, seed=self.seed)
        metrics = [MetricsRow(model=name, values=summary(lists, split.test)) for name, lists in ranked.items()]
        about = self._about(split, fitted, model, metrics, device, time.monotonic() - started)
        catalogue = make_catalogue(split, self.dataset.items, model)
        manifest = add(self.store, model, catalogue, about, analysis)
        result = Result(manifest, self.store.path(manifest.version))
        if publish is None:
            self.store.activate(manifest.version)
        else:
            publish(Trained(result, split, ranked, ours))
        self.checkpoint.unlink(missing_ok=True)
        return result

    def _run_stage(self, states: State, stage: Stage, name: str, epochs: int, patience: int | None) -> State:
        """Run a stage; `states` holds the stages' states by name, and gets this one's."""
        self.observer.stage(name, epochs)
        saved = time.monotonic()

        def keep(state: Callable[[], State]) -> None:
            nonlocal saved
            if time.monotonic() - saved >= CHECKPOINT_SECONDS:
                save_checkpoint(self.checkpoint, states | {name: state()})
                saved = time.monotonic()

        done = run_stage(
            stage,
            name=name,
            epochs=epochs,
            patience=patience,
            state=states.get(name),
            on_epoch=self.observer.epoch,
            on_state=keep,
        )
        states[name] = done
        return done

    def _rank(self, model: TrainedModel, split: Split) -> dict[str, npt.NDArray[np.int32]]:
        """The test users' lists by the baselines, by the model without its diffusion and, last, by the model."""
        n_items = len(split.items)
        counts = np.bincount(split.train.items, minlength=n_items)
        recommender = model.recommender(counts)
        rankers: dict[str, Ranker] = {"popularity": ScoreRanker(Popularity(split.train, n_items))}
        if n_items <= EASE_MAX_ITEMS:
            self.observer.stage("EASE", 0)
            for half_lives in ((None,), HALF_LIVES if split.ordered else ()):
                if half_lives:
                    ease = tuned_ease(split.search, split.stop, n_items, half_lives=half_lives)
                    rankers[ease.describe()] = ScoreRanker(ease)
        rankers["HDRM, no diffusion (0 steps)"] = RecommenderRanker(recommender, steps=0)
        rankers[f"HDRM, {self.preset} ({model.config.steps} steps)"] = RecommenderRanker(recommender)
        self.observer.stage("evaluation", 0)
        return {name: evaluate(ranker, split.train, split.masked, split.test) for name, ranker in rankers.items()}

    def _about(
        self,
        split: Split,
        fitted: Fit,
        model: TrainedModel,
        metrics: list[MetricsRow],
        device: torch.device,
        seconds: float,
    ) -> dict[str, Any]:
        info = self.dataset.info
        return {
            "preset": self.preset,
            "training": self.config.model_dump(mode="json"),
            "seed": self.seed,
            "data": DataInfo(
                name=info.name,
                source=info.source,
                terms=info.terms,
                fingerprint=info.fingerprint,
                users=len(split.users),
                items=len(split.items),
                interactions=len(split.train.items),
                ordered=split.ordered,
                deletions=sorted(
                    one.deletion_id for user, one in self.deletions.items() if split.users.index(user) is not None
                ),
            ),
            "protocol": split.protocol,
            "metrics": metrics,
            "diagnostics": {
                "gate": fitted.diffusion.gate.item(),
                **{f"{name}_epochs": float(fitted.found.lengths[name].epochs) for name in fitted.items_after},
                **{f"{name}_search_score": score for name, score in fitted.found.scores.items()},
                **{f"{name}_schedule": float(length.schedule) for name, length in fitted.found.lengths.items()},
                "searches_saved": float(self.searches_saved),
                "max_radius": float(np.linalg.norm(model.vectors, axis=-1).max()),
            },
            "run": RunInfo(
                created_at=datetime.now(UTC).isoformat(timespec="seconds"),
                seconds=round(seconds, 1),
                software={"hdrm": version("hdrm"), "torch": torch.__version__, "python": platform.python_version()},
                device=str(device),
            ),
        }


def _renamed(split: Split, seed: int) -> Split:
    """A split whose items have each other's names, in what is learned from alone."""
    names = np.random.default_rng([seed, 5]).permutation(len(split.items)).astype(np.int32)
    search, stop = (Histories(part.indptr, names[part.items]) for part in (split.search, split.stop))
    return replace(split, search=search, stop=stop)
