from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.encoder import Encoding
from model.history import Histories
from tests.conftest import QUICK
from training.attention_fit import AttentionStage, batches, cut
from training.config import load_config
from training.corpus import Corpus
from training.fit import fit
from training.loop import Stage, State, run_stage


@given(lengths=st.lists(st.integers(0, 20), max_size=10), longest=st.integers(1, 8), seed=st.integers(0, 99))
def test_every_item_but_a_row_s_first_is_predicted_once_from_what_stands_before_it(
    lengths: list[int], longest: int, seed: int
) -> None:
    rows = Histories.of(
        [np.arange(100 * row, 100 * row + length, dtype=np.int32) for row, length in enumerate(lengths)]
    )
    pieces = cut(rows, longest, np.random.default_rng(seed))
    assert (pieces.known.lengths <= longest).all()
    assert (pieces.known.lengths > 0).all()
    assert pieces.following.items.tolist() == [item for row in rows.rows() for item in row[1:].tolist()]
    assert (pieces.following.items == pieces.known.items + 1).all()
    for row in pieces.known.rows():
        assert (np.diff(row) == 1).all()


@given(lengths=st.lists(st.integers(1, 20), min_size=1, max_size=30), size=st.integers(1, 60), alike=st.booleans())
def test_batches_hold_every_piece_once_and_about_so_many_interactions(
    lengths: list[int], size: int, alike: bool
) -> None:
    rows = Histories.of([np.zeros(length, np.int32) for length in lengths])
    made = batches(rows, size, np.random.default_rng(0), alike=alike)
    assert sorted(np.concatenate(made).tolist()) == list(range(len(lengths)))
    assert all(len(batch) for batch in made)
    assert max(rows.lengths[batch].sum() for batch in made) <= size + max(lengths)


def test_batches_can_be_of_rows_alike_in_an_order_of_their_own() -> None:
    rows = Histories.of([np.zeros(1 + row % 10, np.int32) for row in range(200)])
    made = [rows.lengths[batch] for batch in batches(rows, 50, np.random.default_rng(0), alike=True)]
    assert max(np.ptp(lengths) for lengths in made) <= 1
    means = [lengths.mean() for lengths in made]
    assert means != sorted(means)


ITEMS = 12
LONGER = ["attention_fit.budget.least_epochs=20", "attention_fit.batch_interactions=60"]
CONFIG = ["encoder.dim=8", "attention_fit.batch_interactions=60", "attention_fit.learning_rate=0.02"]


def stage(*changes: str, seed: int = 0) -> AttentionStage:
    """Everyone goes round in a circle: what comes next is known from the newest item alone, and from no mean."""
    generator = np.random.default_rng(0)
    rows = [(np.arange(10) + start) % ITEMS for start in generator.integers(0, ITEMS, 40)]
    histories = Histories.of([row[:-1].astype(np.int32) for row in rows])
    following = Histories.of([row[-1:].astype(np.int32) for row in rows])
    config = load_config("default", [*CONFIG, *changes]).resolved(ordered=True)
    torch_generator = torch.Generator().manual_seed(0)
    encoding = Encoding(*(torch.randn(n, 8, generator=torch_generator) for n in (40, ITEMS, ITEMS)))
    return AttentionStage(
        Corpus(histories, ITEMS, ordered=True),
        config,
        encoding,
        epochs=30,
        seed=seed,
        device=torch.device("cpu"),
        held_out=following,
    )


@pytest.mark.parametrize("changes", [(), ("attention_fit.full_up_to=1", "attention_fit.samples=6")])
def test_it_learns_what_comes_next(changes: tuple[str, ...]) -> None:
    made = stage("attention.dropout=0.0", *changes)
    before = made.score()
    losses = [made.epoch(number) for number in range(1, 31)]
    assert losses[-1] < losses[0] / 2
    assert made.score() > max(0.9, before)


def test_the_result_is_what_was_scored() -> None:
    made = stage()
    made.epoch(1)
    attention, items = made.result()
    assert not attention.training
    assert items.shape == (ITEMS, 8)
    assert (items.norm(dim=-1) <= made.config.encoder.max_radius + 1e-5).all()


def test_an_epoch_depends_on_the_seed_and_its_number_alone() -> None:
    one, other, third = stage(), stage(), stage(seed=1)
    torch.rand(3)  # what else draws from the global generator makes no difference
    assert one.epoch(1) == other.epoch(1) != third.epoch(1)
    assert all(torch.equal(value, other.weights()[name]) for name, value in one.weights().items())


@pytest.mark.parametrize(("rate", "kept"), [(0.02, True), (1e-9, False)])
def test_an_attention_that_says_less_than_means_is_given_up(rate: float, kept: bool) -> None:
    made = stage()
    changes = [*QUICK, "attention_fit.kept=better", f"attention_fit.learning_rate={rate}", *LONGER]
    config = load_config("default", changes).resolved(ordered=True)
    run, device = partial(run_stage, state=None, on_epoch=lambda _: None, on_state=lambda _: None), torch.device("cpu")
    ran: list[str] = []

    def told(stage: Stage, name: str, epochs: int, patience: int | None) -> State:
        ran.append(name)
        return run(stage, name=name, epochs=epochs, patience=patience)

    assert made.held_out is not None
    fitted = fit(made.corpus, made.corpus.histories, made.held_out, config, seed=0, device=device, run=told)
    assert (
        ("attention" in ran) is (fitted.diffusion.attention is not None) is ("attention" in fitted.items_after) is kept
    )
    assert bool(fitted.diffusion.config.attention.length) is kept
