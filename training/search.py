"""The search pass: all stages with the newest part of every history held out, to see how good settings are."""

import torch

from model.history import Histories
from training.config import TrainConfig
from training.corpus import Corpus, sample
from training.stages import RunStage, Stages, train_stages

__all__ = ["SCORED_USERS", "search"]

SCORED_USERS = 4096


def search(
    part: Corpus, stop: Histories, config: TrainConfig, *, seed: int, device: torch.device, run: RunStage
) -> Stages:
    """Train all stages on `part`, each until `stop` is no longer predicted better.

    Args:
        part: what to learn from.
        stop: the next items of its users, of whom some thousand are scored.
        config: settings, resolved for this corpus.
        seed: of all randomness.
        device: where to compute.
        run: see `training.stages.train_stages`.
    """
    scored = sample(stop, SCORED_USERS, seed)
    return train_stages(part, config, held_out=scored, lengths=None, seed=seed, device=device, run=run)
