"""What was planted is recovered: a tree, general items near the origin, branches apart; and a rule that only the
denoiser can express."""

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
KINDS, ALIKE = 3, 4  # of each of three sorts; items of a kind
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


def trained(histories: Histories, n_items: int, *changes: str, seed: int = 0) -> Fit:
    config = load_config("default", [*SETTINGS, *changes]).resolved(ordered=True)
    search, stop = hold_out(histories, 0.1, ordered=True, seed=seed)

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

    corpus = Corpus(histories, n_items, ordered=True)
    return fit(corpus, search, stop, config, seed=seed, device=torch.device("cpu"), run=run)


def found(fitted: Fit, seen: Histories, truth: Histories, *, steps: int, k: int) -> float:
    """The share of k answered items that are true."""
    model = build_model(fitted, seen)
    recommender = model.recommender(np.bincount(seen.items, minlength=len(model.vectors)))
    ranked = evaluate(RecommenderRanker(recommender, steps=steps), seen, seen, truth, k=k)
    return float(hits_of(ranked, truth).mean())


@pytest.fixture(scope="module")
def fitted() -> Fit:
    return trained(Histories.of([walk(user)[0] for user in range(USERS)]), tree()[2])


def test_the_more_general_an_item_the_nearer_it_lies_to_the_origin(fitted: Fit) -> None:
    depth = tree()[0]
    radii = radius(fitted.items).squeeze(-1).numpy()
    means = [radii[depth == level].mean() for level in range(3)]
    assert means[0] < means[1] < means[2]
    assert spearman(radii, depth) > 0.6


def test_a_few_steps_down_a_branch_are_enough_to_find_the_twig(fitted: Fit) -> None:
    """Users nobody trained on, seen as far as their second leaf: what follows are the other leaves of that twig."""
    twigs = tree()[1]
    walks = [walk(user) for user in range(USERS, USERS + 60)]
    seen = Histories.of([items[:8] for items, _ in walks])
    truth = Histories.of(
        [np.setdiff1d(np.flatnonzero(twigs == twig), items[:8]).astype(np.int32) for items, twig in walks]
    )
    assert found(fitted, seen, truth, steps=3, k=4) > 0.9


def summed(user: int, *, following: int) -> np.ndarray:
    """All items of kind i of the first sort and kind j of the second, mixed; then some of kind i + j of the third."""
    generator = np.random.default_rng(user)
    i, j = user % KINDS, user // KINDS % KINDS
    kinds = (i, KINDS + j, 2 * KINDS + (i + j) % KINDS)
    first, second, third = (kind * ALIKE + generator.permutation(ALIKE) for kind in kinds)
    past = generator.permutation(np.concatenate((first, second)))
    return np.concatenate((past, third[:following])).astype(np.int32)


@pytest.mark.parametrize("seed", range(3))
def test_the_denoiser_finds_what_no_mean_of_the_past_is_near_to(seed: int) -> None:
    """A kind of the third sort goes with every kind of the others equally often, so without the denoiser it is luck.

    Of every other user one item follows, so that what is held out in the search is told by the past alone.
    """
    histories = Histories.of([summed(user, following=1 if user // KINDS**2 % 2 else ALIKE) for user in range(180)])
    means_alone = ("attention.length=0", "history.half_lives=['uniform']", "diffusion_fit.least_past=0.5")
    fitted = trained(histories, 3 * KINDS * ALIKE, *means_alone, seed=seed)
    walks = [summed(user, following=ALIKE) for user in range(180, 270)]
    seen = Histories.of([items[: 2 * ALIKE] for items in walks])
    truth = Histories.of([items[2 * ALIKE :] for items in walks])
    without, denoised = (found(fitted, seen, truth, steps=steps, k=ALIKE) for steps in (0, 3))
    assert denoised > 0.9
    assert without < 0.5  # a third by chance, and the other sorts' items are nearer
