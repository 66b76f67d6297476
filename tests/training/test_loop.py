"""Early stopping, resumption and divergence, on a stage whose scores are written down."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from model.errors import HdrmError
from training.loop import Epoch, State, load_checkpoint, plain_tensors, run_stage, save_checkpoint


class Scripted:
    """A stage whose only weight counts its epochs."""

    name = "scripted"

    def __init__(self, scores: list[float], losses: dict[int, float] | None = None) -> None:
        self.scores, self.losses, self.value = scores, losses or {}, 0

    def epoch(self, number: int) -> float:
        self.value = number
        return self.losses.get(number, 1.0)

    def score(self) -> float:
        return self.scores[self.value]

    def weights(self) -> State:
        return {"value": self.value}

    def load_weights(self, weights: State) -> None:
        self.value = weights["value"]

    def optimiser_state(self) -> State:
        return {}

    def load_optimiser_state(self, state: State) -> None:
        assert state == {}


def run(
    stage: Scripted, *, state: State | None = None, epochs: int = 9, patience: int = 2
) -> tuple[State, list[Epoch], list[State]]:
    told: list[Epoch] = []
    states: list[State] = []

    def keep(make: Callable[[], State]) -> None:
        states.append(make())

    final = run_stage(
        stage, name="a run", epochs=epochs, patience=patience, state=state, on_epoch=told.append, on_state=keep
    )
    return final, told, states


def test_it_stops_when_the_score_no_longer_rises_and_keeps_the_best() -> None:
    stage = Scripted([0.1, 0.2, 0.5, 0.4, 0.3, 0.9])
    final, told, _ = run(stage)
    assert [epoch.number for epoch in told] == [0, 1, 2, 3, 4]
    assert final["best_epoch"] == 2
    assert stage.value == 2
    assert told[-1].best == 0.5
    assert math.isnan(told[0].loss)


def test_no_training_at_all_may_be_the_best() -> None:
    stage = Scripted([0.5, 0.1, 0.1])
    run(stage)
    assert stage.value == 0


def test_it_runs_no_more_epochs_than_allowed() -> None:
    _, told, _ = run(Scripted([n / 10 for n in range(10)]), epochs=4)
    assert told[-1].number == 4


@pytest.mark.parametrize("interrupted_after", [1, 2, 3])
def test_a_resumed_run_ends_where_the_whole_one_does(interrupted_after: int) -> None:
    scores = [0.1, 0.2, 0.5, 0.4, 0.3, 0.9]
    whole, _, states = run(Scripted(scores))
    stage = Scripted(scores)
    resumed, told, _ = run(stage, state=states[interrupted_after - 1])
    assert resumed == whole
    assert told[0].number == interrupted_after + 1
    assert stage.value == 2


def test_a_finished_stage_is_not_trained_again() -> None:
    stage = Scripted([0.1, 0.2, 0.5, 0.4, 0.3, 0.9])
    final, _, _ = run(stage)
    again = Scripted(stage.scores)
    _, told, _ = run(again, state=final)
    assert told == []
    assert again.value == 2


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_divergence_is_an_error_with_a_next_step(loss: float) -> None:
    with pytest.raises(HdrmError, match=r"a run: the loss is .* in epoch 2") as caught:
        run(Scripted([0.1, 0.2, 0.3], {2: loss}))
    assert caught.value.hint is not None


def test_checkpoints_hold_plain_values_and_are_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "run.pt"
    assert load_checkpoint(path) is None
    parameter = torch.nn.Parameter(torch.ones(3))
    for number in (1, 2):
        save_checkpoint(path, plain_tensors({"n": number, "list": [parameter], "inner": {"w": parameter}}))
    state = load_checkpoint(path)
    assert state is not None
    assert state["n"] == 2
    assert not state["list"][0].requires_grad
    assert list(path.parent.iterdir()) == [path]


def test_without_a_readable_checkpoint_a_training_begins_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "run.pt"
    path.write_bytes(b"not a checkpoint")
    assert load_checkpoint(path) is None
    assert f"{path}: not a readable checkpoint" in caplog.text
