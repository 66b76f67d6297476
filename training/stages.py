"""The stages one after the other, each on what the one before made."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from model.encoder import Encoding
from model.history import Histories
from training.attention_fit import Attended, AttentionStage
from training.config import TrainConfig
from training.corpus import Corpus
from training.diffusion_fit import DiffusionStage
from training.encoder_fit import EncoderStage, graph_of
from training.loop import Stage, State

__all__ = ["Length", "RunStage", "Stages", "most_epochs", "train_stages"]

RunStage = Callable[[Stage, str, int, int | None], State]


class Length(NamedTuple):
    """How long a stage is trained.

    Attributes:
        epochs: passes over the data.
        schedule: passes that its step sizes fall over.
    """

    epochs: int
    schedule: int


@dataclass(frozen=True)
class Stages:
    """What the stages made.

    Attributes:
        config: the settings, without an attention if it was given up.
        encoding: stage 1's vectors, before later stages moved the items.
        items: tangent vectors that items are ranked by, (m, d), as each stage left them, by name.
        diffusion: the last stage, with its best weights.
        states: the stages' final states by name: `best_epoch`, `best`, the score on what was held out, and others.
        schedules: epochs that the stages' step sizes were to fall over, by name.
    """

    config: TrainConfig
    encoding: Encoding
    items: dict[str, Tensor]
    diffusion: DiffusionStage
    states: dict[str, State]
    schedules: dict[str, int]

    @property
    def lengths(self) -> dict[str, Length]:
        """How long each stage was trained, up to its best epoch, by name."""
        return {name: Length(state["best_epoch"], self.schedules[name]) for name, state in self.states.items()}

    @property
    def score(self) -> float:
        """The best score of the whole model on what was held out."""
        return float(self.states[self.diffusion.name]["best"])


def train_stages(
    corpus: Corpus,
    config: TrainConfig,
    *,
    held_out: Histories | None,
    lengths: Mapping[str, Length] | None,
    seed: int,
    device: torch.device,
    run: RunStage,
) -> Stages:
    """Train all stages.

    An attention that does not predict what is held out better than means of the history do is given up: small data
    says too little about what follows what.

    Args:
        corpus: what to learn from.
        config: settings, resolved for this corpus.
        held_out: its users' next items; a stage stops when they are no longer predicted better. None does without.
        lengths: how long to train the stages, by name, where nothing is held out: that of a search, whose step sizes
            are then those that were found good. None for as long as is good.
        seed: of all randomness.
        device: where to compute.
        run: runs a stage under a name, for at most so many epochs and with so much patience (None: all epochs), and
            returns its state.
    """
    states: dict[str, State] = {}
    most = {name: Length(epochs, epochs) for name, epochs in most_epochs(corpus, config).items()}
    if lengths is not None:
        most = {name: lengths[name] for name in most}

    def trained(stage: Stage, share: float) -> None:
        epochs = most[stage.name].epochs
        states[stage.name] = run(stage, stage.name, epochs, None if held_out is None else math.ceil(share * epochs))

    encoder = EncoderStage(corpus, config, seed=seed, device=device, held_out=held_out)
    trained(encoder, config.encoder_fit.patience)
    encoding = encoder.encoding()
    items = {encoder.name: encoding.items}

    def diffusion(config: TrainConfig, attended: Attended | None) -> DiffusionStage:
        length = most[DiffusionStage.name].schedule
        return DiffusionStage(
            corpus, config, encoding, attended, epochs=length, seed=seed, device=device, held_out=held_out
        )

    if AttentionStage.name not in most:
        last = diffusion(config, None)
    else:
        length = most[AttentionStage.name].schedule
        attention = AttentionStage(corpus, config, encoding, epochs=length, seed=seed, device=device, held_out=held_out)
        trained(attention, config.attention_fit.patience)
        attended, without = attention.result(), config.without_attention()
        last = diffusion(config, attended)
        tested = held_out is not None and config.attention_fit.kept == "better"
        if tested and (plain := diffusion(without, None)).score() >= last.score():
            config, last = without, plain
        else:
            items[attention.name] = attended.items
    trained(last, config.diffusion_fit.patience)
    items[last.name] = last.result()[1]
    schedules = {name: length.schedule for name, length in most.items()}
    return Stages(config, encoding, items, last, states, schedules)


def most_epochs(corpus: Corpus, config: TrainConfig) -> dict[str, int]:
    """Of every stage there is, by name and in order."""
    first, second, third = config.encoder_fit, config.attention_fit, config.diffusion_fit
    most = {EncoderStage.name: first.epochs(len(graph_of(corpus, first)[0]))}
    if config.attention.length:
        most[AttentionStage.name] = second.epochs(len(corpus.histories.items))
    return most | {DiffusionStage.name: third.budget.epochs(len(corpus), third.batch_users)}
