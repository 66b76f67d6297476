"""SASRec: self-attention over the history, trained to predict every next item among all items.

A user is a function of their newest items, so that histories never seen are served as well.
Symbols: b sequences of l tokens; m items, and one token more that stands before the first; d coordinates.
References: [1] Kang and McAuley, Self-Attentive Sequential Recommendation, ICDM 2018. [2] Klenitskiy and Vasilev,
Turning Dross Into Gold Loss: is BERT4Rec really better than SASRec?, RecSys 2023: its loss, the full softmax.
The step size falls along a cosine, as HDRM's does.
"""

from collections.abc import Iterator
from typing import Annotated, Self

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from benchmarks.baselines.baseline import Settings
from benchmarks.baselines.epochs import EpochStage
from benchmarks.baselines.space import Space
from model.config import Frozen
from model.dropout import Dropout
from model.history import Histories
from training.attention_fit import batches, cut
from training.config import Budget
from training.evaluate import ScoreRanker

__all__ = ["SPACE", "Sasrec", "SasrecConfig", "SasrecStage", "make_sasrec", "tokens"]

# a trial takes many minutes, so the dimension is HDRM's
SPACE: Space = {
    "dim": ("choice", (64,)),
    "layers": ("int", (1, 2)),
    "heads": ("choice", (1, 2)),
    "max_length": ("choice", (50, 100)),
    "dropout": ("float", (0.05, 0.5)),
    "learning_rate": ("log", (1e-3, 2e-2)),
}

BATCH_TOKENS = 2000
LEAST_STEPS = 10  # of an epoch, where the data are fewer
BUDGET = Budget(updates=3000, least_epochs=24)
PATIENCE = 8  # epochs


class SasrecConfig(Frozen):
    """Settings of SASRec."""

    dim: Annotated[int, Field(ge=1, le=1024)] = Field(64, description="dimension d of the embeddings")
    layers: Annotated[int, Field(ge=1, le=8)] = Field(2, description="blocks of self-attention")
    heads: Annotated[int, Field(ge=1, le=16)] = Field(1, description="heads of the attention; they divide dim")
    max_length: Annotated[int, Field(ge=1, le=1024)] = Field(50, description="newest interactions attended to")
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(0.2, description="dropout, of the embeddings too")
    learning_rate: Annotated[float, Field(gt=0, le=1)] = Field(
        3e-3, description="step size of Adam, falling along a cosine to almost nothing at the end of the budget"
    )

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.dim % self.heads:
            raise ValueError(f"heads ({self.heads}) must divide dim ({self.dim})")
        return self


class Sasrec(nn.Module):
    """The network [1, section 3], normalising before each layer.

    Args:
        n_items: catalogue size m.
        config: settings.
    """

    def __init__(self, n_items: int, config: SasrecConfig) -> None:
        super().__init__()
        d = config.dim
        self.n_items, self.max_length = n_items, config.max_length
        self.tokens = nn.Embedding(n_items + 1, d)
        self.places = nn.Embedding(config.max_length, d)
        for table in (self.tokens, self.places):
            nn.init.normal_(table.weight, std=d**-0.5)
        self.dropout = Dropout(config.dropout)
        layer = nn.TransformerEncoderLayer(
            d, config.heads, dim_feedforward=4 * d, dropout=config.dropout, batch_first=True, norm_first=True
        )
        for name in ("dropout", "dropout1", "dropout2"):
            setattr(layer, name, Dropout(config.dropout))  # whose masks are drawn faster
        self.blocks = nn.TransformerEncoder(layer, config.layers, norm=nn.LayerNorm(d), enable_nested_tensor=False)

    def forward(self, sequences: Tensor) -> Tensor:
        """What follows each token: (b, l) int64 -> (b, l, d). No token knows later ones, so padding goes last."""
        length = sequences.shape[1]
        x = self.dropout(self.tokens(sequences) + self.places.weight[:length])  # (b, l, d)
        mask = nn.Transformer.generate_square_subsequent_mask(length)
        following: Tensor = self.blocks(x, mask=mask, is_causal=True)
        return following

    @property
    def items(self) -> Tensor:
        """(m, d); logits are products with them."""
        return self.tokens.weight[: self.n_items]

    @torch.no_grad()
    def score(self, histories: Histories) -> npt.NDArray[np.float32]:
        """(b, m) float32: logits of the next item."""
        sequences = tokens(histories, self.n_items).last(self.max_length)
        x = self(torch.from_numpy(sequences.padded()))
        newest = x[torch.arange(len(sequences)), torch.from_numpy(sequences.lengths - 1)]
        scores: npt.NDArray[np.float32] = (newest @ self.items.T).numpy()
        return scores


class SasrecStage(EpochStage):
    """SASRec under training.

    Args:
        train: histories in time order.
        n_items: catalogue size m.
        config: settings.
        held_out: the users' next items, to score by; None does without.
        seed: of all randomness.
    """

    model: Sasrec

    def __init__(
        self, train: Histories, n_items: int, config: SasrecConfig, *, held_out: Histories | None, seed: int
    ) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = Sasrec(n_items, config)
        optimiser = torch.optim.Adam(model.parameters(), lr=config.learning_rate)
        interactions = len(train.items)
        epochs = BUDGET.epochs(interactions, min(BATCH_TOKENS, -(-interactions // LEAST_STEPS)))
        super().__init__(
            "sasrec",
            model.eval(),
            optimiser,
            train=train,
            held_out=held_out,
            seed=seed,
            epochs=epochs,
            patience=PATIENCE,
        )
        self.learning_rate = config.learning_rate

    def losses(self, number: int, generator: np.random.Generator) -> Iterator[Tensor]:
        pieces = cut(tokens(self.train, self.model.n_items), self.model.max_length, generator)
        size = max(min(BATCH_TOKENS, len(pieces.known.items) // LEAST_STEPS), 1)
        # of about the same length, so that little of a batch is padding
        steps = batches(pieces.known, size, generator, alike=True)
        for step, rows in enumerate(steps):
            self.schedule((self.learning_rate,), number - 1 + step / len(steps), self.epochs)
            yield self._loss(pieces.known.take(rows), pieces.following.take(rows))

    def ranker(self) -> ScoreRanker:
        return ScoreRanker(self.model)

    def _loss(self, sequences: Histories, following: Histories) -> Tensor:
        """Mean cross-entropy of the items that follow [2]."""
        x = self.model(torch.from_numpy(sequences.padded()))
        places = (torch.from_numpy(sequences.owners()), torch.from_numpy(sequences.positions()))
        targets = torch.from_numpy(following.items.astype(np.int64))
        return nn.functional.cross_entropy(x[places] @ self.model.items.T, targets)


def make_sasrec(
    train: Histories, n_items: int, settings: Settings, *, held_out: Histories | None, seed: int
) -> SasrecStage:
    """See `trained.MakeStage`."""
    return SasrecStage(train, n_items, SasrecConfig.model_validate(settings), held_out=held_out, seed=seed)


def tokens(histories: Histories, n_items: int) -> Histories:
    """Rows with the token `n_items` before their first item: none is empty."""
    starts = Histories.of([np.full(1, n_items, np.int32)] * len(histories))
    return starts.append(histories)
