"""One stage's training: epochs, early stopping, checkpoints. It knows no model and prints nothing."""

import logging
import math
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch

from model.errors import HdrmError

__all__ = ["Epoch", "Stage", "State", "load_checkpoint", "plain_tensors", "run_stage", "save_checkpoint"]

State = dict[str, Any]

logger = logging.getLogger("hdrm.training")

# what the state of a finished stage consists of; an unfinished one has its weights and optimiser besides
KEPT = ("epoch", "best", "best_epoch", "best_weights", "curve")


@dataclass(frozen=True)
class Epoch:
    """What is known after an epoch.

    Attributes:
        stage: name of the stage's run.
        number: epochs finished, 0 for the state before the first.
        total: epochs at most.
        loss: mean training loss, NaN for epoch 0.
        score: `training.evaluate.held_out_score`, NaN where nothing is.
        best: the best score so far.
    """

    stage: str
    number: int
    total: int
    loss: float
    score: float
    best: float


class Stage(Protocol):
    """A thing that can be trained epoch by epoch. Randomness depends on the seed and the epoch alone."""

    name: str

    def epoch(self, number: int) -> float:
        """Train on all data once; returns the mean loss."""
        ...

    def score(self) -> float:
        """`training.evaluate.held_out_score`, NaN if nothing is held out."""
        ...

    def weights(self) -> State:
        """Copies of the parameters."""
        ...

    def load_weights(self, weights: State) -> None: ...

    def optimiser_state(self) -> State: ...

    def load_optimiser_state(self, state: State) -> None: ...


def run_stage(
    stage: Stage,
    *,
    name: str,
    epochs: int,
    patience: int | None,
    state: State | None,
    on_epoch: Callable[[Epoch], None],
    on_state: Callable[[Callable[[], State]], None],
) -> State:
    """Train until the score has not risen for `patience` epochs; leaves the best weights in the stage.

    With `patience` None nothing is held out: all epochs are done, and the last weights stay.

    Args:
        stage: what to train.
        name: what the run is called when `on_epoch` is told.
        epochs: at most this many.
        patience: epochs without a better score before stopping, or None.
        state: where an interrupted run was, None to start; continuing gives what the whole run would have.
        on_epoch: told after every epoch.
        on_state: given, after every epoch, a function that makes the state to continue from.

    Returns:
        The final state. Its `curve` holds the loss and the score of every epoch, from epoch 0 (which has no loss).

    Raises:
        HdrmError: the loss is no longer a finite number.
    """
    current = _initial(stage) if state is None else {key: state[key] for key in KEPT}
    if state is None:
        on_epoch(Epoch(name, 0, epochs, math.nan, current["best"], current["best"]))
    elif "optimiser" in state:
        stage.load_weights(state["weights"])
        stage.load_optimiser_state(state["optimiser"])
    for number in _remaining(current, epochs, patience):
        loss = stage.epoch(number)
        if not math.isfinite(loss):
            raise HdrmError(
                f"{name}: the loss is {loss} in epoch {number}",
                hint=f"lower the learning rate with --set {stage.name}_fit.learning_rate=..., "
                f"or look at the values that `hdrm train --settings` lists for {stage.name}_fit",
            )
        score = stage.score()
        current |= {"epoch": number, "curve": [*current["curve"], [loss, score]]}
        if patience is None or score > current["best"]:
            current |= {"best": score, "best_epoch": number, "best_weights": stage.weights()}
        on_epoch(Epoch(name, number, epochs, loss, score, current["best"]))
        on_state(partial(_resumable, stage, current))
    stage.load_weights(current["best_weights"])
    return current


def save_checkpoint(path: Path, state: State) -> None:
    """Write atomically: a reader finds the old checkpoint or the new one.

    Raises:
        HdrmError: it cannot be written; the old one is as it was.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                torch.save(state, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
    except (OSError, RuntimeError) as error:  # torch tells of a full disk by the latter
        raise HdrmError(f"{path}: the checkpoint cannot be written ({error})", hint="make room there") from error


def load_checkpoint(path: Path) -> State | None:
    """The checkpoint, None if there is none, or none that can be read. Plain tensors and values alone, no code."""
    if not path.exists():
        return None
    try:
        state: State = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # whatever is wrong with it, the training can be done without
        logger.warning("%s: not a readable checkpoint, the training begins anew (%s)", path, type(error).__name__)
        return None
    return state


def plain_tensors(state: State) -> State:
    """A copy of nested dicts and lists whose tensors are plain, detached and on the CPU (geoopt's are subclasses)."""
    return {key: _plain(value) for key, value in state.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().as_subclass(torch.Tensor).cpu().clone()
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value


def _initial(stage: Stage) -> State:
    score = stage.score()
    return {
        "epoch": 0,
        "best": score,
        "best_epoch": 0,
        "best_weights": stage.weights(),
        "curve": [[math.nan, score]],
    }


def _resumable(stage: Stage, current: State) -> State:
    return current | {"weights": stage.weights(), "optimiser": stage.optimiser_state()}


def _remaining(current: State, epochs: int, patience: int | None) -> Iterator[int]:
    while current["epoch"] < epochs and (patience is None or current["epoch"] - current["best_epoch"] < patience):
        yield current["epoch"] + 1
