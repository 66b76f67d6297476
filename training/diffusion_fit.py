"""Stage 2: learn to denoise a user's vector, given their past, into one that lies near their next items.

Loss: cross-entropy of the next items under softmax(-d^2 / tau) over the items not in the past, plus the squared
error of z_0, the mean of stage 1's messages of the next items, in standardised units. The items' vectors and messages
start as stage 1 made them and are learned on.
Symbols: b users of a batch, m items, h half-lives, d coordinates.
"""

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from model.diffusion import UserDiffusion
from model.encoder import Encoding
from model.geometry import pairwise_square_distance
from model.history import Histories, history_vectors, mean_vectors
from model.noise import clamp_radius
from training.config import TrainConfig
from training.corpus import Corpus
from training.evaluate import ScoreRanker, measure
from training.loop import State, plain_tensors
from training.sampling import Cuts, draw_cuts

__all__ = ["DiffusionStage"]

WARM_UP_EPOCHS = 2.0
LEAST_RATE = 0.02  # of the schedule, at its end


class DiffusionStage:
    """The diffusion under training; see `training.loop.Stage`.

    Args:
        corpus: the data.
        config: settings.
        encoding: stage 1's result.
        epochs: length of the learning rate's schedule.
        seed: of all randomness.
        device: where to compute.
        held_out: the corpus's users' next items, to score by; None does without.
    """

    name = "diffusion"

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
        self.corpus, self.config, self.seed, self.device = corpus, config, seed, device
        self.epochs, self.held_out = epochs, held_out
        self.fit = config.diffusion_fit
        self.encoding = encoding
        self.users = np.flatnonzero(corpus.histories.lengths > 1)  # whose histories can be cut
        mu, sigma = self._statistics()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.model = _Model(UserDiffusion(config.model_part(), mu=mu, sigma=sigma), encoding).to(device)
        tuned = [self.model.items, self.model.messages]
        for parameter in tuned:
            parameter.requires_grad_(self.fit.items_learning_rate > 0)
        self.rates = (self.fit.learning_rate, self.fit.items_learning_rate)
        self.optimiser = torch.optim.AdamW(
            [
                {"params": list(self.model.diffusion.parameters()), "weight_decay": self.fit.weight_decay},
                {"params": tuned, "weight_decay": 0.0},
            ]
        )

    def epoch(self, number: int) -> float:
        generator = np.random.default_rng([self.seed, 2, number])
        cuts = draw_cuts(
            self.corpus.histories,
            generator,
            ordered=self.corpus.ordered,
            horizon=self.fit.horizon,
            least_past=0.0 if self.corpus.ordered else self.fit.unordered_past,
            dropout=self.fit.history_dropout,
        )
        users = generator.permutation(self.users)
        losses = []
        self.model.train()
        # dropout and noise draw from torch's global generators, which are left as they were found
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(int(generator.integers(2**62)))
            for start in range(0, len(users), self.fit.batch_users):
                self._schedule(number - 1 + start / len(users))
                batch = users[start : start + self.fit.batch_users]
                loss = self._loss(Cuts(cuts.past.take(batch), cuts.kept.take(batch), cuts.future.take(batch)))
                self.optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                self.optimiser.step()
                self._clamp()
                losses.append(loss.detach())
        self.model.eval()
        return float(torch.stack(losses).mean())

    def score(self) -> float:
        if self.held_out is None:
            return math.nan
        ranker = ScoreRanker(_Denoised(self.model))
        return measure(ranker, self.corpus.histories, self.corpus.histories, self.held_out)["ndcg@20"]

    def result(self) -> tuple[UserDiffusion, Encoding]:
        """The diffusion, and the encoding with the items as they are now."""
        items, messages = self.model.items.detach(), self.model.messages.detach()
        return self.model.diffusion, Encoding(self.encoding.users, items, messages)

    def weights(self) -> State:
        return plain_tensors(self.model.state_dict())

    def load_weights(self, weights: State) -> None:
        self.model.load_state_dict(weights)

    def optimiser_state(self) -> State:
        return plain_tensors(self.optimiser.state_dict())

    def load_optimiser_state(self, state: State) -> None:
        # torch would go on to change the given tensors in place
        self.optimiser.load_state_dict(plain_tensors(state))

    def _loss(self, cuts: Cuts) -> Tensor:
        b, diffusion = len(cuts.past), self.model.diffusion
        condition = self.model.condition(cuts.kept)
        z_0 = mean_vectors(cuts.future, self.encoding.messages)
        with torch.no_grad():
            # what the reverse process visits: its start, or its first prediction (model.diffusion says why)
            base = diffusion.base(condition)
            later = torch.rand(b, device=self.device) < 0.5
            estimate = base.index_put((later,), diffusion.reverse(condition[later], 1))
        t = torch.randint(1, self.config.noise.timesteps + 1, (b,), device=self.device)
        z_t = diffusion.corrupt(estimate, condition, t, torch.randn_like(estimate))
        predicted = diffusion.predict(z_t, condition, t)
        users = diffusion.user(diffusion.base(condition), predicted)
        error = ((predicted - z_0) / diffusion.sigma).square().mean()
        return self._ranking_loss(users, cuts) + self.fit.reconstruction * error

    def _ranking_loss(self, users: Tensor, cuts: Cuts) -> Tensor:
        logits = -pairwise_square_distance(users, self.model.items) / self.fit.tau
        logits = logits.index_put(self._places(cuts.past), torch.tensor(-torch.inf, device=self.device))
        rows, items = self._places(cuts.future)
        # a user weighs as the square root of the number of their items: between one vote each and one an item
        weights = torch.from_numpy(1 / np.sqrt(cuts.future.lengths)).float().to(self.device)[rows]
        log_likelihood = torch.log_softmax(logits, dim=-1)[rows, items]
        return -(weights * log_likelihood).sum() / weights.sum()

    def _schedule(self, epoch: float) -> None:
        """Set the step sizes for a moment of the schedule: up within two epochs, then down along a cosine."""
        factor = min((epoch + 1) / WARM_UP_EPOCHS, 0.5 + 0.5 * math.cos(math.pi * epoch / self.epochs))
        for group, rate in zip(self.optimiser.param_groups, self.rates, strict=True):
            group["lr"] = rate * max(factor, LEAST_RATE)

    @torch.no_grad()
    def _clamp(self) -> None:
        """Keep items within the radius that is ranked reliably."""
        self.model.items.copy_(clamp_radius(self.model.items, limit=self.config.encoder.max_radius))

    def _statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation, per coordinate, of the training set's clean vectors: (d,), (d,)."""
        train = self.corpus.histories.take(np.flatnonzero(self.corpus.histories.lengths))
        clean = mean_vectors(train.last(self.fit.horizon) if self.corpus.ordered else train, self.encoding.messages)
        return clean.mean(0), clean.std(0, correction=0).clamp_min(1e-4)

    def _places(self, histories: Histories) -> tuple[Tensor, Tensor]:
        rows = torch.from_numpy(histories.owners()).to(self.device)
        return rows, torch.from_numpy(histories.items.astype(np.int64)).to(self.device)


class _Model(nn.Module):
    """All that stage 2 learns.

    Args:
        diffusion: the users' side.
        encoding: where items and messages start.
    """

    def __init__(self, diffusion: UserDiffusion, encoding: Encoding) -> None:
        super().__init__()
        self.diffusion = diffusion
        self.items = nn.Parameter(encoding.items.clone())
        self.messages = nn.Parameter(encoding.messages.clone())

    def condition(self, histories: Histories) -> Tensor:
        """(b, h, d)."""
        return history_vectors(histories, self.messages, self.diffusion.config.history)


class _Denoised:
    """Scores users by the whole reverse process."""

    def __init__(self, model: _Model) -> None:
        self.model = model

    @torch.no_grad()
    def score(self, histories: Histories) -> npt.NDArray[np.float32]:
        diffusion = self.model.diffusion
        users = diffusion(self.model.condition(histories), diffusion.config.steps)
        scores: npt.NDArray[np.float32] = -pairwise_square_distance(users, self.model.items).cpu().numpy()
        return scores
