"""The reverse process, and what it is mixed with."""

import math

import numpy as np

from model.kernels.build import Float32, compiled, f32_1, f32_2, f32_3, f64, void
from model.kernels.exponential import exponential
from model.kernels.products import TOGETHER, add_product, aligned

__all__ = ["denoise", "mix"]

LEAST_RADIUS = 1e-6  # below it, capping the radius changes nothing in float32


@compiled(fused=True, regrouped=True)
def _clamp(z: Float32, limit: float) -> None:
    """Shorten a vector to a radius."""
    squared = np.float32(0)
    for j in range(len(z)):
        squared += z[j] * z[j]
    if squared > limit * limit:
        scale = np.float32(limit / math.sqrt(squared))
        for j in range(len(z)):
            z[j] *= scale


@compiled(fused=True)
def _silu(x: Float32) -> None:
    for row in range(len(x)):
        values = x[row]
        for j in range(len(values)):
            values[j] = values[j] / (np.float32(1) + exponential(-values[j]))


@compiled(
    void,
    f32_2,
    f32_2,
    f32_1,
    f32_1,
    f64,
    f32_1,
    f32_1,
    f64,
    f32_2,
    f32_2,
    f32_2,
    f32_3,
    f32_2,
    f32_2,
    f32_1,
    fused=True,
)
def denoise(
    z_0: Float32,
    condition: Float32,
    anchor_weights: Float32,
    noise: Float32,
    start: float,
    kept: Float32,
    taken: Float32,
    limit: float,
    of_condition: Float32,
    of_z: Float32,
    biases: Float32,
    deeper: Float32,
    deeper_biases: Float32,
    head: Float32,
    head_bias: Float32,
) -> None:
    """The reverse process, `model.process.Process.reverse`, with all that does not depend on the row worked out.

    Args:
        z_0: (b, d), set to the estimate after the last step.
        condition: (b, c * d).
        anchor_weights: (c,); the anchor is the sum of the condition's vectors under them.
        noise: (d,), the start's, for an anchor of positive signs.
        start: share of the anchor in the start.
        kept, taken: (steps - 1,), shares of z_t and of z_0 in the next z_t.
        limit: greatest radius of z_t.
        of_condition: (c * d, w), of_z: (d, w), biases: (steps, w): the first layer.
        deeper: (layers, w, w), deeper_biases: (layers, w): hidden layers after the first.
        head: (w, d), head_bias: (d,): the last layer.
    """
    (b, d), (steps, w) = z_0.shape, biases.shape
    for first in range(0, b, TOGETHER):
        given = condition[first : first + TOGETHER]
        rows = len(given)
        told, x, y = aligned(rows, w), aligned(rows, w), aligned(rows, w)
        anchor, z_t, estimate = aligned(rows, d), aligned(rows, d), aligned(rows, d)
        told[:], anchor[:] = 0, 0
        add_product(told, 0, given, of_condition, 0, w)
        for row in range(rows):
            for q in range(len(anchor_weights)):
                for j in range(d):
                    anchor[row, j] += anchor_weights[q] * given[row, q * d + j]
            for j in range(d):
                z_t[row, j] = np.float32(start) * anchor[row, j] + np.sign(anchor[row, j]) * noise[j]
            _clamp(z_t[row], limit)
        for step in range(steps):
            for row in range(rows):
                for j in range(w):
                    x[row, j] = told[row, j] + biases[step, j]
            add_product(x, 0, z_t, of_z, 0, w)
            _silu(x)
            for layer in range(len(deeper)):
                for row in range(rows):
                    for j in range(w):
                        y[row, j] = deeper_biases[layer, j]
                add_product(y, 0, x, deeper[layer], 0, w)
                _silu(y)
                x, y = y, x
            for row in range(rows):
                for j in range(d):
                    estimate[row, j] = anchor[row, j] + head_bias[j]
            add_product(estimate, 0, x, head, 0, d)
            if step < steps - 1:
                for row in range(rows):
                    for j in range(d):
                        z_t[row, j] = kept[step] * z_t[row, j] + taken[step] * estimate[row, j]
                    _clamp(z_t[row], limit)
        for row in range(rows):
            for j in range(d):
                z_0[first + row, j] = estimate[row, j]


@compiled(void, f32_2, f32_2, f32_1, f32_3, f64, f64, f64, fused=True)
def mix(
    users: Float32,
    condition: Float32,
    base_weights: Float32,
    denoised: Float32,
    gate: float,
    scale: float,
    limit: float,
) -> None:
    """Users' vectors, `model.diffusion.UserDiffusion.mix`.

    Args:
        users: (b, d), set.
        condition: (b, c * d).
        base_weights: (h,), of the condition's first vectors.
        denoised: (p, b, d); none leaves the base.
        gate: share of their mean.
        scale: what the mixture is stretched by.
        limit: radius that is never reached.
    """
    b, d = users.shape
    for row in range(b):
        user = users[row]
        for j in range(d):
            user[j] = 0
        for q in range(len(base_weights)):
            for j in range(d):
                user[j] += base_weights[q] * condition[row, q * d + j]
        squared = np.float32(0)
        for j in range(d):
            if len(denoised):
                mean = np.float32(0)
                for p in range(len(denoised)):
                    mean += denoised[p, row, j]
                user[j] += np.float32(gate) * (mean / np.float32(len(denoised)) - user[j])
            user[j] *= np.float32(scale)
            squared += user[j] * user[j]
        radius = math.sqrt(squared)
        if radius > LEAST_RADIUS:
            capped = np.float32(limit * math.tanh(radius / limit) / radius)
            for j in range(d):
                user[j] *= capped
