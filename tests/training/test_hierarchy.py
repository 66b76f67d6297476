"""A planted tree is recovered: general items near the origin, branches apart, users on their way down a branch."""

import numpy as np
import pytest
import torch

from model.geometry import radius
from model.history import Histories
from training.config import load_config
from training.corpus import Corpus, hold_out
from training.evaluate import RecommenderRanker, evaluate
from training.export import build_model
from training.fit import Fit, fit
from training.loop import Stage, State, run_stage
from training.metrics import hits_of
from training.topology import spearman

BRANCHES, TWIGS, LEAVES, USERS, ROOTS = 3, 3, 6, 240, 4
SETTINGS = [
    "encoder.dim=16",
    "denoiser.hidden=64",
    "encoder_fit.batch_users=64",
    "diffusion_fit.batch_users=64",
    "encoder_fit.budget.updates=120",
    "diffusion_fit.budget.updates=200",
]


def tree() -> tuple[np.ndarray, np.ndarray, int]:
    """Depth and twig (-1 above the twigs) of every item, and the number of items.

    Everyone has some roots, then items of one branch, then leaves of one of its twigs.
    """
    branch_items, leaf_items = BRANCHES * 4, BRANCHES * TWIGS * LEAVES
    depth = np.repeat([0, 1, 2], [ROOTS, branch_items, leaf_items])
    twig = np.concatenate((np.full(ROOTS + branch_items, -1), np.repeat(np.arange(BRANCHES * TWIGS), LEAVES)))
    return depth, twig, len(depth)


def walk(user: int) -> tuple[np.ndarray, int]:
    generator = np.random.default_rng(user)
    twig = user % (BRANCHES * TWIGS)
    roots = generator.permutation(ROOTS)[:3]
    branch = ROOTS + (twig // TWIGS) * 4 + generator.permutation(4)[:3]
    leaves = ROOTS + BRANCHES * 4 + twig * LEAVES + generator.permutation(LEAVES)[:5]
    return np.concatenate((roots, branch, leaves)).astype(np.int32), twig


@pytest.fixture(scope="module")
def fitted() -> Fit:
    histories = Histories.of([walk(user)[0] for user in range(USERS)])
    config = load_config("default", SETTINGS).resolved(ordered=True)
    search, stop = hold_out(histories, 0.1, ordered=True, seed=0)

    def run(stage: Stage, name: str, epochs: int, patience: int | None) -> State:
        return run_stage(
            stage,
            name=name,
            epochs=epochs,
            patience=patience,
            state=None,
            on_epoch=lambda _: None,
            on_state=lambda _: None,
        )

    corpus = Corpus(histories, tree()[2], ordered=True)
    return fit(corpus, search, stop, config, seed=0, device=torch.device("cpu"), run=run)


def test_the_more_general_an_item_the_nearer_it_lies_to_the_origin(fitted: Fit) -> None:
    depth = tree()[0]
    radii = radius(fitted.items).squeeze(-1).numpy()
    means = [radii[depth == level].mean() for level in range(3)]
    assert means[0] < means[1] < means[2]
    assert spearman(radii, depth) > 0.6


def test_a_few_steps_down_a_branch_are_enough_to_find_the_twig(fitted: Fit) -> None:
    """Users nobody trained on, seen as far as their second leaf: what follows are the other leaves of that twig."""
    _, twigs, n_items = tree()
    walks = [walk(user) for user in range(USERS, USERS + 60)]
    seen = Histories.of([items[:8] for items, _ in walks])
    model = build_model(fitted, seen)
    counts = np.bincount(seen.items, minlength=n_items)
    truth = Histories.of(
        [np.setdiff1d(np.flatnonzero(twigs == twig), items[:8]).astype(np.int32) for items, twig in walks]
    )
    shares = {}
    for steps in (0, 3):
        ranked = evaluate(RecommenderRanker(model.recommender(counts), steps=steps), seen, seen, truth, k=4)
        shares[steps] = hits_of(ranked, truth).mean()
    assert shares[3] > 0.9
    assert shares[3] >= shares[0]
