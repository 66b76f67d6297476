"""The probe: fixed histories and the answers a model must give, wherever it is loaded."""

from typing import Self

import numpy as np
from pydantic import model_validator

from model.config import Frozen
from model.errors import ArtifactError
from model.history import Histories
from model.recommender import Recommender

__all__ = ["Probe", "run_probe"]

PROBE_TOLERANCE = 1e-4


class Probe(Frozen):
    """Fixed inputs and the answers expected of them.

    `histories` are item indices, newest last; `items` and `distances` the expected top k of each, nothing excluded.
    """

    histories: list[list[int]]
    items: list[list[int]]
    distances: list[list[float]]

    @model_validator(mode="after")
    def _answered(self) -> Self:
        lengths = {*map(len, self.items), *map(len, self.distances)}
        if not len(self.histories) == len(self.items) == len(self.distances) > 0 or len(lengths) != 1 or 0 in lengths:
            raise ValueError("expected an answer for every history, all of one length")
        return self


def run_probe(recommender: Recommender, probe: Probe) -> None:
    """Recompute the probe's answers.

    Raises:
        ArtifactError: an answer differs by more than rounding: this machine or this build of the libraries
            does not compute what the trainer computed.
    """
    histories = Histories.of([np.array(h, np.int32) for h in probe.histories])
    k = len(probe.items[0])
    for row, hits in enumerate(recommender.recommend(histories, k, Histories.empty(len(histories)))):
        expected = np.array(probe.distances[row])
        same = hits.distances.shape == expected.shape and np.allclose(
            hits.distances, expected, rtol=0, atol=PROBE_TOLERANCE
        )
        # items closer to the last place than the tolerance may change places with the next one
        clear = expected < expected[-1] - 2 * PROBE_TOLERANCE
        if not same or not set(np.array(probe.items[row])[clear]) <= set(hits.items.tolist()):
            raise ArtifactError(
                f"probe {row} of {len(histories)}: the model does not give the answers it gave when it was trained",
                hint="check that the installed numpy, numba and faiss match constraints.txt, or train again here",
            )
