"""Ranges of settings as plain data, and the search through them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import optuna

from benchmarks.baselines.baseline import Settings

__all__ = ["TRIALS", "Best", "Report", "Space", "best_settings", "suggest"]

# a setting's kind and its bounds, both included; of a choice, what there is to choose from
Space = Mapping[str, tuple[Literal["float", "log", "int", "choice"], tuple[float, ...]]]

Report = Callable[[int, float], None]  # told every epoch's number and score; what it raises ends the training

TRIALS = 24  # settings tried for every tuned baseline alike
COMPARABLE = 4  # trials to compare with before one is cut short
EARLIEST = 5  # epochs before one is


@dataclass(frozen=True)
class Best:
    """What a search found.

    Attributes:
        settings: the best of those tried.
        score: theirs.
        trials: settings tried.
        pruned: how many of them were cut short.
    """

    settings: Settings
    score: float
    trials: int
    pruned: int


def suggest(trial: optuna.Trial, space: Space) -> Settings:
    """The settings of a trial, one value for each range.

    Raises:
        ValueError: a range is of no known kind.
    """
    settings: dict[str, float] = {}
    for name, (kind, bounds) in space.items():
        match kind:
            case "float" | "log":
                settings[name] = trial.suggest_float(name, bounds[0], bounds[1], log=kind == "log")
            case "int":
                settings[name] = trial.suggest_int(name, int(bounds[0]), int(bounds[1]))
            case "choice":
                settings[name] = trial.suggest_categorical(name, bounds)
            case _:
                raise ValueError(f"{name}: got the kind {kind!r}, expected float, log, int or choice")
    return settings


def best_settings(
    space: Space,
    objective: Callable[[Settings, Report], float],
    *,
    trials: int,
    seed: int,
    told: Callable[[int, int], None],
    first: Settings | None = None,
) -> Best:
    """The settings with the highest objective of those tried (tree-structured Parzen estimator).

    One whose best score so far is below the median of the others' at the same epoch is cut short.

    Args:
        space: the ranges.
        objective: of settings, higher is better; it may report on the way.
        trials: settings to try.
        seed: of the search.
        told: after every trial: how many are done, and how many there are.
        first: settings to begin with.
    """
    study = _quiet_study(seed)
    if first is not None:
        study.enqueue_trial(dict(first))
    for number in range(trials):
        trial = study.ask()
        try:
            study.tell(trial, objective(suggest(trial, space), _report_of(trial)))
        except optuna.TrialPruned:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        told(number + 1, trials)
    pruned = len(study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.PRUNED,)))
    return Best({name: study.best_params[name] for name in space}, study.best_value, trials, pruned)


def _report_of(trial: optuna.Trial) -> Report:
    def report(epoch: int, score: float) -> None:
        trial.report(score, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned

    return report


def _quiet_study(seed: int) -> optuna.Study:
    """A study in memory, without the line that optuna logs for it."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.create_study(
            direction="maximize",
            sampler=optuna.samplers.TPESampler(seed=seed),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=COMPARABLE, n_warmup_steps=EARLIEST),
        )
    finally:
        optuna.logging.set_verbosity(verbosity)
