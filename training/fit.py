"""The whole fit of a model: a search for how long to train, then the training on everything.

How many epochs are good is found by holding the newest part of every history out (the search). What was held out is
what says most about the next items, so the model that is kept is trained anew with it, for as many epochs.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from model.diffusion import UserDiffusion
from model.encoder import Encoding
from model.history import Histories
from training.config import TrainConfig
from training.corpus import Corpus, sample
from training.diffusion_fit import DiffusionStage
from training.encoder_fit import EncoderStage
from training.loop import Stage, State

__all__ = ["SCORED_USERS", "Fit", "RunStage", "fit"]

SEARCH = "search: "
SCORED_USERS = 4096

RunStage = Callable[[Stage, str, int, int | None], State]


@dataclass(frozen=True)
class Fit:
    """A fitted model.

    Attributes:
        diffusion: the users' side.
        encoding: users as stage 1 knows them, items as they are ranked.
        encoder: stage 1's encoding, before stage 2 moved the items.
        search: the search's states by stage: `best_epoch`, and `best`, the NDCG@20 on what was held out.
    """

    diffusion: UserDiffusion
    encoding: Encoding
    encoder: Encoding
    search: dict[str, State]


def fit(
    corpus: Corpus,
    search: Histories,
    stop: Histories,
    config: TrainConfig,
    *,
    seed: int,
    device: torch.device,
    run: RunStage,
) -> Fit:
    """Search, then train on everything.

    Args:
        corpus: everything to learn from.
        search, stop: the corpus's histories in two parts, `stop` the newer one.
        config: settings, resolved for this corpus.
        seed: of all randomness.
        device: where to compute.
        run: runs a stage under a name, for at most so many epochs and with so much patience (None: all epochs), and
            returns its final state.
    """
    stop = sample(stop, SCORED_USERS, seed)
    part = Corpus(search, corpus.n_items, corpus.ordered)
    first, second = config.encoder_fit, config.diffusion_fit

    encoder = EncoderStage(part, config, seed=seed, device=device, held_out=stop)
    epochs = first.budget.epochs(len(corpus), first.step_users(len(corpus)))
    found = {encoder.name: run(encoder, SEARCH + encoder.name, epochs, first.patience)}
    schedule = second.budget.epochs(len(corpus), second.batch_users)
    diffusion = DiffusionStage(
        part, config, encoder.encoding(), epochs=schedule, seed=seed, device=device, held_out=stop
    )
    found[diffusion.name] = run(diffusion, SEARCH + diffusion.name, schedule, second.patience)

    encoder = EncoderStage(corpus, config, seed=seed, device=device, held_out=None)
    run(encoder, encoder.name, found[encoder.name]["best_epoch"], None)
    encoding = encoder.encoding()
    diffusion = DiffusionStage(corpus, config, encoding, epochs=schedule, seed=seed, device=device, held_out=None)
    run(diffusion, diffusion.name, found[diffusion.name]["best_epoch"], None)
    return Fit(*diffusion.result(), encoding, found)
