"""What every baseline is: a name, whether it needs an order, and a fit that ends in something that ranks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from model.errors import DataError
from model.history import Histories
from training.evaluate import Ranker

__all__ = ["Baseline", "Fitted", "Progress", "Settings", "check_data", "unsuited"]

Settings = Mapping[str, float]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Fitted:
    """A fitted baseline.

    Attributes:
        ranker: answers users.
        title: its name, for people.
        settings: what it was fitted with.
    """

    ranker: Ranker
    title: str
    settings: Settings

    def describe(self) -> str:
        """Name and settings, for people."""
        shown = (f"{name.replace('_', ' ')} {_shown(value)}" for name, value in self.settings.items())
        return ", ".join((self.title, *shown))


class Baseline(Protocol):
    """Something to be measured beside."""

    @property
    def name(self) -> str:
        """What it is chosen by."""
        ...

    @property
    def needs_order(self) -> bool:
        """Whether it makes no sense where histories are in no order."""
        ...

    @property
    def max_items(self) -> int | None:
        """The largest catalogue it can be fitted to, None for any."""
        ...

    @property
    def random(self) -> bool:
        """Whether a fit with the same settings depends on the seed."""
        ...

    def fit(
        self, search: Histories, stop: Histories, n_items: int, *, ordered: bool, seed: int, progress: Progress
    ) -> Fitted:
        """Choose settings, or epochs, by `training.evaluate.held_out_score` on `stop`, then fit to everything.

        Args:
            search: the older part of what may be learned from.
            stop: the newer part, rows as in `search`.
            n_items: catalogue size m.
            ordered: whether rows are in time order, newest last.
            seed: of all randomness.
            progress: told a phase, how much of it is done and how much it is at most.

        Raises:
            DataError: it needs an order and there is none, or one of the parts is empty.
        """
        ...


def unsuited(baseline: Baseline, *, ordered: bool, n_items: int) -> str | None:
    """Why a baseline is not for data with or without an order and m items, None if it is."""
    if baseline.needs_order and not ordered:
        return "needs data in time order"
    if baseline.max_items is not None and n_items > baseline.max_items:
        return f"is for at most {baseline.max_items:,} items, and there are {n_items:,}"
    return None


def check_data(name: str, search: Histories, stop: Histories, *, needs_order: bool, ordered: bool) -> None:
    """Refuse what a baseline that chooses by `stop` cannot be fitted to; see `Baseline.fit`."""
    if needs_order and not ordered:
        raise DataError(
            f"{name} needs interactions in time order, and these are in none",
            hint="leave it out, or import the data with timestamps or in time order",
        )
    for part, histories in (("learn from", search), ("choose settings by", stop)):
        if len(histories.items) == 0:
            raise DataError(
                f"{name} has nothing to {part}",
                hint="something is held out of histories of 3 interactions or more: add data",
            )


def _shown(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.3g}"
