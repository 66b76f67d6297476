"""Recall against seconds of training, beside what EASE and iALS take and reach.

All learn from `search`, the older part of the training data, and are measured on `stop`, its newest part, by which
their settings (of HDRM, the number of epochs) are chosen as well. The seconds of HDRM are those of all stages and of
the scores they are stopped by, measuring not included.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.baselines.baseline import Progress
from benchmarks.training.document import Level, Model, Pace, Point
from benchmarks.training.others import Timed, fit_others
from model.history import Histories
from model.space import space
from training.config import load_config
from training.corpus import Corpus, sample
from training.data.datasets import Dataset
from training.diffusion_fit import DiffusionStage
from training.evaluate import ScoreRanker, measure
from training.loop import Epoch, Stage, State, run_stage
from training.search import SCORED_USERS, search
from training.splits import make_split

__all__ = ["measure_pace", "reached"]


def measure_pace(
    dataset: Dataset,
    *,
    preset: str,
    changes: Sequence[str],
    levels: Sequence[float],
    seed: int,
    on_phase: Progress,
) -> Pace:
    """Train with a clock beside it, then fit the others.

    Args:
        dataset: the data, split as for training.
        preset, changes: settings, as for `load_config`.
        levels: values of recall@20 to look for.
        seed: of all randomness.
        on_phase: told a phase, how much of it is done and how much it is at most.

    Raises:
        HdrmError: the settings are wrong, the data cannot be split, or the loss diverges.
    """
    config = load_config(preset, changes)
    split = make_split(dataset, config.split, seed=seed)
    config = config.resolved(ordered=split.ordered)
    part, stop = Corpus(split.search, len(split.items), config.order == "used"), sample(split.stop, SCORED_USERS, seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    recorder = _Recorder(part.histories, stop, on_phase)
    found = search(part, stop, config, seed=seed, device=device, run=recorder.run)
    models = [Timed(f"HDRM, {preset}", ScoreRanker(_Hdrm(found.diffusion)), recorder.seconds(), None)]
    models += fit_others(split.search, split.stop, part.n_items, ordered=split.ordered, seed=seed, progress=on_phase)
    return Pace(
        data=dataset.info.name,
        fingerprint=dataset.info.fingerprint,
        users=len(split.users),
        items=part.n_items,
        interactions=len(split.search.items),
        measured=int((stop.lengths > 0).sum()),
        ordered=split.ordered,
        points=recorder.points,
        models=[_measured(model, part.histories, stop, recorder.points) for model in models],
        levels=[Level(recall=level, seconds=reached(recorder.points, level)) for level in sorted(levels)],
    )


def reached(points: Iterable[Point], recall: float) -> float | None:
    """Seconds until a model recalled as much, None if none did."""
    return next((point.seconds for point in points if point.recall is not None and point.recall >= recall), None)


class _Recorder:
    """Runs stages and notes where they are, with a clock that stands still meanwhile.

    Args:
        histories: what the users are recommended items for.
        stop: what they should be recommended.
        on_phase: see `measure_pace`.
    """

    def __init__(self, histories: Histories, stop: Histories, on_phase: Progress) -> None:
        self.histories, self.stop, self.on_phase = histories, stop, on_phase
        self.points: list[Point] = []
        self.started, self.stood = time.perf_counter(), 0.0

    def seconds(self) -> float:
        """On the clock."""
        return time.perf_counter() - self.started - self.stood

    def run(self, stage: Stage, name: str, epochs: int, patience: int | None) -> State:
        """See `training.stages.RunStage`."""

        def told(epoch: Epoch) -> None:
            seconds = self.seconds()
            with self._standing():
                self.on_phase(name, epoch.number, epochs)
                recall = self._recall(stage) if isinstance(stage, DiffusionStage) else None
                self.points.append(
                    Point(seconds=seconds, stage=name, epoch=epoch.number, score=epoch.score, recall=recall)
                )

        return run_stage(
            stage,
            name=name,
            epochs=epochs,
            patience=patience,
            state=None,
            on_epoch=told,
            on_state=lambda _state: None,
        )

    @contextmanager
    def _standing(self) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.stood += time.perf_counter() - began

    def _recall(self, stage: DiffusionStage) -> float:
        return measure(ScoreRanker(_Hdrm(stage)), self.histories, self.histories, self.stop)["recall@20"]


class _Hdrm:
    """Scores users by the model as it is in training."""

    def __init__(self, stage: DiffusionStage) -> None:
        self.diffusion, self.items, self.messages = stage.result()

    @torch.no_grad()
    def score(self, histories: Histories) -> npt.NDArray[np.float32]:
        """(b, m) float32."""
        config = self.diffusion.config
        condition = self.diffusion.condition(histories, self.items, self.messages)
        squares = space(config.encoder.space).pairwise_square(self.diffusion(condition, config.steps), self.items)
        scores: npt.NDArray[np.float32] = -squares.cpu().numpy()
        return scores


def _measured(fitted: Timed, histories: Histories, stop: Histories, points: Sequence[Point]) -> Model:
    values = measure(fitted.ranker, histories, histories, stop)
    return Model(
        model=fitted.described,
        fit_seconds=fitted.fit_seconds,
        tuning_seconds=fitted.tuning_seconds,
        recall=values["recall@20"],
        ndcg=values["ndcg@20"],
        matched_after=reached(points, values["recall@20"]),
    )
