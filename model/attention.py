"""What comes next by the newest items of a history: one block of self-attention [1].

An item's message for it is the item's own vector, shifted and scaled to mean 0 and variance 1. The newest item asks:
each head weighs the messages of the newest items, itself included, by how well they suit its question and by their age
[2]. Messages are keys and values at once. The answers are added to the newest item's message, a layer of hidden units
to the sum, and the result becomes a vector of the space that items are ranked in.

Symbols: b rows, l items of a row, p of them that ask, m items, q heads, d coordinates, w hidden units.
References: [1] Kang and McAuley, Self-Attentive Sequential Recommendation, ICDM 2018. [2] Press, Smith and Lewis, Train
Short, Test Long, ICLR 2022: biases by age in place of places.
"""

import numpy as np
import torch
from torch import Tensor, nn

from model.config import AttentionConfig
from model.dropout import Dropout
from model.history import Histories

__all__ = ["Attention", "normalised"]


class Attention(nn.Module):
    """The block.

    Args:
        dim: coordinates d of messages and vectors.
        config: settings; at least one item is looked at.
    """

    def __init__(self, dim: int, config: AttentionConfig) -> None:
        super().__init__()
        self.config = config
        self.question = nn.Linear(dim, config.heads * dim)
        self.by_age = nn.Parameter(torch.zeros(config.heads, config.length))
        self.answer = nn.Linear(config.heads * dim, dim)
        self.first = nn.Linear(dim, config.hidden)
        self.second = nn.Linear(config.hidden, dim)
        self.head = nn.Linear(dim, dim)
        self.dropout = Dropout(config.dropout)

    def forward(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        """What comes after each of n items: rows of items' vectors no longer than `length`, and how many are a row's
        own, what follows them being anything: (b, l, d), (b,) -> (n, d), row by row. No item knows later ones."""
        places = torch.arange(vectors.shape[1], device=vectors.device)
        ages = places.unsqueeze(1) - places  # (l, l)
        biases = self.by_age[:, ages.clamp_min(0)].masked_fill(ages < 0, -torch.inf)  # (q, l, l)
        messages = self.dropout(normalised(vectors))
        answers = self._answers(messages, messages, biases.unsqueeze(0))
        own = (places < lengths.unsqueeze(1)).flatten().nonzero().squeeze(1)
        return self._following(*(nn.functional.embedding(own, x.flatten(0, 1)) for x in (messages, answers)))

    def newest(self, histories: Histories, vectors: Tensor) -> Tensor:
        """What comes after each history, of items' vectors: (m, d) -> (b, d). An empty history gives zeros."""
        newest = histories.last(self.config.length)
        lengths = torch.from_numpy(newest.lengths).to(vectors.device)
        length = max(int(newest.lengths.max(initial=1)), 1)
        items = np.zeros((len(newest), length), np.int64)
        items[newest.owners(), newest.ages()] = newest.items
        known = torch.arange(length, device=vectors.device) < lengths.clamp_min(1).unsqueeze(1)  # (b, l)
        biases = self.by_age[:, None, :length].masked_fill(~known[:, None, None], -torch.inf)  # (b, q, 1, l)
        told = normalised(nn.functional.embedding(torch.from_numpy(items).to(vectors.device), vectors))
        answers = self._answers(told[:, :1], told, biases).squeeze(1)
        return self._following(told[:, 0], answers) * (lengths > 0).unsqueeze(1)

    def _answers(self, asking: Tensor, told: Tensor, biases: Tensor) -> Tensor:
        """Of all heads: (b, p, d), (b, l, d), biases that broadcast to (b, q, p, l) -> (b, p, q d)."""
        b, p, d = asking.shape
        questions = self.question(asking).view(b, p, self.config.heads, d).transpose(1, 2)
        keys = told.unsqueeze(1).expand(-1, self.config.heads, -1, -1)
        answers = nn.functional.scaled_dot_product_attention(questions, keys, keys, attn_mask=biases)
        return answers.transpose(1, 2).flatten(2)

    def _following(self, asked: Tensor, answers: Tensor) -> Tensor:
        """(n, d), (n, q d) -> (n, d)."""
        x = asked + self.dropout(self.answer(answers))
        x = x + self.dropout(self.second(torch.relu(self.first(normalised(x)))))
        result: Tensor = self.head(normalised(x))
        return result


def normalised(x: Tensor) -> Tensor:
    """Shifted and scaled to mean 0 and variance 1 over the last dimension: (..., d) -> (..., d)."""
    return nn.functional.layer_norm(x, x.shape[-1:])
