"""What the baselines that are trained by epochs have in common: steps, seeds, scores and states."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from model.errors import HdrmError
from model.history import Histories
from training.evaluate import Ranker, held_out_score
from training.loop import State, plain_tensors

__all__ = ["EpochStage"]


class EpochStage(ABC):
    """A network under training; see `training.loop.Stage`. It computes on the CPU.

    Args:
        name: what the stage is called.
        model: the network.
        optimiser: of its parameters.
        train: histories learned from.
        held_out: the same users' next items, to score by; None does without.
        seed: of all randomness.
    """

    def __init__(
        self,
        name: str,
        model: nn.Module,
        optimiser: torch.optim.Optimizer,
        *,
        train: Histories,
        held_out: Histories | None,
        seed: int,
    ) -> None:
        self.name, self.model, self.optimiser = name, model, optimiser
        self.train, self.held_out, self.seed = train, held_out, seed

    @abstractmethod
    def losses(self, generator: np.random.Generator) -> Iterator[Tensor]:
        """The loss of every batch of an epoch; a step is made after each."""

    @abstractmethod
    def ranker(self) -> Ranker:
        """Ranks with the present parameters; it stays as it is when training goes on."""

    def epoch(self, number: int) -> float:
        generator = np.random.default_rng([self.seed, number])
        self.model.train()
        # dropout draws from torch's global generator, which is left as it was found
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(generator.integers(2**62)))
            losses = [self._step(loss) for loss in self.losses(generator)]
        self.model.eval()
        loss = float(np.mean(losses)) if losses else 0.0
        if not math.isfinite(loss):
            raise HdrmError(
                f"{self.name}: the loss is {loss} in epoch {number}",
                hint="lower the learning rate of this baseline in benchmarks/baselines/settings.toml",
            )
        return loss

    def score(self) -> float:
        if self.held_out is None:
            return math.nan
        return held_out_score(self.ranker(), self.train, self.held_out)

    def weights(self) -> State:
        return plain_tensors(self.model.state_dict())

    def load_weights(self, weights: State) -> None:
        self.model.load_state_dict(weights)

    def optimiser_state(self) -> State:
        return plain_tensors(self.optimiser.state_dict())

    def load_optimiser_state(self, state: State) -> None:
        # torch would go on to change the given tensors in place
        self.optimiser.load_state_dict(plain_tensors(state))

    def _step(self, loss: Tensor) -> float:
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        return loss.item()
