"""Stage 1: learn the encoder's embeddings, so that users lie near their items.

Loss: rank a user's items before the others (training.losses), and a penalty on radii.
Symbols: b users of a batch, m items, d coordinates.
"""

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.config import EncoderConfig
from model.encoder import Encoding, GraphEncoder, Propagation
from model.geometry import cap_radius
from model.history import Histories, mean_vectors
from model.manifold import load_riemannian_adam, riemannian_adam
from model.space import space
from training.config import TrainConfig
from training.corpus import Corpus
from training.evaluate import ScoreRanker, held_out_score
from training.loop import State, plain_tensors
from training.losses import RankingLoss

__all__ = ["EncoderStage"]

Int64 = npt.NDArray[np.int64]


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
        counts = np.bincount(corpus.histories.items, minlength=corpus.n_items)
        self.loss = RankingLoss(self.config, counts, users=len(corpus), geometry=config.encoder.space)
        self.optimiser = riemannian_adam(self.encoder.parameters(), lr=self.config.learning_rate)

    def epoch(self, number: int) -> float:
        generator = np.random.default_rng([self.seed, 1, number])
        users = generator.permutation(np.flatnonzero(self.corpus.histories.lengths))
        step = self.config.step_users(len(users))
        losses = []
        for start in range(0, len(users), step):
            self.optimiser.zero_grad()
            losses.append(self._backward(users[start : start + step], generator))
            self.optimiser.step()
        return float(np.mean(losses))

    @torch.no_grad()
    def encoding(self) -> Encoding:
        """The encoder's present output."""
        encoding: Encoding = self.encoder(self.propagate)
        return encoding

    def score(self) -> float:
        if self.held_out is None:
            return math.nan
        ranker = ScoreRanker(_Means(self.encoding(), self.encoder.config))
        return held_out_score(ranker, self.corpus.histories, self.held_out)

    def weights(self) -> State:
        return plain_tensors(self.encoder.state_dict())

    def load_weights(self, weights: State) -> None:
        self.encoder.load_state_dict(weights)

    def optimiser_state(self) -> State:
        return plain_tensors(self.optimiser.state_dict())

    def load_optimiser_state(self, state: State) -> None:
        # torch would go on to change the given tensors in place
        load_riemannian_adam(self.optimiser, plain_tensors(state))

    def _backward(self, users: Int64, generator: np.random.Generator) -> float:
        """Gradients of the loss of some users; returns it.

        The graph is propagated over once; the users' part of the loss is taken in batches of bounded size.
        """
        encoding: Encoding = self.encoder(self.propagate)
        # the encoding's own gradients are gathered first and sent through the graph together
        u_all, items = encoding.users.detach().requires_grad_(), encoding.items.detach().requires_grad_()
        pairs = int(self.corpus.histories.lengths[users].sum())
        total = 0.0
        for start in range(0, len(users), self.config.batch_users):
            batch = users[start : start + self.config.batch_users]
            positives = self.corpus.histories.take(batch)
            u = u_all[torch.from_numpy(batch).to(self.device)]
            weights = torch.full((len(positives.items),), 1 / pairs, device=self.device)
            penalty = u.square().sum() / len(users)
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


class _Means:
    """Scores users by the mean message of their history, the way people outside the training set are seen."""

    def __init__(self, encoding: Encoding, config: EncoderConfig) -> None:
        self.encoding, self.config = encoding, config

    @torch.no_grad()
    def score(self, histories: Histories) -> npt.NDArray[np.float32]:
        means = cap_radius(mean_vectors(histories, self.encoding.messages), limit=self.config.max_radius)
        squares = space(self.config.space).pairwise_square(means, self.encoding.items)
        scores: npt.NDArray[np.float32] = -squares.cpu().numpy()
        return scores
