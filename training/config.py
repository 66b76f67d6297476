"""Settings of a training run: presets in TOML, changed by `section.key=value`."""

import math
import tomllib
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from model.config import Frozen, ModelConfig
from model.errors import ConfigError
from training.changes import check_path, put, read_change, validated

__all__ = [
    "AttentionFitConfig",
    "Budget",
    "DiffusionFitConfig",
    "EncoderFitConfig",
    "RankingConfig",
    "SplitConfig",
    "TrainConfig",
    "load_config",
    "preset_names",
]

Share = Annotated[float, Field(gt=0, lt=0.5)]
Epochs = Annotated[int, Field(ge=1, le=100_000)]
Rate = Annotated[float, Field(gt=0, le=1)]


class SplitConfig(Frozen):
    """How interactions that come without a split of their own are held out."""

    by: Literal["user", "time"] = Field(
        "user",
        description="user: the newest share of every user's interactions; "
        "time: everything after a point in time, the same for all users",
    )
    test: Share = Field(0.1, description="share of a history held out to report on, its newest part")
    stop: Share = Field(
        0.1, description="share of what is left held out while looking for the moment to stop, learned from afterwards"
    )


class Budget(Frozen):
    """How long a stage may take: small data needs more passes for as many optimiser steps."""

    updates: Annotated[int, Field(ge=1)] = Field(300, description="optimiser steps")
    least_epochs: Epochs = Field(20, description="but at least this many passes over the data")

    def epochs(self, rows: int, step_rows: int) -> int:
        """Passes over so many rows."""
        return max(math.ceil(self.updates / math.ceil(rows / step_rows)), self.least_epochs)


class RankingConfig(Frozen):
    """How a stage learns to rank a user's items before the others, and when it has learned enough."""

    loss: Literal["softmax", "hinge"] = Field(
        "softmax", description="softmax over -d^2/tau of all items, or the paper's hinge on random items"
    )
    tau: Annotated[float, Field(gt=0)] = Field(1.0, description="temperature of the softmax over -d^2/tau")
    full_up_to: Annotated[int, Field(ge=1)] = Field(
        10**9,
        description="where users x items are more than this, the softmax is estimated from a sample of the catalogue",
    )
    samples: Annotated[int, Field(ge=1)] = Field(4096, description="size of that sample, drawn anew for every step")
    patience: Annotated[float, Field(gt=0, le=1)] = Field(
        0.3, description="share of the budget's epochs without a better score on what is held out after which it stops"
    )
    margin: Annotated[float, Field(ge=0)] = Field(0.2, description="margin m of the hinge")
    negatives: Annotated[int, Field(ge=1)] = Field(
        1, description="for the hinge: random items for each of a user's, the nearest of which counts"
    )


class EncoderFitConfig(RankingConfig):
    """Stage 1."""

    budget: Budget = Budget(updates=300, least_epochs=20)
    batch_users: Annotated[int, Field(ge=1)] = Field(1024, description="rows of the graph per step, at least")
    most_steps: Annotated[int, Field(ge=1)] = Field(
        20, description="steps per epoch at most: each propagates over the whole graph, so more users take larger steps"
    )
    learning_rate: Rate = Field(0.05, description="step size of Riemannian Adam")
    piece_length: Annotated[int, Field(ge=2)] | Literal["whole"] = Field(
        30,
        description="in time order, a history is in the graph in pieces of so many interactions, so that items are "
        "near that are taken up at about the same time; or whole",
    )
    norm_penalty: Annotated[float, Field(ge=0)] = Field(0.05, description="weight of the mean squared radius")

    def step_rows(self, rows: int) -> int:
        """Rows of the graph per step, of so many in all."""
        return max(self.batch_users, math.ceil(rows / self.most_steps))

    def epochs(self, rows: int) -> int:
        """Passes at most over a graph of so many rows."""
        return self.budget.epochs(rows, self.step_rows(rows))


class AttentionFitConfig(RankingConfig):
    """Stage 2, where there is an order."""

    kept: Literal["better", "always"] = Field(
        "better",
        description="better: a model whose attention predicts what is held out no better than means of the history do "
        "goes without; or always",
    )
    budget: Budget = Budget(updates=300, least_epochs=6)
    full_up_to: Annotated[int, Field(ge=1)] = Field(
        10**7,
        description="where interactions x items are more than this, the softmax is estimated from a sample of the "
        "catalogue",
    )
    samples: Annotated[int, Field(ge=1)] = Field(1024, description="size of that sample, drawn anew for every step")
    batch_interactions: Annotated[int, Field(ge=1)] = Field(2500, description="interactions per step, about, at least")
    most_steps: Annotated[int, Field(ge=1)] = Field(
        2000, description="steps per epoch at most: each changes all items, so more interactions take larger steps"
    )
    learning_rate: Rate = Field(
        1e-2, description="step size of Adam, falling along a cosine to almost nothing at the end of the budget"
    )

    def step_interactions(self, interactions: int) -> int:
        """Interactions per step, of so many in all."""
        return max(self.batch_interactions, math.ceil(interactions / self.most_steps))

    def epochs(self, interactions: int) -> int:
        """Passes at most over so many interactions."""
        return self.budget.epochs(interactions, self.step_interactions(interactions))


