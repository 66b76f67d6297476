"""Baselines whose fits take minutes: their settings were searched for once, how long to train is for every data set."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import optuna

from benchmarks.baselines.baseline import Fitted, Progress, Settings, check_data
from benchmarks.baselines.epochs import EpochStage
from benchmarks.baselines.settings import load_settings
from benchmarks.baselines.space import TRIALS, Best, Report, Space, best_settings
from model.history import Histories
from training.corpus import sample
from training.loop import Epoch, State, run_stage
from training.search import SCORED_USERS

__all__ = ["MakeStage", "Trained"]


class MakeStage(Protocol):
    """Begins a training with given settings."""

    def __call__(
        self, train: Histories, n_items: int, settings: Settings, *, held_out: Histories | None, seed: int
    ) -> EpochStage:
        """`held_out` are the same users' next items, to score by; None does without."""
        ...


@dataclass(frozen=True)
class Trained:
    """See `Baseline`.

    Attributes:
        name: what it is chosen by, and its section in settings.toml.
        title: its name, for people.
        needs_order: whether it makes no sense without an order.
        space: the settings' ranges.
        make: begins a training.
        earliest: epochs before a search cuts one short: where slow step sizes have caught up with fast ones.
        random: whether a fit depends on the seed, as every training from random weights does.
        max_items: the largest catalogue it is for, None for any.
    """

    name: str
    title: str
    needs_order: bool
    space: Space
    make: MakeStage
    earliest: int
    random: bool = True
    max_items: int | None = None

    def objective(
        self,
        settings: Settings,
        search: Histories,
        stop: Histories,
        n_items: int,
        *,
        seed: int,
        told: Callable[[Epoch], None],
    ) -> float:
        """The best score on `stop` of a training on `search` that is stopped early.

        Args:
            settings: values for the names in `space`.
            search: the older part of what may be learned from.
            stop: the newer part, rows as in `search`.
            n_items: catalogue size m.
            seed: of all randomness.
            told: of every epoch; what it raises ends the training.
        """
        stage = self.make(search, n_items, settings, held_out=sample(stop, SCORED_USERS, seed), seed=seed)
        best: float = self._run(stage, stage.epochs, stage.patience, told)["best"]
        return best

    def choose(
        self,
        search: Histories,
        stop: Histories,
        n_items: int,
        *,
        ordered: bool,
        seed: int,
        progress: Progress,
        trials: int = TRIALS,
        storage: optuna.storages.BaseStorage | None = None,
        name: str | None = None,
    ) -> Best:
        """Search for settings, from those kept on; see `Baseline.fit` and `best_settings`."""
        check_data(self.name, search, stop, needs_order=self.needs_order, ordered=ordered)
        done = 0

        def objective(settings: Settings, report: Report) -> float:
            def told(epoch: Epoch) -> None:
                progress(f"{self.name}: settings {done + 1} of {trials}", epoch.number, epoch.total)
                report(epoch.number, epoch.score)

            return self.objective(settings, search, stop, n_items, seed=seed, told=told)

        def over(number: int, _total: int) -> None:
            nonlocal done
            done = number

        return best_settings(
            self.space,
            objective,
            trials=trials,
            seed=seed,
            told=over,
            first=load_settings(self.name),
            earliest=self.earliest,
            storage=storage,
            name=name,
        )

    def fit(
        self, search: Histories, stop: Histories, n_items: int, *, ordered: bool, seed: int, progress: Progress
    ) -> Fitted:
        """See `Baseline.fit`; the epochs found are trained anew, on everything."""
        check_data(self.name, search, stop, needs_order=self.needs_order, ordered=ordered)

        def told(name: str) -> Callable[[Epoch], None]:
            return lambda epoch: progress(name, epoch.number, epoch.total)

        settings = load_settings(self.name)
        stage = self.make(search, n_items, settings, held_out=sample(stop, SCORED_USERS, seed), seed=seed)
        found = self._run(stage, stage.epochs, stage.patience, told(f"{self.name}: search"))
        epochs: int = found["best_epoch"]
        longest = stage.epochs
        stage = self.make(search.append(stop), n_items, settings, held_out=None, seed=seed)
        stage.epochs = longest  # step sizes are those that were found good
        self._run(stage, epochs, None, told(self.name))
        return Fitted(stage.ranker(), self.title, {**settings, "epochs": epochs})

    def _run(self, stage: EpochStage, epochs: int, patience: int | None, told: Callable[[Epoch], None]) -> State:
        return run_stage(
            stage,
            name=self.name,
            epochs=epochs,
            patience=patience,
            state=None,
            on_epoch=told,
            on_state=lambda state: None,
        )
