"""Nearest items of a large catalogue, nearly all of them: FAISS's inverted lists over 8-bit coordinates, then a float64
re-rank of more than are asked for.

The lists are searched for the greatest products (`Metric.items`), whose order is that of the distance, so few more than
k need to be fetched; of tangent vectors by Euclidean distance, which FAISS could search as well, it would have to be
hundreds where radii spread. What 8 bits lose the re-rank brings back. How many are fetched, and from how many lists, is
calibrated at training time against exact answers, as is the recall that results (`model.retrieval.calibration`).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from model.config import SpaceName
from model.history import Histories
from model.kernels import NONE
from model.retrieval.flat import FlatIndex, excluded_among, first_fetch
from model.retrieval.hits import Allowed, Hits, by_length, check_search
from model.retrieval.metric import metric
from model.retrieval.rerank import rerank

__all__ = ["ApproximateIndex", "build_lists", "read_lists", "write_lists"]

Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]

MOST_FETCHED = 4096  # beyond it, an exact search costs less
MOST_ROOM = 1024  # for excluded items at first: few of a long history are among the nearest
ROWS = 16  # FAISS compares 20 queries or more with the lists' centres by a matrix product, which rounds otherwise
LISTS_PER_ROOT = 4  # lists for each square root of an item
SAMPLED = 40  # vectors for each list that the centres are learned from
ROUNDS = 10
SEED = 1
ADDED = 1 << 16  # items added at a time
ALIGNED = 8
ID_BYTES = 8


class ApproximateIndex:
    """Inverted lists, with an exact search for whatever they are not good at.

    Queries that are confined to some items, have very much excluded that is near, or find too little in the lists
    probed are answered exactly, so an answer is never shorter than the candidates allow.

    Args:
        vectors: (n, d) float32 tangent vectors at the origin; may be a memory map.
        lists: made by `build_lists` of the same vectors.
        probes: lists looked into for a query.
        overfetch: for some list lengths k, how many items to fetch, as in `FlatIndex`.
        geometry: what distances are measured in.
    """

    def __init__(
        self,
        vectors: Float32,
        lists: Any,
        *,
        probes: int,
        overfetch: Mapping[int, int],
        geometry: SpaceName = "hyperbolic",
    ) -> None:
        expected = len(vectors), _width(vectors.shape[1])
        if (lists.ntotal, lists.d) != expected:
            raise ValueError(f"lists: got {lists.ntotal} vectors of {lists.d} coordinates, expected {expected}")
        if not 1 <= probes <= lists.nlist:
            raise ValueError(f"probes: got {probes}, expected 1 to {lists.nlist}")
        self.vectors, self.lists = vectors, lists
        self.probes, self.overfetch = probes, dict(sorted(overfetch.items()))
        self._metric = metric(geometry)
        self._exact = FlatIndex(vectors, overfetch=overfetch, geometry=geometry)

    @property
    def nbytes(self) -> int:
        """Of the vectors and the lists: codes, ids and centres."""
        codes: int = self.lists.ntotal * (self.lists.code_size + ID_BYTES) + self.lists.nlist * self.lists.d * 4
        return self.vectors.nbytes + codes

    def __len__(self) -> int:
        return len(self.vectors)

    def search(self, queries: Float32, ks: Sequence[int], excluded: Histories, allowed: Allowed = None) -> list[Hits]:
        """Nearly exact; see `Retriever.search`."""
        check_search(queries, ks, excluded, allowed, self.vectors.shape[1])
        # of a row's own k and exclusions alone, in few different sizes, so that rows alike are searched together
        room = np.where(excluded.lengths > 0, 2 ** np.ceil(np.log2(np.maximum(excluded.lengths, 1))), 0)
        fetches = np.array([first_fetch(self.overfetch, k) for k in ks], np.int64)
        fetches += np.minimum(room, MOST_ROOM).astype(np.int64)
        pending = np.flatnonzero([own is None for own in allowed or [None] * len(queries)])
        answers: dict[int, Hits] = {}
        while len(pending := pending[fetches[pending] <= min(MOST_FETCHED, len(self))]):
            for k, alike in by_length(ks, pending, len(queries)):
                for m, rows in by_length(fetches.tolist(), alike, ROWS):
                    answers.update(self._search(queries, rows, k, m, excluded))
            # what is excluded may take up what was fetched
            pending = np.array([row for row in pending.tolist() if row not in answers and room[row]], np.int64)
            fetches[pending] *= 2
        left = [row for row in range(len(queries)) if row not in answers]
        if left:
            rest = np.array(left)
            confining = None if allowed is None else [allowed[row] for row in left]
            found = self._exact.search(queries[rest], [ks[row] for row in left], excluded.take(rest), confining)
            answers.update(zip(left, found, strict=True))
        return [answers[row] for row in range(len(queries))]

    def _search(self, queries: Float32, rows: Int64, k: int, m: int, excluded: Histories) -> dict[int, Hits]:
        """Answers of those rows that are as long as they should be, from as many items as without exclusions."""
        parameters = faiss.IVFSearchParameters()
        parameters.nprobe = self.probes
        _, fetched = self.lists.search(_padded(self._metric.queries(queries[rows])), m, params=parameters)
        short = fetched[:, -1] == NONE  # there is no more in the lists
        fetched[excluded_among(fetched, excluded.take(rows), len(self))] = NONE
        enough = short | (np.count_nonzero(fetched != NONE, axis=1) >= first_fetch(self.overfetch, k))
        items, keys = rerank(self._metric, queries[rows], self.vectors, fetched)
        distances, found = self._metric.distance(keys[:, :k]), items[:, :k].astype(np.int32)
        whole = np.flatnonzero(enough & (found[:, -1] != NONE)).tolist() if found.shape[1] == k else []
        return {int(rows[place]): Hits(found[place], distances[place], 1, False) for place in whole}


def build_lists(vectors: Float32, geometry: SpaceName = "hyperbolic") -> Any:
    """Inverted lists over the 8-bit coordinates of items, about 4 sqrt(n) lists: d + 16 bytes an item or less.

    The same vectors, on as many threads, give the same lists.
    """
    n, d = vectors.shape
    n_lists = min(max(int(LISTS_PER_ROOT * n**0.5), 1), n)
    sample = np.sort(np.random.default_rng(SEED).choice(n, min(n, SAMPLED * n_lists), replace=False))
    lists: Any = faiss.index_factory(_width(d), f"IVF{n_lists},SQ8", faiss.METRIC_INNER_PRODUCT)
    lists.cp.niter, lists.cp.seed = ROUNDS, SEED
    lists.cp.min_points_per_centroid, lists.cp.max_points_per_centroid = 1, SAMPLED
    coordinates = metric(geometry).items
    lists.train(_padded(coordinates(vectors[sample])))
    for start in range(0, n, ADDED):
        lists.add(_padded(coordinates(vectors[start : start + ADDED])))
    return lists


def write_lists(lists: Any, path: Path) -> None:
    faiss.write_index(lists, str(path))


def read_lists(path: Path) -> Any:
    """Read lists, whose vectors stay in the file, mapped into memory.

    Raises:
        RuntimeError: FAISS cannot read the file.
    """
    return faiss.read_index(str(path), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)


def _width(dim: int) -> int:
    """Coordinates in the lists: d + 1, and zeros up to a multiple of what FAISS's kernels work on at a time."""
    return -(-(dim + 1) // ALIGNED) * ALIGNED


def _padded(coordinates: Float32) -> Float32:
    return np.pad(coordinates, ((0, 0), (0, _width(coordinates.shape[1] - 1) - coordinates.shape[1])))
