"""The search pass: both stages with the newest part of every history held out, to see how good settings are."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from model.history import Histories
from training.config import TrainConfig
from training.corpus import Corpus, sample
from training.diffusion_fit import DiffusionStage
from training.encoder_fit import EncoderStage
from training.loop import Stage, State

__all__ = ["SCORED_USERS", "RunStage", "Searched", "search"]

SCORED_USERS = 4096

RunStage = Callable[[Stage, str, int, int | None], State]


@dataclass(frozen=True)
class Searched:
    """Both stages, each with its best weights, and their final states by name.

    A state holds `best_epoch`, and `best`, the score on what was held out.
    """

    encoder: EncoderStage
    diffusion: DiffusionStage
    states: dict[str, State]

    @property
    def score(self) -> float:
        """The best score of the whole model on what was held out."""
        return float(self.states[self.diffusion.name]["best"])


def search(
    part: Corpus, stop: Histories, config: TrainConfig, *, seed: int, device: torch.device, run: RunStage
) -> Searched:
    """Train both stages on `part` until `stop` is no longer predicted better.

    Args:
        part: what to learn from.
        stop: the next items of its users, of whom some thousand are scored.
        config: settings, resolved for this corpus.
        seed: of all randomness.
        device: where to compute.
        run: runs a stage under a name, for at most so many epochs and with so much patience, and returns its state.
    """
    stop = sample(stop, SCORED_USERS, seed)
    first, second = config.encoder_fit, config.diffusion_fit
    encoder = EncoderStage(part, config, seed=seed, device=device, held_out=stop)
    epochs = first.epochs(len(encoder.graph))
    states = {encoder.name: run(encoder, encoder.name, epochs, first.patience)}
    schedule = second.budget.epochs(len(part), second.batch_users)
    diffusion = DiffusionStage(
        part, config, encoder.encoding(), epochs=schedule, seed=seed, device=device, held_out=stop
    )
    states[diffusion.name] = run(diffusion, diffusion.name, schedule, second.patience)
    return Searched(encoder, diffusion, states)
