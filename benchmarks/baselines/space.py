"""Ranges of settings as plain data, and the search through them."""

from collections.abc import Callable, Mapping
from typing import Literal

import optuna

from benchmarks.baselines.baseline import Settings

__all__ = ["TRIALS", "Space", "best_settings", "suggest"]

# a setting's kind and its bounds, both included; of a choice, what there is to choose from
Space = Mapping[str, tuple[Literal["float", "log", "int", "choice"], tuple[float, ...]]]

TRIALS = 24  # settings tried for every tuned baseline alike


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
    objective: Callable[[Settings], float],
    *,
    trials: int,
    seed: int,
    told: Callable[[int, int], None],
) -> Settings:
    """The settings with the highest objective of those tried (tree-structured Parzen estimator).

    Args:
        space: the ranges.
        objective: of settings, higher is better.
        trials: settings to try.
        seed: of the search.
        told: after every trial: how many are done, and how many there are.
    """
    study = _quiet_study(seed)
    for number in range(trials):
        trial = study.ask()
        study.tell(trial, objective(suggest(trial, space)))
        told(number + 1, trials)
    return {name: study.best_params[name] for name in space}


def _quiet_study(seed: int) -> optuna.Study:
    """A study in memory, without the line that optuna logs for it."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    finally:
        optuna.logging.set_verbosity(verbosity)
