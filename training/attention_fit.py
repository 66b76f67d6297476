"""Stage 2: learn what comes next by the newest items.

Every interaction of every history is predicted from those before it, as many contexts as there are interactions: the
diffusion, which sees one cut of a history in an epoch, would not learn so much of the order.
Loss: rank the next item before the others (training.losses). The items' vectors start as stage 1 made them, which saves
most of the epochs. What the attention is told of an item is its vector too, normalised: with a table of its own every
item would be learned twice, each time from half of what is known of it.
Symbols: m items, d coordinates, b pieces of histories, l the longest of them, n predicted interactions.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from model.attention import Attention
from model.encoder import Encoding
from model.geometry import cap_radius
from model.history import Histories
from model.noise import clamp_radius
from model.space import space
from training.config import TrainConfig
from training.corpus import Corpus
from training.evaluate import ScoreRanker, held_out_score
from training.losses import RankingLoss
from training.module_stage import ModuleStage

__all__ = ["Attended", "AttentionStage", "Pieces", "batches", "cut"]

HEAD_SCALE = 0.2  # with it, vectors are at first about as long as stage 1's


class Attended(NamedTuple):
    """What the stage learns.

    Attributes:
        attention: the block.
        items: tangent vectors that items are ranked by, (m, d); the attention is told them, normalised.
    """

    attention: Attention
    items: Tensor


class AttentionStage(ModuleStage):
    """The attention under training; see `training.loop.Stage`.

    Args:
        corpus: the data, in time order.
        config: settings.
        encoding: stage 1's result.
        epochs: length of the learning rate's schedule.
        seed: of all randomness.
        device: where to compute.
        held_out: the corpus's users' next items, to score by; None does without.
    """

    name = "attention"
    model: "_Model"

    def __init__(
        self,
        corpus: Corpus,
        config: TrainConfig,
        encoding: Encoding,
        *,
        epochs: int,
        seed: int,
        device: torch.device,
        held_out: Histories | None,
    ) -> None:
        self.corpus, self.config, self.seed = corpus, config, seed
        self.epochs, self.held_out = epochs, held_out
        self.fit = config.attention_fit
        histories = corpus.histories
        counts = np.bincount(histories.items, minlength=corpus.n_items)
        self.loss = RankingLoss(self.fit, counts, users=len(histories.items), geometry=config.encoder.space)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = _Model(config, encoding).to(device)
        super().__init__(model, torch.optim.Adam(model.parameters(), lr=self.fit.learning_rate), device)

    def epoch(self, number: int) -> float:
        generator = np.random.default_rng([self.seed, 7, number])
        pieces = cut(self.corpus.histories, self.config.attention.length, generator)
        steps = batches(pieces.known, self.fit.step_interactions(len(pieces.known.items)), generator, alike=True)
        losses = []
        with self.training(generator):
            for step, rows in enumerate(steps):
                self.schedule((self.fit.learning_rate,), number - 1 + step / len(steps), self.epochs)
                loss = self._loss(pieces, rows, generator)
                self.optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                self.optimiser.step()
                self._clamp()
                losses.append(loss.detach())
        return float(torch.stack(losses).mean())

    def score(self) -> float:
        if self.held_out is None:
            return math.nan
        return held_out_score(ScoreRanker(_Attending(self.model)), self.corpus.histories, self.held_out)

    @torch.no_grad()
    def result(self) -> Attended:
        """What is learned as it is now."""
        return Attended(self.model.attention, self.model.items.detach())

    def _loss(self, pieces: "Pieces", rows: npt.NDArray[np.int64], generator: np.random.Generator) -> Tensor:
        known, following = pieces.known.take(rows), pieces.following.take(rows)
        told = nn.functional.embedding(torch.from_numpy(known.padded()).to(self.device), self.model.items)
        predicted = self.model.attention(told, torch.from_numpy(known.lengths).to(self.device))
        users = cap_radius(predicted, limit=self.config.encoder.max_radius)  # (n, d)
        n = len(following.items)
        targets = Histories(np.arange(n + 1), following.items)
        return self.loss(users, self.model.items, targets, None, users.new_full((n,), 1 / n), generator)

    @torch.no_grad()
    def _clamp(self) -> None:
        """Keep items within the radius that is ranked reliably."""
        self.model.items.copy_(clamp_radius(self.model.items, limit=self.config.encoder.max_radius))


class _Model(nn.Module):
    """All that the stage learns.

    Args:
        config: settings.
        encoding: where the items' vectors start.
    """

    def __init__(self, config: TrainConfig, encoding: Encoding) -> None:
        super().__init__()
        d = config.encoder.dim
        self.max_radius, self.geometry = config.encoder.max_radius, config.encoder.space
        self.attention = Attention(d, config.attention)
        nn.init.orthogonal_(self.attention.head.weight, gain=HEAD_SCALE)
        self.items = nn.Parameter(encoding.items.clone())


class _Attending:
    """Scores users by what comes next."""

    def __init__(self, model: _Model) -> None:
        self.model = model

    @torch.no_grad()
    def score(self, histories: Histories) -> npt.NDArray[np.float32]:
        model = self.model
        users = cap_radius(model.attention.newest(histories, model.items), limit=model.max_radius)
        scores: npt.NDArray[np.float32] = -space(model.geometry).pairwise_square(users, model.items).cpu().numpy()
        return scores


class Pieces(NamedTuple):
    """Parts of histories, and the item that follows each of theirs."""

    known: Histories
    following: Histories


def cut(histories: Histories, length: int, generator: np.random.Generator) -> Pieces:
    """Cut all but the last interaction of each history into pieces of at most so many, at places drawn anew."""
    owners, before = histories.owners(), histories.ages() > 0
    shifts = generator.integers(0, length, len(histories)) * (histories.lengths - 1 > length)
    numbers = ((histories.positions() + shifts[owners]) // length)[before]
    owners = owners[before]
    firsts = np.flatnonzero((np.diff(owners, prepend=-1) != 0) | (np.diff(numbers, prepend=-1) != 0))
    indptr = np.append(firsts, len(owners))
    after = histories.positions() > 0
    return Pieces(Histories(indptr, histories.items[before]), Histories(indptr, histories.items[after]))


def batches(
    rows: Histories, interactions: int, generator: np.random.Generator, *, alike: bool = False
) -> list[npt.NDArray[np.int64]]:
    """The rows in random order, in groups of about so many interactions; with `alike`, groups of about equal rows."""
    order = generator.permutation(len(rows))
    if alike:
        order = order[np.argsort(rows.lengths[order], kind="stable")]
    ends = np.cumsum(rows.lengths[order])
    groups = np.split(order, np.flatnonzero(np.diff((ends - 1) // interactions)) + 1)
    return [groups[i] for i in generator.permutation(len(groups))] if alike else groups
