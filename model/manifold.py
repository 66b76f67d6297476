"""geoopt's Lorentz manifold and Riemannian optimiser, for training: the only module that knows geoopt.

Reference: [1] geoopt, https://github.com/geoopt/geoopt. Conventions as in model.geometry; geoopt's Lorentz(k=1) is
the same hyperboloid.
"""

from collections.abc import Iterable
from typing import Any, cast

import geoopt
import torch
from torch import Tensor

from model.geometry import exp0

__all__ = ["load_riemannian_adam", "manifold_parameter", "riemannian_adam"]

Parameters = Iterable[Tensor] | Iterable[dict[str, Any]]


def manifold_parameter(v: Tensor) -> geoopt.ManifoldParameter:
    """A trainable point exp0(v) that Riemannian optimisers keep on the manifold: (..., d) -> (..., d+1) float64.

    In float32 geoopt's exponential map turns into NaN after a few hundred steps of Riemannian Adam.
    """
    return geoopt.ManifoldParameter(exp0(v.double()), manifold=geoopt.Lorentz(k=1.0))


def riemannian_adam(parameters: Parameters, *, lr: float, weight_decay: float = 0.0) -> torch.optim.Optimizer:
    """geoopt's Riemannian Adam [1]; parameters that lie on no manifold take plain Adam steps.

    `stabilize=1` projects back after every step: float32 drifts off the hyperboloid otherwise.
    """
    optimiser = geoopt.optim.RiemannianAdam(parameters, lr=lr, weight_decay=weight_decay, stabilize=1)
    return cast(torch.optim.Optimizer, optimiser)


def load_riemannian_adam(optimiser: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Put a state taken with `state_dict` back, exactly.

    torch turns the step count into a float32 tensor when it loads; geoopt counts in Python integers and computes
    its bias corrections from them, so a continued run would drift from an uninterrupted one.
    """
    optimiser.load_state_dict(state)
    for moments in optimiser.state.values():
        moments["step"] = int(moments["step"])
