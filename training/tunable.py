"""What `hdrm tune` may vary, and between which bounds."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from model.errors import ConfigError
from training.config import TrainConfig

__all__ = ["TUNABLE", "Choice", "Kind", "Real", "Whole", "named", "suited", "value_of"]


@dataclass(frozen=True)
class Whole:
    """Whole numbers from `low` to `high`, both included; `log` spreads them evenly over decades."""

    low: int
    high: int
    log: bool = False

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int) and self.low <= value <= self.high

    def __str__(self) -> str:
        return f"a whole number from {self.low} to {self.high}"


@dataclass(frozen=True)
class Real:
    """Numbers from `low` to `high`; `log` spreads them evenly over decades."""

    low: float
    high: float
    log: bool = False

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int | float) and self.low <= value <= self.high

    def __str__(self) -> str:
        return f"a number from {self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class Choice:
    """One of some values, in no particular order."""

    values: tuple[int | float | str, ...]

    def __contains__(self, value: object) -> bool:
        return value in self.values

    def __str__(self) -> str:
        return ", ".join(map(str, self.values))


Kind = Whole | Real | Choice

TUNABLE: Final[Mapping[str, Kind]] = {
    "encoder.dim": Choice((32, 64, 128, 192, 256)),
    "encoder.layers": Whole(1, 4),
    "encoder_fit.learning_rate": Real(0.005, 0.2, log=True),
    "encoder_fit.tau": Real(0.25, 4.0, log=True),
    "encoder_fit.margin": Real(0.02, 2.0, log=True),
    "encoder_fit.negatives": Whole(1, 200, log=True),
    "encoder_fit.norm_penalty": Real(0.005, 0.5, log=True),
    "denoiser.hidden": Whole(128, 2048, log=True),
    "denoiser.depth": Whole(1, 3),
    "denoiser.dropout": Real(0.0, 0.6),
    "attention.dropout": Real(0.0, 0.6),
    "attention.heads": Whole(1, 4),
    "attention_fit.learning_rate": Real(1e-3, 3e-2, log=True),
    "diffusion_fit.learning_rate": Real(3e-4, 1e-2, log=True),
    "diffusion_fit.items_learning_rate": Real(1e-4, 1e-2, log=True),
    "diffusion_fit.weight_decay": Real(1e-3, 1.0, log=True),
    "diffusion_fit.tau": Real(0.25, 4.0, log=True),
    "diffusion_fit.margin": Real(0.02, 2.0, log=True),
    "diffusion_fit.negatives": Whole(1, 200, log=True),
    "diffusion_fit.horizon": Whole(3, 60, log=True),
    "diffusion_fit.history_dropout": Real(0.0, 0.6),
    "diffusion_fit.reconstruction": Real(0.005, 0.5, log=True),
}

OF_LOSS: Final = {"softmax": ("tau",), "hinge": ("margin", "negatives")}
OF_ATTENTION: Final = ("attention", "attention_fit")


def named(names: Iterable[str]) -> dict[str, Kind]:
    """These settings and their kinds, in the order of `TUNABLE`.

    Raises:
        ConfigError: a name that is not among them; those that are, are named.
    """
    wanted = set(names)
    if unknown := wanted - TUNABLE.keys():
        raise ConfigError(
            f"--vary {min(unknown)}: not a setting that can be varied; there are: {', '.join(TUNABLE)}",
            hint="set a value that stays the same in all trials with --set section.key=value",
        )
    return {name: kind for name, kind in TUNABLE.items() if name in wanted}


def suited(config: TrainConfig) -> dict[str, Kind]:
    """The settings worth varying around given ones: those that are used, with a value within the bounds.

    Not used are those of other losses, and those of an attention that there is not. A value outside is a decision, such
    as not to learn the items with the diffusion, and not a matter of tuning.
    """

    def used(name: str) -> bool:
        section, key = name.split(".")
        if section in OF_ATTENTION and config.attention.length == 0:
            return False
        loss = getattr(getattr(config, section), "loss", None)
        return not any(key in keys for other, keys in OF_LOSS.items() if other != loss)

    return {name: kind for name, kind in TUNABLE.items() if used(name) and value_of(config, name) in kind}


def value_of(config: TrainConfig, name: str) -> object:
    """The value of a setting, given as `section.key`."""
    section, key = name.split(".")
    value: object = getattr(getattr(config, section), key)
    return value
