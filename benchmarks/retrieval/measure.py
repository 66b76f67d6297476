"""Every index on generated catalogues: recall against exact answers, queries a second, bytes, seconds to build.

What is true is what the scan by Lorentz products certifies; a float64 scan of everything, which takes a second a query
on a large catalogue, checks some of it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from benchmarks.baselines.baseline import Progress
from benchmarks.generated import Clusters
from benchmarks.retrieval.document import Index
from benchmarks.timing import seconds_in_turns
from model.history import Histories
from model.retrieval import FlatIndex, Hits, LorentzScan, Retriever, calibrate
from model.retrieval.calibration import shared
from model.retrieval.hits import confined
from model.retrieval.lists import build_lists
from model.retrieval.metric import metric
from model.retrieval.rerank import scan

__all__ = ["BATCH", "SPREADS", "THREADS", "measure_retrieval"]

Float32 = npt.NDArray[np.float32]
Search = Callable[[Float32, Histories], list[Hits]]

SPREADS = ((1.0, 3.0), (1.0, 4.0))
K = 20
BATCH = 64
THREADS = 1
CALIBRATION_QUERIES = 256
CHECKED = 4  # queries scanned in float64
SCANNED_ALONE = 1


@dataclass(frozen=True)
class _Candidate:
    """An index to be measured."""

    name: str
    search: Search
    bytes: int
    build_seconds: float
    batch: int = BATCH
    settings: dict[str, int] = field(default_factory=dict)


def measure_retrieval(
    items: int, dim: int, *, queries: int, excluded: int, rounds: int, seed: int, progress: Progress
) -> list[Index]:
    """Measure all indexes at both spreads of radii.

    Args:
        items, dim: size of the catalogue.
        queries: how many to measure with.
        excluded: items that each of them excludes.
        rounds: turns of timing.
        seed: of everything.
        progress: told a phase, how much of it is done and how much it is.
    """
    return [
        index
        for number, radii in enumerate(SPREADS)
        for index in _measure(items, dim, radii, queries, excluded, rounds, [seed, number], progress)
    ]


def _measure(
    items: int,
    dim: int,
    radii: tuple[float, float],
    queries: int,
    excluded: int,
    rounds: int,
    seed: list[int],
    progress: Progress,
) -> list[Index]:
    generator = np.random.default_rng(seed)
    progress("making vectors", 0, 0)
    clusters = Clusters(items, dim, generator=generator)
    vectors, asked = clusters.items(items, radii), clusters.queries(queries, radii)
    gone = Histories.of(
        [generator.choice(items, min(excluded, items), replace=False).astype(np.int32) for _ in range(queries)]
    )
    candidates = _candidates(vectors, clusters.queries(CALIBRATION_QUERIES, radii), progress)
    with threadpool_limits(THREADS):
        progress("exact answers", 0, 0)
        by_name = {candidate.name: candidate for candidate in candidates}
        truth = by_name["lorentz scan"].search(asked, gone)
        checked = by_name["float64 scan"].search(asked[:CHECKED], gone.take(np.arange(min(CHECKED, queries))))
        for hits, exact in zip(truth, checked, strict=False):
            assert hits.certified
            assert hits.items.tolist() == exact.items.tolist()
        recalls = {
            c.name: 1.0 if c.name == "float64 scan" else shared(c.search(asked, gone), truth) for c in candidates
        }
        batches = {c.name: (asked[: c.batch], gone.take(np.arange(min(c.batch, queries)))) for c in candidates}
        one = asked[:1], gone.take(np.arange(1))
        together = {c.name: (lambda c=c: c.search(*batches[c.name])) for c in candidates}
        alone = {c.name: (lambda c=c: c.search(*one)) for c in candidates}
        seconds = seconds_in_turns(together, rounds=rounds, progress=progress)
        latency = seconds_in_turns(alone, rounds=rounds, progress=progress)
    return [
        Index.model_validate(
            {
                "name": c.name,
                "radii": radii,
                "recall@20": recalls[c.name],
                "queries_per_second": len(batches[c.name][0]) / seconds[c.name],
                "alone_microseconds": latency[c.name] * 1e6,
                "bytes_per_item": c.bytes / items,
                "build_seconds": c.build_seconds,
                "settings": c.settings,
            }
        )
        for c in candidates
    ]


def _candidates(vectors: Float32, queries: Float32, progress: Progress) -> list[_Candidate]:
    measure, n = metric("hyperbolic"), len(vectors)

    def scan_all(asked: Float32, gone: Histories) -> list[Hits]:
        return [scan(measure, query, vectors, confined(None, row, gone[row], n), K) for row, query in enumerate(asked)]

    def search(index: Retriever) -> Search:
        return lambda asked, gone: index.search(asked, [K] * len(asked), gone)

    progress("building", 0, 0)
    started = time.perf_counter()
    products = LorentzScan(vectors)
    converted = time.perf_counter()
    flat = FlatIndex(vectors)
    looked = time.perf_counter()
    lists = build_lists(vectors)
    built = time.perf_counter()
    progress("calibrating", 0, 0)
    calibrated = calibrate(vectors, queries, lists=lists).index
    settings = {"probes": calibrated.probes, "lists": len(calibrated.lists), "fetched": calibrated.overfetch[K]}
    return [
        _Candidate("float64 scan", scan_all, vectors.nbytes, 0.0, batch=SCANNED_ALONE),
        _Candidate("lorentz scan", search(products), products.nbytes, converted - started),
        _Candidate("flat L2", search(flat), flat.nbytes, looked - converted),
        _Candidate("inverted lists", search(calibrated), calibrated.nbytes, built - looked, settings=settings),
    ]
