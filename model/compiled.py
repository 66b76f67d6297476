"""The users' side of the model in the form that answers requests: one ONNX graph from conditions to vectors.

It computes what `model.diffusion.UserDiffusion.forward` computes, to float32 rounding, with everything that does not
depend on the user worked out beforehand: the condition's part of the first layer, which is the same at every step;
the time embedding's; the standardisation, which is folded into the weights; the coefficients of each step. ONNX
Runtime keeps the weights packed, so that one row costs no more than reading them, and rounds a row in the same way
whatever the number of rows: a user has one vector, bit for bit, in any batch. Nothing of it holds the interpreter's
lock.

Symbols as in model.process; x a tensor of the graph, by its name.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import InferenceSession, SessionOptions
from torch import Tensor, nn

from model.denoiser import time_embedding
from model.diffusion import UserDiffusion
from model.noise import sampling_times
from model.process import Process

__all__ = ["CompiledDiffusion"]

Float32 = npt.NDArray[np.float32]

OPSET, IR_VERSION = 17, 8
CONDITION, USERS = "condition", "users"
LEAST_RADIUS = 1e-6  # below it, capping the radius changes nothing in float32
ERRORS_ONLY = 3


class CompiledDiffusion:
    """A diffusion with a fixed number of reverse steps, on one thread.

    Args:
        diffusion: the trained modules, on the CPU.
        steps: reverse steps, 0 to T.

    Raises:
        ValueError: steps outside that range.
    """

    def __init__(self, diffusion: UserDiffusion, steps: int) -> None:
        options = SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = ERRORS_ONLY
        with torch.inference_mode():
            graph = _users_graph(diffusion, steps)
        self._session = InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def __call__(self, condition: Float32) -> Float32:
        """(b, c, d) float32, contiguous -> (b, d) float32."""
        b, c, d = condition.shape
        rows: Float32 = self._session.run(None, {CONDITION: condition.reshape(b, c * d)})[0]
        return rows


class _Graph:
    """Constants and nodes, added one by one."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, value: Tensor | float) -> str:
        array = torch.as_tensor(value).float().contiguous().numpy()
        self.constants.append(numpy_helper.from_array(array, f"constant_{len(self.constants)}"))
        name: str = self.constants[-1].name
        return name

    def add(self, operator: str, *inputs: str | Tensor | float, **attributes: Any) -> str:
        """The result's name; inputs are names, or constants."""
        names = [x if isinstance(x, str) else self.constant(x) for x in inputs]
        output = f"x_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, names, [output], **attributes))
        return output

    def radius(self, x: str) -> str:
        return self.add("ReduceL2", x, axes=[-1], keepdims=1)

    def serialised(self, result: str, *, conditions: int, dim: int) -> bytes:
        """The model: (b, conditions * dim) -> (b, dim)."""
        self.nodes.append(helper.make_node("Identity", [result], [USERS]))
        given = helper.make_tensor_value_info(CONDITION, TensorProto.FLOAT, ["b", conditions * dim])
        made = helper.make_tensor_value_info(USERS, TensorProto.FLOAT, ["b", dim])
        graph = helper.make_graph(self.nodes, "users", [given], [made], self.constants)
        opset = helper.make_opsetid("", OPSET)
        model: bytes = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION).SerializeToString()
        return model


def _users_graph(diffusion: UserDiffusion, steps: int) -> bytes:
    """The graph of `UserDiffusion.forward`."""
    graph, dim = _Graph(), diffusion.config.encoder.dim
    half_lives = len(diffusion.base_weights)
    conditions = half_lives if diffusion.user is None else half_lives + 1
    unit = torch.eye(dim)
    weights = torch.cat((diffusion.base_weights, torch.zeros(conditions - half_lives)))
    base = graph.add("MatMul", CONDITION, torch.kron(weights[:, None], unit))
    denoised = []
    if steps and diffusion.user is None:
        denoised = [_reverse(graph, diffusion.item, base, slice(0, half_lives), conditions, steps)]
    elif steps and diffusion.user is not None:
        newest = torch.kron(torch.eye(conditions)[:, -1:], unit)
        items = graph.add("MatMul", CONDITION, newest)
        denoised = [
            _reverse(graph, diffusion.item, items, slice(0, half_lives), conditions, steps),
            _reverse(graph, diffusion.user, base, slice(half_lives, conditions), conditions, steps),
        ]
    mixed = base
    if denoised:
        mean = graph.add("Mean", *denoised)
        mixed = graph.add("Add", base, graph.add("Mul", graph.add("Sub", mean, base), diffusion.gate))
    scaled = graph.add("Mul", mixed, diffusion.log_scale.exp())
    return graph.serialised(_capped(graph, scaled, diffusion.config.encoder.max_radius), conditions=conditions, dim=dim)


