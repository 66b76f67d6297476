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
from training.stages import Length, RunStage, Stages, train_stages

__all__ = ["SEARCH", "Fit", "Found", "fit"]

SEARCH = "search: "


@dataclass(frozen=True)
class Found:
    """What a search found, of this data or of nearly the same.

    Attributes:
        config: the settings, without an attention if it was given up.
        lengths: how long to train each stage, by name.
        scores: the best score of each stage on what was held out, by name.
    """

    config: TrainConfig
    lengths: dict[str, Length]
    scores: dict[str, float]

    @classmethod
    def of(cls, stages: Stages) -> "Found":
        """From the stages of a search."""
        return cls(stages.config, stages.lengths, {name: float(state["best"]) for name, state in stages.states.items()})


@dataclass(frozen=True)
class Fit:
    """A fitted model.

    Attributes:
        diffusion: the users' side.
        items: vectors that items are ranked by, (m, d).
        messages: what they say in a history, (m, d).
        encoder: stage 1's encoding, before later stages moved the items.
        items_after: the items' vectors as each stage left them, by name.
        found: what the search found.
    """

    diffusion: UserDiffusion
    items: Tensor
    messages: Tensor
    encoder: Encoding
    items_after: dict[str, Tensor]
    found: Found


def fit(
    corpus: Corpus,
    older: Histories,
    stop: Histories,
    config: TrainConfig,
    *,
    seed: int,
    device: torch.device,
    run: RunStage,
    found: Found | None = None,
) -> Fit:
    """Search, then train on everything.

    Args:
        corpus: everything to learn from.
        older, stop: the corpus's histories in two parts.
        config: settings, resolved for this corpus.
        seed: of all randomness.
        device: where to compute.
        run: see `training.stages.train_stages`.
        found: what an earlier search found, which is then not made again: half of the time.
    """

    def searching(stage: Stage, name: str, epochs: int, patience: int | None) -> State:
        return run(stage, SEARCH + name, epochs, patience)

    if found is None:
        part = Corpus(older, corpus.n_items, corpus.ordered)
        found = Found.of(search(part, stop, config, seed=seed, device=device, run=searching))
    made = train_stages(corpus, found.config, held_out=None, lengths=found.lengths, seed=seed, device=device, run=run)
    return Fit(*made.diffusion.result(), made.encoding, made.items, found)