class DiffusionFitConfig(RankingConfig):
    """Stage 3."""

    budget: Budget = Budget(updates=300, least_epochs=30)
    batch_users: Annotated[int, Field(ge=1)] = Field(1024, description="users per step")
    learning_rate: Rate = Field(
        2e-3, description="step size of AdamW, falling along a cosine to almost nothing at the end of the budget"
    )
    items_learning_rate: Annotated[float, Field(ge=0, le=1)] = Field(
        1e-3, description="step size for the items' vectors and messages; 0 leaves them as the stages before made them"
    )
    weight_decay: Annotated[float, Field(ge=0)] = Field(0.1, description="weight decay of AdamW")
    horizon: Annotated[int, Field(ge=1)] | Literal["rest"] = Field(
        20, description="how many of the items after the cut are to be predicted, or all the rest"
    )
    least_past: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="least share of a history that is the past when it is cut"
    )
    history_dropout: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.2, description="up to this share of each history is dropped in training"
    )
    noised: Literal["estimate", "truth"] = Field(
        "estimate",
        description="what training noises: what is known when serving, the anchor and the first prediction from it; "
        "or, as published, the clean vector",
    )
    reconstruction: Annotated[float, Field(ge=0)] = Field(
        0.05, description="weight of the squared error of z_0, in standardised units, against the ranking loss"
    )


class TrainConfig(ModelConfig):
    """The model's settings and how it is trained."""

    order: Literal["used", "ignored"] = Field("used", description="whether the model makes use of histories' order")
    split: SplitConfig = SplitConfig()
    encoder_fit: EncoderFitConfig = EncoderFitConfig()
    attention_fit: AttentionFitConfig = AttentionFitConfig()
    diffusion_fit: DiffusionFitConfig = DiffusionFitConfig()
    unordered: dict[str, Any] = Field(
        {}, description="settings that take the place of others where there is no order or it is ignored"
    )

    def model_part(self) -> ModelConfig:
        """What the artifact needs to know."""
        return ModelConfig(**{name: getattr(self, name) for name in ModelConfig.model_fields})

    def without_attention(self) -> "TrainConfig":
        """The same settings for a model that does without."""
        return self.model_copy(update={"attention": self.attention.model_copy(update={"length": 0})})

    def resolved(self, *, ordered: bool) -> "TrainConfig":
        """The settings for data that has an order or none, nothing left to replace.

        Raises:
            ConfigError: the settings for unordered data are wrong.
        """
        values = self.model_dump(mode="json")
        instead = values.pop("unordered")
        if not ordered or self.order == "ignored":
            values["order"] = "ignored"
            for path, value in instead.items():
                put(values, path, value)
        return validated(TrainConfig, values, "settings")


def preset_names() -> list[str]:
    """Names of the presets that come with the project."""
    files = resources.files("training").joinpath("presets").iterdir()
    return sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))


def load_config(preset: str, changes: Iterable[str] = ()) -> TrainConfig:
    """A preset with changes of the form `section.key=value` (values as in TOML; bare words are strings).

    Args:
        preset: the name of one that comes with the project, or the path of a file that ends in `.toml`.
        changes: settings that differ from the preset's; later ones win.

    Raises:
        ConfigError: no such preset, section or key, or a value out of range; the allowed are named.
    """
    values = _merged(TrainConfig().model_dump(mode="json"), _read_preset(preset))
    for change in changes:
        path, value = read_change(TrainConfig, change, option="--set", example="encoder.dim=32")
        put(values, path, value)
        values.get("unordered", {}).pop(path, None)  # what is asked for holds with and without an order
    config = validated(TrainConfig, values, "settings")
    config.resolved(ordered=False)
    return config


def _read_preset(preset: str) -> dict[str, Any]:
    if preset in preset_names():
        return tomllib.loads(resources.files("training").joinpath("presets", f"{preset}.toml").read_text("utf-8"))
    if not preset.endswith(".toml"):
        there_are = f"there are: {', '.join(preset_names())}; or give the path of a file that ends in .toml"
        raise ConfigError(f"preset: got {preset!r}, {there_are}")
    try:
        values = tomllib.loads(Path(preset).read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"preset {preset}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # not TOML, or not UTF-8
        raise ConfigError(f"preset {preset}: not a TOML file: {error}") from error
    # so that what is put into the values meets sections where it expects them
    for path in validated(TrainConfig, values, f"preset {preset}").unordered:
        check_path(TrainConfig, path, f"preset {preset}, unordered {path}")
    return values


def _merged(values: dict[str, Any], others: dict[str, Any]) -> dict[str, Any]:
    """Sections of both, the others' values where both have one."""
    sections = {
        name: _merged(values[name], other)
        for name, other in others.items()
        if isinstance(values.get(name), dict) and isinstance(other, dict)
    }
    return values | others | sections
