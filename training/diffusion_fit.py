"""Stage 2: learn to denoise a user's vector, given their past, into one that lies near their next items.

Loss: cross-entropy of the next items under softmax(-d^2 / tau) over the items not in the past, plus the squared
error of z_0, the mean message of the next items, in standardised units.
Symbols: b users of a batch, m items, h half-lives, d coordinates.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.diffusion import UserDiffusion
from model.encoder import Encoding
from model.geometry import pairwise_square_distance
from model.history import Histories, history_vectors, recency_weights, weighted_means
from training.config import TrainConfig
from training.evaluate import ScoreRanker, measure
from training.loop import State, plain_tensors
from training.sampling import Cuts, draw_cuts
from training.splits import Split

__all__ = ["DiffusionStage"]


class DiffusionStage:
    """The diffusion under training; see `training.loop.Stage`.

    Args:
        split: the data.
        config: settings.
        encoding: stage 1's result; items and messages stay as they are.
        seed: of all randomness.
        device: where to compute.
        valid: held-out items to score by, rows as in `split.valid`.
    """

    name = "diffusion"

    def __init__(
        self,
        split: Split,
        config: TrainConfig,
        encoding: Encoding,
        *,
        seed: int,
        device: torch.device,
        valid: Histories,
    ) -> None:
        self.split, self.config, self.seed, self.device, self.valid = split, config, seed, device, valid
        self.fit = config.diffusion_fit
        self.encoding = encoding
        mu, sigma = self._statistics()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.diffusion = UserDiffusion(config.model_part(), mu=mu, sigma=sigma).to(device)
        self.optimiser = torch.optim.AdamW(
            self.diffusion.parameters(), lr=self.fit.learning_rate, weight_decay=self.fit.weight_decay
        )

    def epoch(self, number: int) -> float:
        generator = np.random.default_rng([self.seed, 2, number])
        cuts = draw_cuts(
            self.split.train,
            generator,
            ordered=self.split.ordered,
            horizon=self.fit.horizon,
            dropout=self.fit.history_dropout,
        )
        users = generator.permutation(np.flatnonzero(cuts.future.lengths))
        losses = []
        self.diffusion.train()
        # dropout and noise draw from torch's global generators, which are left as they were found
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(int(generator.integers(2**62)))
            for start in range(0, len(users), self.fit.batch_users):
                batch = users[start : start + self.fit.batch_users]
                loss = self._loss(Cuts(cuts.past.take(batch), cuts.kept.take(batch), cuts.future.take(batch)))
                self.optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                self.optimiser.step()
                losses.append(loss.detach())
        self.diffusion.eval()
        return float(torch.stack(losses).mean())

    def score(self) -> float:
        ranker = ScoreRanker(_Denoised(self.diffusion, self.encoding, ordered=self.split.ordered))
        return measure(ranker, self.split.train, self.split.train, self.valid)["ndcg@20"]

    def weights(self) -> State:
        return plain_tensors(self.diffusion.state_dict())

    def load_weights(self, weights: State) -> None:
        self.diffusion.load_state_dict(weights)

    def optimiser_state(self) -> State:
        return plain_tensors(self.optimiser.state_dict())

    def load_optimiser_state(self, state: State) -> None:
        # torch would go on to change the given tensors in place
        self.optimiser.load_state_dict(plain_tensors(state))

    def _loss(self, cuts: Cuts) -> Tensor:
        b = len(cuts.past)
        condition = self._condition(cuts.kept)
        z_0 = self._mean_message(cuts.future)
        with torch.no_grad():
            # what the reverse process visits: its start, or its first prediction (model.diffusion says why)
            base = self.diffusion.base(condition)
            first = torch.rand(b, 1, device=self.device) < 0.5
            estimate = torch.where(first, base, self.diffusion.reverse(condition, 1))
        t = torch.randint(1, self.config.noise.timesteps + 1, (b,), device=self.device)
        z_t = self.diffusion.corrupt(estimate, condition, t, torch.randn_like(estimate))
        predicted = self.diffusion.predict(z_t, condition, t)
        users = self.diffusion.user(self.diffusion.base(condition), predicted)
        error = ((predicted - z_0) / self.diffusion.sigma).square().mean()
        return self._ranking_loss(users, cuts) + self.fit.reconstruction * error

    def _ranking_loss(self, users: Tensor, cuts: Cuts) -> Tensor:
        logits = -pairwise_square_distance(users, self.encoding.items) / self.fit.tau
        logits = logits.index_put(self._places(cuts.past), torch.tensor(-torch.inf, device=self.device))
        rows, items = self._places(cuts.future)
        # a user weighs as the square root of the number of their items: between one vote each and one an item
        weights = torch.from_numpy(1 / np.sqrt(cuts.future.lengths)).float().to(self.device)[rows]
        log_likelihood = torch.log_softmax(logits, dim=-1)[rows, items]
        return -(weights * log_likelihood).sum() / weights.sum()

    def _condition(self, histories: Histories) -> Tensor:
        return history_vectors(histories, self.encoding.messages, self.config.history, ordered=self.split.ordered)

    def _mean_message(self, histories: Histories) -> Tensor:
        weights = recency_weights(histories, (1.0,), ordered=False)
        return weighted_means(histories, self.encoding.messages, weights).squeeze(1)

    def _statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation, per coordinate, of the training set's clean vectors: (d,), (d,)."""
        train = self.split.train.take(np.flatnonzero(self.split.train.lengths))
        clean = self._mean_message(train.last(self.fit.horizon) if self.split.ordered else train)
        return clean.mean(0), clean.std(0, correction=0).clamp_min(1e-4)

    def _places(self, histories: Histories) -> tuple[Tensor, Tensor]:
        rows = torch.from_numpy(histories.owners()).to(self.device)
        return rows, torch.from_numpy(histories.items.astype(np.int64)).to(self.device)


class _Denoised:
    """Scores users by the whole reverse process."""

    def __init__(self, diffusion: UserDiffusion, encoding: Encoding, *, ordered: bool) -> None:
        self.diffusion, self.encoding, self.ordered = diffusion, encoding, ordered

    @torch.no_grad()
    def score(self, histories: Histories) -> npt.NDArray[np.float32]:
        config = self.diffusion.config
        condition = history_vectors(histories, self.encoding.messages, config.history, ordered=self.ordered)
        users = self.diffusion(condition, config.steps)
        scores: npt.NDArray[np.float32] = -pairwise_square_distance(users, self.encoding.items).cpu().numpy()
        return scores
