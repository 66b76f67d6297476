"""The whole fit of a model: a search for how long to train, then the training on everything.

How many epochs are good is found by holding the newest part of every history out (the search). What was held out is
what says most about the next items, so the model that is kept is trained anew with it, for as many epochs.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from model.diffusion import UserDiffusion
from model.encoder import Encoding
from model.history import Histories
from training.config import TrainConfig
from training.corpus import Corpus
from training.loop import Stage, State
from training.search import search
from training.stages import RunStage, train_stages

__all__ = ["SEARCH", "Fit", "fit"]

SEARCH = "search: "


@dataclass(frozen=True)
class Fit:
    """A fitted model.

    Attributes:
        diffusion: the users' side.
        items: vectors that items are ranked by, (m, d).
        messages: what they say in a history, (m, d).
        encoder: stage 1's encoding, before later stages moved the items.
        items_after: the items' vectors as each stage left them, by name.
        search: the search's states by stage: `best_epoch`, and `best`, the score on what was held out.
    """

    diffusion: UserDiffusion
    items: Tensor
    messages: Tensor
    encoder: Encoding
    items_after: dict[str, Tensor]
    search: dict[str, State]


def fit(
    corpus: Corpus,
    older: Histories,
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
        older, stop: the corpus's histories in two parts.
        config: settings, resolved for this corpus.
        seed: of all randomness.
        device: where to compute.
        run: see `training.stages.train_stages`.
    """

    def searching(stage: Stage, name: str, epochs: int, patience: int | None) -> State:
        return run(stage, SEARCH + name, epochs, patience)

    part = Corpus(older, corpus.n_items, corpus.ordered)
    found = search(part, stop, config, seed=seed, device=device, run=searching)
    made = train_stages(corpus, found.config, held_out=None, lengths=found.lengths, seed=seed, device=device, run=run)
    return Fit(*made.diffusion.result(), made.encoding, made.items, found.states)
