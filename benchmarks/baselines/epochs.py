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
from training.module_stage import ModuleStage

__all__ = ["EpochStage"]


class EpochStage(ModuleStage, ABC):
    """A network under training; see `training.loop.Stage`. It computes on the CPU.

    Args:
        name: what the stage is called.
        model: the network.
        optimiser: of its parameters.
        train: histories learned from.
        held_out: the same users' next items, to score by; None does without.
        seed: of all randomness.
        epochs: passes over the data at most.
        patience: epochs without a better score before stopping.
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
        epochs: int,
        patience: int,
    ) -> None:
        super().__init__(model, optimiser, torch.device("cpu"))
        self.name = name
        self.train, self.held_out, self.seed = train, held_out, seed
        self.epochs, self.patience = epochs, patience

    @abstractmethod
    def losses(self, number: int, generator: np.random.Generator) -> Iterator[Tensor]:
        """The loss of every batch of an epoch, counted from 1; a step is made after each."""

    @abstractmethod
    def ranker(self) -> Ranker:
        """Ranks with the present parameters; it stays as it is when training goes on."""

    def epoch(self, number: int) -> float:
        generator = np.random.default_rng([self.seed, number])
        with self.training(generator):
            losses = [self._step(loss) for loss in self.losses(number, generator)]
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

    def _step(self, loss: Tensor) -> float:
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        return loss.item()
