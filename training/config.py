"""Settings of a training run: presets in TOML, changed by `section.key=value`."""

import json
import math
import tomllib
from collections.abc import Iterable
from importlib import resources
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, ValidationError

from model.config import UNIFORM, Frozen, ModelConfig
from model.errors import ConfigError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

__all__ = [
    "Budget",
    "DiffusionFitConfig",
    "EncoderFitConfig",
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
    least_epochs: Epochs = Field(20, description="but at least this many passes over the users")

    def epochs(self, users: int, batch_users: int) -> int:
        """Passes over so many users."""
        return max(math.ceil(self.updates / math.ceil(users / batch_users)), self.least_epochs)


class EncoderFitConfig(Frozen):
    """Stage 1."""

    loss: Literal["softmax", "hinge"] = Field(
        "softmax", description="softmax over -d^2/tau of all items, or the paper's hinge on one sampled negative"
    )
    budget: Budget = Budget(updates=300, least_epochs=20)
    patience: Epochs = Field(6, description="stop after this many epochs without a better NDCG@20 on what is held out")
    batch_users: Annotated[int, Field(ge=1)] = Field(1024, description="users per step")
    learning_rate: Rate = Field(0.05, description="step size of Riemannian Adam")
    tau: Annotated[float, Field(gt=0)] = Field(1.0, description="temperature of the softmax over -d^2/tau")
    norm_penalty: Annotated[float, Field(ge=0)] = Field(0.05, description="weight of the mean squared radius")
    margin: Annotated[float, Field(ge=0)] = Field(0.2, description="margin m of the hinge")


class DiffusionFitConfig(Frozen):
    """Stage 2."""

    budget: Budget = Budget(updates=300, least_epochs=30)
    patience: Epochs = Field(15, description="stop after this many epochs without a better NDCG@20 on what is held out")
    batch_users: Annotated[int, Field(ge=1)] = Field(1024, description="users per step")
    learning_rate: Rate = Field(
        2e-3, description="step size of AdamW, falling along a cosine to almost nothing at the end of the budget"
    )
    items_learning_rate: Annotated[float, Field(ge=0, le=1)] = Field(
        1e-3, description="step size for the items' vectors and messages; 0 leaves them as stage 1 made them"
    )
    weight_decay: Annotated[float, Field(ge=0)] = Field(0.1, description="weight decay of AdamW")
    tau: Annotated[float, Field(gt=0)] = Field(1.0, description="temperature of the softmax over -d^2/tau")
    horizon: Annotated[int, Field(ge=1)] = Field(
        20, description="how many of a user's next items are to be predicted; without an order, all that are left"
    )
    unordered_past: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.8, description="without an order, the least share of a history that is the past; with one, any share may be"
    )
    history_dropout: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.2, description="up to this share of each history is dropped in training"
    )
    reconstruction: Annotated[float, Field(ge=0)] = Field(
        0.05, description="weight of the squared error of z_0, in standardised units, against the ranking loss"
    )


class TrainConfig(ModelConfig):
    """The model's settings and how it is trained."""

    split: SplitConfig = SplitConfig()
    encoder_fit: EncoderFitConfig = EncoderFitConfig()
    diffusion_fit: DiffusionFitConfig = DiffusionFitConfig()

    def model_part(self) -> ModelConfig:
        """What the artifact needs to know."""
        return ModelConfig(**{name: getattr(self, name) for name in ModelConfig.model_fields})

    def unordered(self) -> "TrainConfig":
        """These settings for data without an order: recency says nothing there."""
        return self.model_copy(update={"history": self.history.model_copy(update={"half_lives": (UNIFORM,)})})


def preset_names() -> list[str]:
    """Names of the presets that come with the project."""
    files = resources.files("training").joinpath("presets").iterdir()
    return sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))


def load_config(preset: str, changes: Iterable[str] = ()) -> TrainConfig:
    """A preset with changes of the form `section.key=value` (values as in TOML; bare words are strings).

    Raises:
        ConfigError: no such preset, section or key, or a value out of range; the allowed are named.
    """
    if preset not in preset_names():
        raise ConfigError(f"preset: got {preset!r}, there are: {', '.join(preset_names())}")
    text = resources.files("training").joinpath("presets", f"{preset}.toml").read_text("utf-8")
    values = tomllib.loads(text)
    for change in changes:
        path, separator, raw = change.partition("=")
        if not separator:
            raise ConfigError(f"--set {change}: expected section.key=value, for example encoder.dim=32")
        *sections, key = path.strip().split(".")
        _known(TrainConfig, [*sections, key], path)
        target = values
        for section in sections:
            target = target.setdefault(section, {})
        target[key] = _value(raw.strip())
    try:
        # by way of JSON, whose arrays strict validation takes for tuples
        return TrainConfig.model_validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        raise ConfigError("settings: " + "; ".join(map(_problem, error.errors()))) from error


def _known(config: type[Frozen], path: list[str], shown: str) -> None:
    name, *rest = path
    field = config.model_fields.get(name)
    if field is None:
        raise ConfigError(f"--set {shown}: no {name!r} here; there are: {', '.join(config.model_fields)}")
    match field.annotation:
        case type() as section if issubclass(section, Frozen):
            if not rest:
                keys = ", ".join(section.model_fields)
                raise ConfigError(f"--set {shown}: {name!r} is a section; its keys are: {keys}")
            _known(section, rest, shown)
        case _ if rest:
            raise ConfigError(f"--set {shown}: {name!r} has no keys of its own")


def _problem(error: "ErrorDetails") -> str:
    if error["type"] == "value_error":  # between two settings, which the message names
        return f"{'.'.join([*map(str, error['loc']), ''])}{error['ctx']['error']}"
    return f"{'.'.join(map(str, error['loc']))}: {error['msg']}, got {error['input']!r}"


def _value(raw: str) -> Any:
    try:
        return tomllib.loads(f"value = {raw}")["value"]
    except tomllib.TOMLDecodeError:
        return raw
