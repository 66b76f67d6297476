"""Stage 1: learn the encoder's embeddings, so that users lie near their items.

The graph's rows are the users' histories or, in time order, pieces of them: nearness then means to be taken up at about
the same time, not only by the same person.
Loss: rank a row's items before the others (training.losses), and a penalty on radii.
Symbols: n users, b rows of a batch, m items, d coordinates.
"""

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.config import EncoderConfig
from model.encoder import Encoding, GraphEncoder, Propagation
from model.geometry import cap_radius
from model.history import Histories
from model.manifold import load_riemannian_adam, riemannian_adam
from model.means import mean_vectors
from model.space import space
from training.config import EncoderFitConfig, TrainConfig
from training.corpus import Corpus
from training.evaluate import ScoreRanker, held_out_score
from training.loop import State, plain_tensors
from training.losses import RankingLoss
from training.module_stage import ModuleStage

__all__ = ["EncoderStage", "graph_of"]

Int64 = npt.NDArray[np.int64]


class EncoderStage(ModuleStage):
    """The encoder under training; see `training.loop.Stage`.

    Args:
        corpus: the data.
        config: settings; `encoder` and `encoder_fit` matter here.
        seed: of all randomness.
        device: where to compute.
        held_out: the corpus's users' next items, to score by; None does without.
    """

    name = "encoder"
    model: GraphEncoder

    def __init__(
        self, corpus: Corpus, config: TrainConfig, *, seed: int, device: torch.device, held_out: Histories | None
    ) -> None:
        self.corpus, self.config, self.seed = corpus, config.encoder_fit, seed
        self.held_out = held_out
        self.graph, self.newest = graph_of(corpus, config.encoder_fit)
        generator = torch.Generator().manual_seed(seed)
        model = GraphEncoder(len(self.graph), corpus.n_items, config.encoder, generator=generator).to(device)
        super().__init__(model, riemannian_adam(model.parameters(), lr=self.config.learning_rate), device)
        self.propagate = Propagation(self.graph, corpus.n_items, device)
        counts = np.bincount(corpus.histories.items, minlength=corpus.n_items)
        self.loss = RankingLoss(self.config, counts, users=len(self.graph), geometry=config.encoder.space)

    def epoch(self, number: int) -> float:
        generator = np.random.default_rng([self.seed, 1, number])
        rows = generator.permutation(np.flatnonzero(self.graph.lengths))
        step = self.config.step_rows(len(rows))
        losses = []
        for start in range(0, len(rows), step):
            self.optimiser.zero_grad()
            losses.append(self._backward(rows[start : start + step], generator))
            self.optimiser.step()
        return float(np.mean(losses))

    @torch.no_grad()
    def encoding(self) -> Encoding:
        """The encoder's present output; a user is where the newest piece of their history is."""
        encoding: Encoding = self.model(self.propagate)
        return encoding._replace(users=encoding.users[torch.from_numpy(self.newest).to(self.device)])

    def score(self) -> float:
        if self.held_out is None:
            return math.nan
        piece = self.config.piece_length
        newest = piece if isinstance(piece, int) and self.corpus.ordered else None
        ranker = ScoreRanker(_Means(self.encoding(), self.model.config, newest))
        return held_out_score(ranker, self.corpus.histories, self.held_out)

    def load_optimiser_state(self, state: State) -> None:
        load_riemannian_adam(self.optimiser, plain_tensors(state))

    def _backward(self, rows: Int64, generator: np.random.Generator) -> float:
        """Gradients of the loss of some rows; returns it.

        The graph is propagated over once; the rows' part of the loss is taken in batches of bounded size.
        """
        encoding: Encoding = self.model(self.propagate)
        # the encoding's own gradients are gathered first and sent through the graph together
        u_all, items = encoding.users.detach().requires_grad_(), encoding.items.detach().requires_grad_()
        pairs = int(self.graph.lengths[rows].sum())
        total = 0.0
        for start in range(0, len(rows), self.config.batch_users):
            batch = rows[start : start + self.config.batch_users]
            positives = self.graph.take(batch)
            u = u_all[torch.from_numpy(batch).to(self.device)]
            weights = torch.full((len(positives.items),), 1 / pairs, device=self.device)
            penalty = u.square().sum() / len(rows)
            if start == 0:
                penalty = penalty + items.square().sum(-1).mean()
            loss = self.loss(u, items, positives, None, weights, generator) + self.config.norm_penalty * penalty
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        torch.autograd.backward((encoding.users, encoding.items), (_gradient(u_all), _gradient(items)))
        return total


def _gradient(tensor: Tensor) -> Tensor:
    assert tensor.grad is not None
    return tensor.grad


def graph_of(corpus: Corpus, config: EncoderFitConfig) -> tuple[Histories, Int64]:
    """The graph's rows: histories or their pieces; and the row that each user's newest interactions are in, (n,)."""
    if config.piece_length == "whole" or not corpus.ordered:
        return corpus.histories, np.arange(len(corpus))
    return corpus.histories.pieces(config.piece_length)


class _Means:
    """Scores users by the mean message of their history, or of its newest items, as a row of the graph would be."""

    def __init__(self, encoding: Encoding, config: EncoderConfig, newest: int | None) -> None:
        self.encoding, self.config, self.newest = encoding, config, newest

    @torch.no_grad()
    def score(self, histories: Histories) -> npt.NDArray[np.float32]:
        rows = histories if self.newest is None else histories.last(self.newest)
        means = cap_radius(mean_vectors(rows, self.encoding.messages), limit=self.config.max_radius)
        squares = space(self.config.space).pairwise_square(means, self.encoding.items)
        scores: npt.NDArray[np.float32] = -squares.cpu().numpy()
        return scores
