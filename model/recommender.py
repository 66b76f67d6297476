"""From a history to a ranked list: condition, reverse diffusion, retrieval. No files, no ids, no HTTP."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from model.compiled import CompiledDiffusion
from model.config import ModelConfig
from model.gather import ConditionGather
from model.history import Histories
from model.retrieval import Hits, Retriever
from model.weights import Weights

__all__ = ["Recommender"]

Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]

ROWS = 256  # users that are denoised together: a bound for memory, not for rounding
COMPILED = 8  # numbers of steps kept ready


class Recommender:
    """A trained model, ready to answer.

    Args:
        config: the model's settings.
        weights: what the user's side has learned.
        messages: what an item in a history contributes to the condition's means, (m, d) float32.
        index: the items, by their tangent vectors.
        popular: all item indices, most popular first, (m,) int32.
    """

    def __init__(
        self, config: ModelConfig, weights: Weights, messages: Float32, index: Retriever, popular: Int32
    ) -> None:
        self.config = config
        self.index = index
        self.popular = popular
        self.gather = ConditionGather(config, weights, index.vectors, messages)
        self.compiled = lru_cache(COMPILED)(lambda steps: CompiledDiffusion(config, weights, steps))

    def user_vectors(self, histories: Histories, steps: int) -> Float32:
        """Users' tangent vectors (b, d) after `steps` reverse steps; 0 leaves the diffusion out.

        A user's vector is the same in any batch, bit for bit.

        Raises:
            ValueError: steps above the length of the forward process.
        """
        denoise = self.compiled(steps)
        if len(histories) <= ROWS:
            return denoise(self.gather(histories))
        starts = range(0, len(histories), ROWS)
        parts = [histories.take(np.arange(start, min(start + ROWS, len(histories)))) for start in starts]
        return np.concatenate([denoise(self.gather(part)) for part in parts])

    def recommend(self, histories: Histories, k: int, excluded: Histories, *, steps: int | None = None) -> list[Hits]:
        """The k nearest items of each user without those excluded; `steps` None takes the model's own default."""
        steps = self.config.steps if steps is None else steps
        return self.index.search(self.user_vectors(histories, steps), [k] * len(histories), excluded)

    def most_popular(self, k: int, excluded: Int32) -> Int32:
        """The k most popular items without the excluded ones: (k',) int32."""
        most = self.popular[: k + len(excluded)]
        return most[~np.isin(most, excluded)][:k]
