"""What stages that train a module have in common: its states, and training that leaves torch's generators alone."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from training.loop import State, plain_tensors
from training.schedule import share_of_rate

__all__ = ["ModuleStage"]


class ModuleStage:
    """Part of a `training.loop.Stage`.

    Args:
        model: the module; it is set to evaluate.
        optimiser: of its parameters.
        device: where both are.
    """

    def __init__(self, model: nn.Module, optimiser: torch.optim.Optimizer, device: torch.device) -> None:
        self.model, self.optimiser, self.device = model.eval(), optimiser, device

    @contextmanager
    def training(self, generator: np.random.Generator) -> Iterator[None]:
        """An epoch in which the module trains. Dropout draws by a seed from `generator`."""
        self.model.train()
        # from torch's global generators, which are left as they were found
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(int(generator.integers(2**62)))
            yield
        self.model.eval()

    def schedule(self, rates: tuple[float, ...], epoch: float, epochs: int) -> None:
        """Set the step sizes of the optimiser's groups for a moment, `epoch` from 0 to `epochs`."""
        for group, rate in zip(self.optimiser.param_groups, rates, strict=True):
            group["lr"] = rate * share_of_rate(epoch, epochs)

    def weights(self) -> State:
        return plain_tensors(self.model.state_dict())

    def load_weights(self, weights: State) -> None:
        self.model.load_state_dict(weights)

    def optimiser_state(self) -> State:
        return plain_tensors(self.optimiser.state_dict())

    def load_optimiser_state(self, state: State) -> None:
        # torch would go on to change the given tensors in place
        self.optimiser.load_state_dict(plain_tensors(state))