def _reverse(graph: _Graph, process: Process, anchor: str, given: slice, conditions: int, steps: int) -> str:
    """`Process.reverse`; `given` says which of all the condition's vectors the network is told."""
    config, network, sigma = process.config, process.denoiser, process.sigma
    first, *deeper = [layer for layer in network.body if isinstance(layer, nn.Linear)]
    dim, hidden = len(sigma), first.out_features
    n_given = given.stop - given.start
    # z_t, the condition's vectors and the time are columns of the first layer's weight, one after the other
    of_z, of_condition, of_time = torch.split(first.weight.double(), [dim, n_given * dim, network.time_dim], dim=1)
    of_all = torch.zeros(conditions, dim, hidden, dtype=torch.float64)
    of_all[given] = of_condition.T.reshape(n_given, dim, hidden) / sigma[:, None]
    told = graph.add("MatMul", CONDITION, of_all.flatten(0, 1))
    # constants of all steps, so that there is one of each
    entry = graph.constant((of_z / sigma).T)
    body = [(graph.constant(layer.weight.T), graph.constant(layer.bias)) for layer in deeper]
    head = graph.constant(network.head.weight.T * sigma), graph.constant(network.head.bias * sigma)
    times = sampling_times(config.timesteps, steps)
    levels = process.levels.double()
    level = levels[times[0]]
    z_t = graph.add("Mul", anchor, level.sqrt())
    if config.kind == "directional":  # of the other kinds there is no noise at eps = 0; this never leaves the side
        noise = graph.add("Mul", graph.add("Sign", anchor), (1 - level).sqrt() * process.mu.abs())
        z_t = graph.add("Add", z_t, noise)
    z_t, z_0 = _clamped(graph, z_t, process), anchor
    for t, earlier in zip(times, [*times[1:], 0], strict=True):
        embedded = time_embedding(torch.tensor([t / config.timesteps]), network.time_dim).double()
        bias = (embedded @ of_time.T).squeeze(0) + first.bias
        x = _silu(graph, graph.add("Add", graph.add("Add", graph.add("MatMul", z_t, entry), told), bias))
        for weight, offset in body:
            x = _silu(graph, graph.add("Add", graph.add("MatMul", x, weight), offset))
        z_0 = graph.add("Add", anchor, graph.add("Add", graph.add("MatMul", x, head[0]), head[1]))
        if earlier:
            # z_0 and the noise it implies, at the earlier level
            kept = ((1 - levels[earlier]) / (1 - levels[t])).sqrt()
            taken = levels[earlier].sqrt() - kept * levels[t].sqrt()
            z_t = graph.add("Add", graph.add("Mul", z_t, kept), graph.add("Mul", z_0, taken))
            z_t = _clamped(graph, z_t, process)
    return z_0


def _silu(graph: _Graph, x: str) -> str:
    return graph.add("Mul", x, graph.add("Sigmoid", x))


def _clamped(graph: _Graph, z: str, process: Process) -> str:
    """`clamp_radius`, where the settings ask for it."""
    if not process.config.radial:
        return z
    longest = graph.add("Max", graph.radius(z), process.max_radius)
    return graph.add("Mul", z, graph.add("Div", process.max_radius, longest))


def _capped(graph: _Graph, v: str, limit: float) -> str:
    """`cap_radius`: tanh(r) / r is 1 to float32 precision below the least radius."""
    share = graph.add("Max", graph.add("Div", graph.radius(v), limit), LEAST_RADIUS / limit)
    return graph.add("Mul", v, graph.add("Div", graph.add("Tanh", share), share))
