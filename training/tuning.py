"""A study: many short trainings with different settings, to find good ones. Only what is trained on is looked at.

A trial is the search pass of a training (`training.search`): all stages on `search`, scored on
`stop`; the test part plays no role. Settings are proposed by a tree-structured Parzen estimator [1]. A trial is
pruned in the second half of its last stage when its best score so far is below the median of the others at the same
epoch. The stages before never are: what they are scored by, without the diffusion, says little about the end.

The study is a SQLite file, written after every epoch. The sampler is seeded by the number of trials finished, and a
trial that was interrupted is recorded as failed and done again, so an interrupted study ends as a whole one would.

Reference: [1] Bergstra et al., Algorithms for Hyper-Parameter Optimization, NeurIPS 2011.
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Literal

import numpy as np
import optuna
import torch
from filelock import AcquireReturnProxy, FileLock, Timeout
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from model.errors import ConfigError, HdrmError, UnavailableError
from training.config import TrainConfig, load_config
from training.corpus import Corpus
from training.data.datasets import Dataset
from training.diffusion_fit import DiffusionStage
from training.loop import Epoch, Stage, State, run_stage
from training.search import search
from training.splits import make_split
from training.stages import most_epochs
from training.tunable import Choice, Kind, Real, Whole, value_of

__all__ = ["Setting", "Tried", "Tuned", "Tuning", "TuningObserver"]

Setting = int | float | str
Outcome = Literal["complete", "pruned", "diverged", "failed"]

DONE = (TrialState.COMPLETE, TrialState.PRUNED)
OUTCOMES: Mapping[TrialState, Outcome] = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned"}
RETRY_OF = "retry of"
ERROR = "error"
SECONDS = "seconds"
LEAST_FOR_IMPORTANCE = 5


@dataclass(frozen=True)
class TuningObserver:
    """Who is told about progress.

    Attributes:
        trial: a trial begins: trials finished before it in the whole study, and the best score so far, if any.
        stage: a stage of the trial begins: its name and its epochs at most.
        epoch: an epoch is over.
    """

    trial: Callable[[int, float | None], None]
    stage: Callable[[str, int], None]
    epoch: Callable[[Epoch], None]


@dataclass(frozen=True)
class Tried:
    """A finished trial.

    Attributes:
        number: its place in the study, from 0.
        outcome: `pruned` trials were stopped early, `diverged` ones by a loss that was no number (`error` says where),
            `failed` ones interrupted and done again.
        score: on what was held out: at the end, or the last before the trial was stopped; None without any.
        settings: the values that were varied.
        seconds: how long it took.
        error: why it could not go on.
    """

    number: int
    outcome: Outcome
    score: float | None
    settings: dict[str, Setting]
    seconds: float
    error: str | None


@dataclass(frozen=True)
class Tuned:
    """What a study has found so far.

    Attributes:
        trials: all finished trials, in the order they were begun.
        importance: share of each setting in the differences between scores, summing to 1; empty with few trials.
        preset: the values of the preset that the study started from.
    """

    trials: list[Tried]
    importance: dict[str, float]
    preset: dict[str, object]

    @property
    def finished(self) -> int:
        """Trials that count: those not interrupted."""
        return sum(trial.outcome != "failed" for trial in self.trials)

    @property
    def ranking(self) -> list[Tried]:
        """Complete trials, best first."""
        complete = [trial for trial in self.trials if trial.outcome == "complete" and trial.score is not None]
        return sorted(complete, key=lambda trial: -(trial.score or 0.0))


class Tuning:
    """A study of given data, settings, space and seed; it is found again in its file by the same four.

    Args:
        dataset: the data.
        preset, changes: the settings that are not varied, as for `load_config`; also the first trial's others.
        space: what is varied.
        seed: of all randomness, the split's included.
        study: the file; made if missing. It may hold several studies.
        observer: who is told about progress.

    Raises:
        ConfigError: the settings are wrong, or the value of one that is varied is none that a trial can have.
        DataError: the data cannot be split.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        preset: str,
        changes: list[str],
        space: Mapping[str, Kind],
        seed: int,
        study: Path,
        observer: TuningObserver,
    ) -> None:
        self.preset, self.changes, self.space, self.seed = preset, changes, space, seed
        self.path, self.observer = study, observer
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        config = self.config({})
        split = make_split(dataset, config.split, seed=seed)
        self.ordered = split.ordered
        resolved = config.resolved(ordered=split.ordered)
        self.values = {name: value_of(resolved, name) for name in space}
        for name, kind in space.items():
            if self.values[name] not in kind:
                raise ConfigError(
                    f"{name}: a study begins with the preset's value, which is {self.values[name]}; allowed: {kind}",
                    hint=f"give it an allowed value with --set {name}=VALUE, or do not vary it",
                )
        self.part = Corpus(split.search, len(split.items), resolved.order == "used")
        most = most_epochs(self.part, resolved)
        self.starts = dict(zip(most, accumulate((last + 1 for last in most.values()), initial=0), strict=False))
        self.prunable = self.starts[DiffusionStage.name] + most[DiffusionStage.name] // 2
        self.stop = split.stop
        data = [dataset.info.fingerprint, dataset.info.order, dataset.info.presplit]
        identity = json.dumps([data, config.model_dump(mode="json"), {n: repr(k) for n, k in space.items()}, seed])
        self.name = f"{dataset.info.name} {hashlib.sha256(identity.encode()).hexdigest()[:16]}"

    def run(self, *, trials: int | None, seconds: float | None) -> Tuned:
        """Go on with the study until one of the limits is met.

        Args:
            trials: finished trials in the whole study, those of earlier runs included; None for any number.
            seconds: begin no trial later than this after the start; None for no limit.

        Raises:
            UnavailableError: the study's file cannot be used, or another process is using it.
            HdrmError: no trial came to an end.
        """
        started = time.monotonic()
        with self._lock():
            study = self._open()
            while (done := len(study.get_trials(deepcopy=False, states=DONE))) < (trials or np.inf):
                if seconds is not None and time.monotonic() - started >= seconds:
                    break
                self._trial(study, done)
            return self._tuned(study)

    def config(self, settings: Mapping[str, Setting]) -> TrainConfig:
        """All settings, with some that were varied."""
        return load_config(self.preset, [*self.changes, *(f"{name}={value}" for name, value in settings.items())])

    def _lock(self) -> "AcquireReturnProxy[FileLock]":
        """One process at a time: what is found running is then known to have been interrupted."""
        lock = FileLock(f"{self.path}.lock", timeout=0)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            return lock.acquire()
        except Timeout:
            raise UnavailableError(
                f"{self.path}: another process is working on this study", hint="wait for it, or give another --study"
            ) from None
        except OSError as error:
            raise self._unusable(error) from error

    def _open(self) -> optuna.Study:
        """The study, with interrupted trials put in line to be done again."""
        path = str(self.path.absolute())
        if special := sorted(set(path) & set("?%{}")):
            raise self._unusable(ValueError(f"the path contains {' '.join(special)}"))
        try:
            storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
        except (RuntimeError, SQLAlchemyError) as error:  # not a study, or one of another version of Optuna
            raise self._unusable(error) from error
        study = optuna.create_study(
            storage=storage,
            study_name=self.name,
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=self.prunable),
        )
        if not study.trials:
            study.enqueue_trial(self.values)
        for trial in study.get_trials(states=(TrialState.RUNNING,)):
            study.tell(trial.number, state=TrialState.FAIL)
        retried = {trial.user_attrs.get(RETRY_OF) for trial in study.trials}
        for trial in study.get_trials(states=(TrialState.FAIL,)):
            if trial.number not in retried:
                study.enqueue_trial(trial.params, user_attrs={RETRY_OF: trial.number})
        return study

    def _unusable(self, error: Exception) -> UnavailableError:
        reason = str(error).partition("\n")[0]
        return UnavailableError(
            f"{self.path}: a study cannot be kept there: {reason}", hint="give another --study, it is made if missing"
        )

    def _trial(self, study: optuna.Study, done: int) -> None:
        started = time.monotonic()
        # by what is finished, so that an interruption does not change what is proposed next
        seed = int(np.random.SeedSequence([self.seed, done]).generate_state(1)[0])
        study.sampler = optuna.samplers.TPESampler(seed=seed)
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        self.observer.trial(done, max((trial.value for trial in complete if trial.value is not None), default=None))
        trial = study.ask()
        try:
            score, state = self._score(trial), TrialState.COMPLETE
        except optuna.TrialPruned:
            score, state = None, TrialState.PRUNED
        except HdrmError as error:  # the loss diverged: bad settings, not to be tried again
            trial.set_user_attr(ERROR, error.message)
            score, state = None, TrialState.PRUNED
        except BaseException:
            study.tell(trial, state=TrialState.FAIL)
            raise
        trial.set_user_attr(SECONDS, round(time.monotonic() - started, 1))
        study.tell(trial, score, state=state)

    def _score(self, trial: Trial) -> float:
        settings = {name: _suggested(trial, name, kind) for name, kind in self.space.items()}
        run = partial(self._run_stage, trial)
        config = self.config(settings).resolved(ordered=self.ordered)
        return search(self.part, self.stop, config, seed=self.seed, device=self.device, run=run).score

    def _run_stage(self, trial: Trial, stage: Stage, name: str, epochs: int, patience: int | None) -> State:
        def on_epoch(done: Epoch) -> None:
            self.observer.epoch(done)
            trial.report(done.score, self.starts[name] + done.number)
            if trial.should_prune():
                raise optuna.TrialPruned

        self.observer.stage(name, epochs)
        return run_stage(
            stage,
            name=name,
            epochs=epochs,
            patience=patience,
            state=None,
            on_epoch=on_epoch,
            on_state=lambda _state: None,
        )

    def _tuned(self, study: optuna.Study) -> Tuned:
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if not complete:
            errors = {trial.user_attrs[ERROR] for trial in study.trials if ERROR in trial.user_attrs}
            raise HdrmError(
                "no trial came to an end" + "".join(f"; {error}" for error in sorted(errors)),
                hint="run more trials, or start from a preset that trains"
                if study.trials
                else "none was begun: give more --trials or --minutes",
            )
        importance = {}
        if len(complete) >= LEAST_FOR_IMPORTANCE:
            evaluator = optuna.importance.PedAnovaImportanceEvaluator()
            importance = optuna.importance.get_param_importances(study, evaluator=evaluator)
        finished = study.get_trials(states=(*DONE, TrialState.FAIL))
        return Tuned([self._tried(trial) for trial in finished], importance, self.values)

    def _tried(self, trial: FrozenTrial) -> Tried:
        settings = {name: _rounded(trial.params[name]) for name in self.space if name in trial.params}
        attributes = trial.user_attrs
        outcome = "diverged" if ERROR in attributes else OUTCOMES.get(trial.state, "failed")
        return Tried(trial.number, outcome, trial.value, settings, attributes.get(SECONDS, 0.0), attributes.get(ERROR))


def _suggested(trial: Trial, name: str, kind: Kind) -> Setting:
    match kind:
        case Whole(low, high, log):
            return trial.suggest_int(name, low, high, log=log)
        case Real(low, high, log):
            return _rounded(trial.suggest_float(name, low, high, log=log))
        case Choice(values):
            chosen = trial.suggest_categorical(name, values)
            assert chosen is not None  # which Optuna would allow
            return chosen


def _rounded(value: Setting) -> Setting:
    """Three digits are enough to tell settings apart, and can be read."""
    return float(f"{value:.3g}") if isinstance(value, float) else value
