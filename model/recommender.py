"""From a history to a ranked list: condition, reverse diffusion, retrieval. No files, no ids, no HTTP."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.diffusion import UserDiffusion
from model.history import Histories
from model.retrieval import ExactIndex, Hits

__all__ = ["Recommender"]

Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]

TILE = 8  # users that are denoised together


class Recommender:
    """A trained model, ready to answer.

    Args:
        diffusion: the user's side.
        messages: what an item in a history contributes to the condition, (s, m, d) float32.
        index: the items, by their tangent vectors.
        popular: all item indices, most popular first, (m,) int32.
    """

    def __init__(self, diffusion: UserDiffusion, messages: Tensor, index: ExactIndex, popular: Int32) -> None:
        self.diffusion = diffusion.eval()
        self.messages = messages
        self.index = index
        self.items = torch.from_numpy(index.vectors)
        self.popular = popular

    @torch.inference_mode()
    def user_vectors(self, histories: Histories, steps: int) -> Float32:
        """Users' tangent vectors (b, d) after `steps` reverse steps; 0 leaves the diffusion out.

        Raises:
            ValueError: steps above the length of the forward process.
        """
        condition = self.diffusion.condition(histories, self.items, self.messages)
        vectors = np.empty((len(histories), condition.shape[-1]), np.float32)
        for start in range(0, len(histories), TILE):
            rows = condition[start : start + TILE]
            # matrix libraries round differently for different shapes: one shape, and a row has one answer
            tile = torch.nn.functional.pad(rows, (0, 0, 0, 0, 0, TILE - len(rows)))
            vectors[start : start + TILE] = self.diffusion(tile, steps)[: len(rows)].numpy()
        return vectors

    def recommend(
        self, histories: Histories, k: int, excluded: Sequence[Int32], *, steps: int | None = None
    ) -> list[Hits]:
        """The k nearest items of each user; `steps` None takes the model's own default."""
        steps = self.diffusion.config.steps if steps is None else steps
        return self.index.search(self.user_vectors(histories, steps), k, excluded)

    def most_popular(self, k: int, excluded: Int32) -> Int32:
        """The k most popular items without the excluded ones: (k',) int32."""
        kept: Int32 = self.popular[~np.isin(self.popular, excluded)][:k]
        return kept
