"""Stage 3: learn to denoise a user's vector, given their past, into one that lies near their next items.

Loss: rank the next items before the others (training.losses, training.sampling), plus the squared error of z_0, of the
vectors that the stages before made, in standardised units. The items' vectors and their messages start from there and
are learned on; the attention stays as it is.
Symbols: b users of a batch, m items, p targets of the diffusion, d coordinates.
"""

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from model.diffusion import Target, UserDiffusion
from model.encoder import Encoding
from model.history import Histories
from model.means import mean_vectors
from model.noise import clamp_radius
from model.space import space
from training.attention_fit import Attended
from training.config import TrainConfig
from training.corpus import Corpus
from training.evaluate import ScoreRanker, held_out_score
from training.losses import RankingLoss
from training.module_stage import ModuleStage
from training.sampling import Cuts, draw_cuts

__all__ = ["DiffusionStage"]

STATISTICS_USERS = 4096


class DiffusionStage(ModuleStage):
    """The diffusion under training; see `training.loop.Stage`.

    Args:
        corpus: the data.
        config: settings.
        encoding: stage 1's result.
        attended: stage 2's, None where there was none.
        epochs: length of the learning rate's schedule.
        seed: of all randomness.
        device: where to compute.
        held_out: the corpus's users' next items, to score by; None does without.
    """

    name = "diffusion"
    model: "_Model"

    def __init__(
        self,
        corpus: Corpus,
        config: TrainConfig,
        encoding: Encoding,
        attended: Attended | None,
        *,
        epochs: int,
        seed: int,
        device: torch.device,
        held_out: Histories | None,
    ) -> None:
        self.corpus, self.config, self.seed = corpus, config, seed
        self.epochs, self.held_out = epochs, held_out
        self.fit = config.diffusion_fit
        self.encoding, self.attended = encoding, attended
        self.users = np.flatnonzero(corpus.histories.lengths > 1)  # whose histories can be cut
        counts = np.bincount(corpus.histories.items, minlength=corpus.n_items)
        self.loss = RankingLoss(self.fit, counts, users=len(corpus), geometry=config.encoder.space)
        mu, sigma = self._statistics()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            diffusion = UserDiffusion(config.model_part(), mu=mu, sigma=sigma)
            model = _Model(diffusion, encoding, attended).to(device)
        tuned = [model.items, model.messages]
        for parameter in tuned:
            parameter.requires_grad_(self.fit.items_learning_rate > 0)
        self.rates = (self.fit.learning_rate, self.fit.items_learning_rate)
        optimiser = torch.optim.AdamW(
            [
                {"params": list(model.diffusion.parameters()), "weight_decay": self.fit.weight_decay},
                {"params": tuned, "weight_decay": 0.0},
            ]
        )
        super().__init__(model, optimiser, device)

    def epoch(self, number: int) -> float:
        generator = np.random.default_rng([self.seed, 2, number])
        users = generator.permutation(self.users)
        losses = []
        with self.training(generator):
            for start in range(0, len(users), self.fit.batch_users):
                self.schedule(self.rates, number - 1 + start / len(users), self.epochs)
                loss = self._loss(self._cuts(users[start : start + self.fit.batch_users], generator), generator)
                self.optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                self.optimiser.step()
                self._clamp()
                losses.append(loss.detach())
        return float(torch.stack(losses).mean())

    def score(self) -> float:
        if self.held_out is None:
            return math.nan
        ranker = ScoreRanker(_Denoised(self.model))
        return held_out_score(ranker, self.corpus.histories, self.held_out)

    def result(self) -> tuple[UserDiffusion, Tensor, Tensor]:
        """The diffusion, and the items' vectors (m, d) and messages (m, d) as they are now."""
        return self.model.diffusion, self.model.items.detach(), self.model.messages.detach()

    def _cuts(self, users: npt.NDArray[np.int64], generator: np.random.Generator) -> Cuts:
        return draw_cuts(
            self.corpus.histories.take(users),
            generator,
            ordered=self.corpus.ordered,
            horizon=self.fit.horizon,
            least_past=self.fit.least_past,
            dropout=self.fit.history_dropout,
        )

    def _loss(self, cuts: Cuts, generator: np.random.Generator) -> Tensor:
        diffusion = self.model.diffusion
        condition = self.model.condition(cuts.kept)
        predictions, errors = [], []
        for target, z_0 in zip(diffusion.targets(condition), self._clean(cuts), strict=True):
            predicted = self._denoise(target, z_0)
            predictions.append(predicted)
            errors.append(((predicted - z_0) / target.process.sigma).square().mean())
        users = diffusion.mix(condition, predictions)
        # a user weighs as the square root of the number of their items: between one vote each and one an item
        weights = torch.from_numpy(np.repeat(1 / np.sqrt(cuts.future.lengths), cuts.future.lengths)).to(users)
        ranking = self.loss(users, self.model.items, cuts.future, cuts.others, weights / weights.sum(), generator)
        return ranking + self.fit.reconstruction * torch.stack(errors).mean()

    def _clean(self, cuts: Cuts) -> list[Tensor]:
        """z_0 of each target of the diffusion: of the next items; with both networks, of the whole history too."""
        messages = self.encoding.messages
        items = self.encoding.items if self.attended is None else self.attended.items
        if self.config.diffusion.networks == "both":
            whole = cuts.past.append(cuts.future)
            return [mean_vectors(cuts.future, items), mean_vectors(whole, messages)]
        return [mean_vectors(cuts.future, messages if self.attended is None else items)]

    def _denoise(self, target: Target, z_0: Tensor) -> Tensor:
        """The prediction from a noised vector at a random time."""
        process, anchor, condition = target
        clean = z_0
        if self.fit.noised == "estimate":
            with torch.no_grad():
                # what the reverse process visits: its start, or its first prediction (docs/method.md says why)
                later = torch.rand(len(anchor), device=self.device) < 0.5
                clean = anchor.index_put((later,), process.reverse(anchor[later], condition[later], 1))
        t = torch.randint(1, self.config.noise.timesteps + 1, (len(anchor),), device=self.device)
        z_t = process.corrupt(clean, anchor.detach(), t, torch.randn_like(anchor))
        # most of a step's work on a GPU; a CPU gains nothing from half the precision
        with torch.autocast("cuda", torch.bfloat16, enabled=self.device.type == "cuda"):
            return process.predict(z_t, anchor, condition, t)

    @torch.no_grad()
    def _clamp(self) -> None:
        """Keep items within the radius that is ranked reliably."""
        self.model.items.copy_(clamp_radius(self.model.items, limit=self.config.encoder.max_radius))

    def _statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation, per coordinate, of each target's clean vectors in training: (p, d), (p, d)."""
        generator = np.random.default_rng([self.seed, 4])
        users = generator.choice(self.users, min(STATISTICS_USERS, len(self.users)), replace=False)
        clean = torch.stack(self._clean(self._cuts(users, generator)))
        return clean.mean(1), clean.std(1, correction=0).clamp_min(1e-4)


