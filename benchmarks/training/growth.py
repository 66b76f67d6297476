"""Seconds an epoch and memory of training as the data grows, on synthetic interactions.

Every size is measured in a process of its own, so that its memory is its own.
"""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.apart import run_apart
from benchmarks.baselines.baseline import Progress
from benchmarks.memory import peak_rss
from benchmarks.synthetic import LEAST, synthesise
from benchmarks.training.document import Growth, Size
from model.errors import HdrmError
from training.attention_fit import AttentionStage
from training.config import TrainConfig, load_config
from training.corpus import Corpus
from training.diffusion_fit import DiffusionStage
from training.encoder_fit import EncoderStage, graph_of
from training.loop import Stage, State
from training.stages import Length, most_epochs, train_stages

__all__ = ["COLUMNS", "exponent", "exponents", "measure_growth", "measure_size"]

COLUMNS = (
    "users",
    "items",
    "prepare_seconds",
    "encoder_seconds",
    "attention_seconds",
    "diffusion_seconds",
    "cpu_seconds",
    "memory_bytes",
)


def measure_growth(
    sizes: Iterable[int],
    *,
    preset: str,
    changes: Sequence[str],
    seed: int,
    epochs: int,
    on_size: Callable[[int], None],
    on_phase: Progress,
) -> Growth:
    """Train for a few epochs at every size.

    Args:
        sizes: numbers of interactions.
        preset, changes: settings, as for `load_config`.
        seed: of data and training.
        epochs: of each stage.
        on_size: told the size that comes next.
        on_phase: told a phase of it, how much of it is done and how much it is; 0 where that is unknown.

    Raises:
        ConfigError: the settings are wrong.
    """
    config = load_config(preset, changes).resolved(ordered=True)
    measured: list[Size] = []
    failures: dict[str, str] = {}
    for interactions in sorted(set(sizes)):
        on_size(interactions)
        try:
            title = f"{interactions:,} interactions"
            measured.append(run_apart(measure_size, interactions, config, seed, epochs, title=title, progress=on_phase))
        except HdrmError as error:
            failures[str(interactions)] = error.message
    return Growth(
        preset=preset,
        changes=list(changes),
        seed=seed,
        epochs=epochs,
        sizes=measured,
        failures=failures,
        exponents=exponents(measured),
        last_exponents=exponents(measured[-2:]),
    )


def measure_size(interactions: int, config: TrainConfig, seed: int, epochs: int, on_phase: Progress) -> Size:
    """Train on so many interactions in this process, which has not done much before; see `measure_growth`."""
    on_phase("warming up", 0, 0)  # what is imported and allocated at the first use does not grow
    _train(synthesise(LEAST, seed=seed), config, seed, 1, lambda *_: None)
    before = peak_rss()
    on_phase("making data", 0, 0)
    corpus = synthesise(interactions, seed=seed)
    took = _train(corpus, config, seed, epochs, on_phase)
    peak, users, rows = peak_rss(), len(corpus), len(graph_of(corpus, config.encoder_fit)[0])
    return Size(
        interactions=interactions,
        users=users,
        items=corpus.n_items,
        prepare_seconds=took.prepare,
        encoder_seconds=took.epochs[EncoderStage.name],
        attention_seconds=took.epochs.get(AttentionStage.name, 0.0),
        diffusion_seconds=took.epochs[DiffusionStage.name],
        cpu_seconds=took.cpu,
        encoder_steps=math.ceil(rows / config.encoder_fit.step_rows(rows)),
        diffusion_steps=math.ceil(users / config.diffusion_fit.batch_users),
        memory_bytes=peak - before,
        process_bytes=peak,
    )


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """b of the least-squares fit log(value) = a + b log(size); needs two sizes, all numbers positive."""
    slope, _ = np.polyfit(np.log(sizes), np.log(values), 1)
    return float(slope)


def exponents(sizes: Sequence[Size]) -> dict[str, float]:
    """Of every column, by its name; none with fewer than two sizes."""
    if len(sizes) < 2:
        return {}
    interactions = [size.interactions for size in sizes]
    # a logarithm is taken, where there may have been memory enough before there was data, or is no such stage
    least = {"memory_bytes": 1.0, "attention_seconds": 1e-9}
    return {c: exponent(interactions, [max(getattr(s, c), least.get(c, 0.0)) for s in sizes]) for c in COLUMNS}


@dataclass(frozen=True)
class _Took:
    """Seconds for making the stages, of the fastest epoch of each by name, and CPU seconds of such epochs."""

    prepare: float
    epochs: dict[str, float]
    cpu: float


def _train(corpus: Corpus, config: TrainConfig, seed: int, epochs: int, on_phase: Progress) -> _Took:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    fastest: dict[str, float] = {}
    cpu = running = 0.0

    def run(stage: Stage, name: str, most: int, patience: int | None) -> State:
        nonlocal cpu, running
        began = time.perf_counter()
        fastest[name], used = _fastest_epoch(stage, name, epochs, on_phase)
        on_phase("making stages", 0, 0)
        running += time.perf_counter() - began
        cpu += used
        return {}

    on_phase("making stages", 0, 0)
    started = time.perf_counter()
    lengths = dict.fromkeys(most_epochs(corpus, config), Length(epochs, epochs))
    train_stages(corpus, config, held_out=None, lengths=lengths, seed=seed, device=device, run=run)
    return _Took(time.perf_counter() - started - running, fastest, cpu)


def _fastest_epoch(stage: Stage, name: str, epochs: int, on_phase: Progress) -> tuple[float, float]:
    """Least seconds and least CPU seconds."""
    seconds, cpu = [], []
    for number in range(1, epochs + 1):
        on_phase(name, number - 1, epochs)
        started, used = time.perf_counter(), time.process_time()
        stage.epoch(number)  # it returns a number, so a GPU has finished
        seconds.append(time.perf_counter() - started)
        cpu.append(time.process_time() - used)
    on_phase(name, epochs, epochs)
    return min(seconds), min(cpu)
