"""Stage 1: learn the encoder's embeddings, so that users lie near their items.

Loss softmax: cross-entropy of a user's items under softmax(-d^2 / tau) over the whole catalogue. Loss hinge:
[d^2(u, i) - d^2(u, j) + m]_+ with one random item j for each i, as published (HGCF, WWW 2021, eq. 10).
Symbols: b users of a batch, m items, d coordinates.
"""

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.encoder import Encoding, GraphEncoder, Propagation
from model.geometry import cap_radius, pairwise_square_distance
from model.history import Histories, mean_vectors
from model.manifold import load_riemannian_adam, riemannian_adam
from training.config import TrainConfig
from training.corpus import Corpus
from training.evaluate import ScoreRanker, measure
from training.loop import State, plain_tensors

__all__ = ["EncoderStage"]


class EncoderStage:
    """The encoder under training; see `training.loop.Stage`.

    Args:
        corpus: the data.
        config: settings; `encoder` and `encoder_fit` matter here.
        seed: of all randomness.
        device: where to compute.
        held_out: the corpus's users' next items, to score by; None does without.
    """

    name = "encoder"

    def __init__(
        self, corpus: Corpus, config: TrainConfig, *, seed: int, device: torch.device, held_out: Histories | None
    ) -> None:
        self.corpus, self.config, self.seed, self.device = corpus, config.encoder_fit, seed, device
        self.held_out = held_out
        generator = torch.Generator().manual_seed(seed)
        self.encoder = GraphEncoder(len(corpus), corpus.n_items, config.encoder, generator=generator)
        self.encoder.to(device)
        self.propagate = Propagation(corpus.histories, corpus.n_items, device)
        self.optimiser = riemannian_adam(self.encoder.parameters(), lr=self.config.learning_rate)

    def epoch(self, number: int) -> float:
        generator = np.random.default_rng([self.seed, 1, number])
        users = generator.permutation(np.flatnonzero(self.corpus.histories.lengths))
        losses = []
        for start in range(0, len(users), self.config.batch_users):
            batch = users[start : start + self.config.batch_users]
            loss = self._loss(self.encoder(self.propagate), batch, generator)
            self.optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimiser.step()
            losses.append(loss.detach())
        return float(torch.stack(losses).mean())

    @torch.no_grad()
    def encoding(self) -> Encoding:
        """The encoder's present output."""
        encoding: Encoding = self.encoder(self.propagate)
        return encoding

    def score(self) -> float:
        if self.held_out is None:
            return math.nan
        ranker = ScoreRanker(_Means(self.encoding(), self.encoder.config.max_radius))
        return measure(ranker, self.corpus.histories, self.corpus.histories, self.held_out)["ndcg@20"]

    def weights(self) -> State:
        return plain_tensors(self.encoder.state_dict())

    def load_weights(self, weights: State) -> None:
        self.encoder.load_state_dict(weights)

    def optimiser_state(self) -> State:
        return plain_tensors(self.optimiser.state_dict())

    def load_optimiser_state(self, state: State) -> None:
        # torch would go on to change the given tensors in place
        load_riemannian_adam(self.optimiser, plain_tensors(state))

    def _loss(self, encoding: Encoding, users: npt.NDArray[np.int64], generator: np.random.Generator) -> Tensor:
        positives = self.corpus.histories.take(users)
        rows = torch.from_numpy(positives.owners()).to(self.device)
        items = torch.from_numpy(positives.items.astype(np.int64)).to(self.device)
        u = encoding.users[torch.from_numpy(users).to(self.device)]
        squares = pairwise_square_distance(u, encoding.items)
        if self.config.loss == "softmax":
            fit = -torch.log_softmax(-squares / self.config.tau, dim=-1)[rows, items].mean()
        else:
            others = torch.from_numpy(generator.integers(0, self.corpus.n_items, len(items))).to(self.device)
            fit = (squares[rows, items] - squares[rows, others] + self.config.margin).relu().mean()
        penalty = u.square().sum(-1).mean() + encoding.items.square().sum(-1).mean()
        return fit + self.config.norm_penalty * penalty


class _Means:
    """Scores users by the mean message of their history, the way people outside the training set are seen."""

    def __init__(self, encoding: Encoding, max_radius: float) -> None:
        self.encoding = encoding
        self.max_radius = max_radius

    @torch.no_grad()
    def score(self, histories: Histories) -> npt.NDArray[np.float32]:
        means = mean_vectors(histories, self.encoding.messages)
        squares = pairwise_square_distance(cap_radius(means, limit=self.max_radius), self.encoding.items)
        scores: npt.NDArray[np.float32] = -squares.cpu().numpy()
        return scores