class _Model(nn.Module):
    """All that the stage learns, and what it takes as it is.

    Args:
        diffusion: the users' side.
        encoding: where the items' messages start, and their vectors where there is no attention.
        attended: the attention, and where the vectors start; or None.
    """

    def __init__(self, diffusion: UserDiffusion, encoding: Encoding, attended: Attended | None) -> None:
        super().__init__()
        self.diffusion = diffusion
        self.messages = nn.Parameter(encoding.messages.clone())
        if attended is None or diffusion.attention is None:
            self.items = nn.Parameter(encoding.items.clone())
        else:
            diffusion.attention.load_state_dict(attended.attention.state_dict())
            self.items = nn.Parameter(attended.items.clone())

    def condition(self, histories: Histories) -> Tensor:
        """(b, c, d)."""
        return self.diffusion.condition(histories, self.items, self.messages)


class _Denoised:
    """Scores users by the whole reverse process."""

    def __init__(self, model: _Model) -> None:
        self.model = model

    @torch.no_grad()
    def score(self, histories: Histories) -> npt.NDArray[np.float32]:
        diffusion = self.model.diffusion
        users = diffusion(self.model.condition(histories), diffusion.config.steps)
        squares = space(diffusion.config.encoder.space).pairwise_square(users, self.model.items)
        scores: npt.NDArray[np.float32] = -squares.cpu().numpy()
        return scores
