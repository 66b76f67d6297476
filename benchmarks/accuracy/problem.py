"""The data of a benchmark: what is learned from, and who is asked what in each mode."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from model.errors import ConfigError
from model.history import Histories
from training.config import SplitConfig
from training.data.datasets import Dataset, read_dataset
from training.data.importers import ImportOptions, import_dataset
from training.splits import Split, make_split

__all__ = ["Mode", "Problem", "Query", "parse_live", "read_problem"]

Mode = Literal["paper", "live"]
LIVE_PARTS = ("valid", "test")


@dataclass(frozen=True)
class Query:
    """One protocol's question and its answer.

    Attributes:
        mode: paper, the question is the training histories; live, later interactions have been added to them.
        history: what a model is given, a row a user.
        masked: what it must not recommend.
        truth: what it should.
    """

    mode: Mode
    history: Histories
    masked: Histories
    truth: Histories


@dataclass(frozen=True)
class Problem:
    """Data to compare models on.

    Attributes:
        name: of the data.
        fingerprint: of the data.
        search, stop: what may be learned from, `stop` its newest part, which settings are chosen by.
        n_items: size m of the catalogue.
        ordered: whether rows are in time order.
        queries: one for each mode.
        protocol: for people.
        dropped: what was left out when the data was read, for people; None if nothing was.
    """

    name: str
    fingerprint: str
    search: Histories
    stop: Histories
    n_items: int
    ordered: bool
    queries: tuple[Query, ...]
    protocol: str
    dropped: str | None

    @property
    def train(self) -> Histories:
        """Everything that may be learned from."""
        return self.search.append(self.stop)

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """Interactions of each item in training: (m,)."""
        return np.bincount(self.train.items, minlength=self.n_items)


def parse_live(text: str) -> tuple[str, str]:
    """`HISTORY:TRUTH`, two different parts of `valid` and `test`.

    Raises:
        ConfigError: anything else.
    """
    history, _, truth = text.partition(":")
    if {history, truth} != set(LIVE_PARTS):
        raise ConfigError(
            f"--live {text}: expected HISTORY:TRUTH, one of them valid and the other test",
            hint="valid:test where `test` is the newest part; test:valid where `valid` is",
        )
    return history, truth


def read_problem(path: Path, *, order: Literal["none", "chronological"], live: str | None, seed: int) -> Problem:
    """From a pre-split `.npz` or a folder that `hdrm data` wrote.

    Args:
        path: the file or folder.
        order: whether pairs of an `.npz` stand in time order within a user.
        live: None, or which part comes first and which is the truth when models are asked later (`parse_live`).
        seed: of what is held out at random where there is no order.

    Raises:
        HdrmError: the data is unreadable or cannot be split, or `live` does not fit it.
    """
    parts = None if live is None else parse_live(live)
    dropped = None
    if path.is_dir():
        dataset = read_dataset(path)
    else:
        # a benchmark is taken as it is: pairs that stand twice count once
        imported = import_dataset(path, ImportOptions(order=order, max_bad=1.0))
        dataset = imported.dataset
        dropped = imported.rows.describe() if imported.rows.bad_count else None
    split = make_split(dataset, SplitConfig(), seed=seed)
    queries = [Query("paper", split.train, split.masked, split.test)]
    if parts is not None:
        queries.append(_live(dataset, split, *parts))
    return Problem(
        name=dataset.info.name,
        fingerprint=dataset.info.fingerprint,
        search=split.search,
        stop=split.stop,
        n_items=len(split.items),
        ordered=split.ordered,
        queries=tuple(queries),
        protocol=split.protocol,
        dropped=dropped,
    )


def _live(dataset: Dataset, split: Split, first: str, then: str) -> Query:
    history = split.train.append(getattr(split, first))
    truth: Histories = getattr(split, then)
    if not len(truth.items) or len(history.items) == len(split.train.items):
        raise ConfigError(
            f"--live {first}:{then}: {dataset.info.name} has no pairs in both parts",
            hint="it is for data that brings its own train, valid and test",
        )
    return Query("live", history, history, truth)
