"""Ranges of settings as plain data, and the search through them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import optuna
from optuna.trial import TrialState

from benchmarks.baselines.baseline import Settings

__all__ = ["TRIALS", "Best", "Report", "Space", "best_settings", "suggest"]

# a setting's kind and its bounds, both included; of a choice, what there is to choose from
Space = Mapping[str, tuple[Literal["float", "log", "int", "choice"], tuple[float, ...]]]

Report = Callable[[int, float], None]  # told every epoch's number and score; what it raises ends the training

TRIALS = 24  # settings tried for every tuned baseline alike
COMPARABLE = 4  # trials to compare with before one is cut short
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


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
    earliest: int = 0,
    storage: optuna.storages.BaseStorage | None = None,
    name: str | None = None,
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
        earliest: epochs before a trial is cut short.
        storage: where the trials are kept, so that a search that was interrupted goes on; None forgets them.
        name: what the search is called there.
    """
    study = _quiet_study(seed, earliest, storage, name)
    if first is not None and not study.get_trials(deepcopy=False, states=(*FINISHED, TrialState.WAITING)):
        study.enqueue_trial(dict(first))
    for number in range(len(study.get_trials(deepcopy=False, states=FINISHED)), trials):
        trial = study.ask()
        try:
            study.tell(trial, objective(suggest(trial, space), _report_of(trial)))
        except optuna.TrialPruned:
            study.tell(trial, state=TrialState.PRUNED)
        told(number + 1, trials)
    pruned = len(study.get_trials(deepcopy=False, states=(TrialState.PRUNED,)))
    return Best({name: study.best_params[name] for name in space}, study.best_value, trials, pruned)


def _report_of(trial: optuna.Trial) -> Report:
    def report(epoch: int, score: float) -> None:
        trial.report(score, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned

    return report


def _quiet_study(
    seed: int, earliest: int, storage: optuna.storages.BaseStorage | None, name: str | None
) -> optuna.Study:
    """A study, without the line that optuna logs for it; a trial that was cut off is given up."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(
            storage=storage,
            study_name=name,
            load_if_exists=True,
            direction="maximize",
            pruner=optuna.pruners.MedianPruner(n_startup_trials=COMPARABLE, n_warmup_steps=earliest),
        )
    finally:
        optuna.logging.set_verbosity(verbosity)
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
    # what goes on must not draw the same again
    study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.trials))
    return study
