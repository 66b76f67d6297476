"""The current model is changed again and again, under load."""

import json
import random
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.environment import environment
from benchmarks.serving.benchmark import Progress
from benchmarks.serving.servers import serving
from benchmarks.swaps.asking import FAILED, MIXED, Asking, Question, Seen, asking
from benchmarks.swaps.document import Document, Latency, Run
from benchmarks.swaps.other import add_other
from model.errors import ConfigError, HdrmError
from model.store import ModelStore
from service.engine import Engine
from service.registry import load_version
from service.requests import RecommendRequest
from service.settings import Settings

__all__ = ["Swap", "count_stale", "measure_swaps"]

CACHES = {
    "none": {"HDRM_CACHE_MAX_BYTES": "0"},
    "process": {"HDRM_CACHE_TTL_SECONDS": "2000000"},
}
LIST_LENGTH = 10
MOST_USERS = 4000  # asked in turn
WARM_SWAPS = 4  # before anything counts: both models, twice
RETIRED_SECONDS = 0.1  # in which a model that answers nobody any more is closed
POLL_SECONDS = 0.005
SWAP_SECONDS = 60.0  # after which there was none
SEED = 0


class Swap(NamedTuple):
    """A change of the model.

    Attributes:
        wanted: number of the new model.
        activated: when it was begun to make it current, seconds of the monotonic clock.
        complete: when the last answer on every connection was by the new model.
    """

    wanted: int
    activated: float
    complete: float


@dataclass(frozen=True)
class _Plan:
    """What every run has in common; see `measure_swaps`."""

    store: ModelStore
    versions: tuple[str, str]
    questions: Sequence[Question]
    swaps: int
    connections: int
    workers: int
    pause: float


def measure_swaps(
    models: Path, *, swaps: int, connections: int, workers: int, pause: float, command: str, on_run: Progress
) -> Document:
    """Serve a copy of a store's current model and another one in turn, without a cache and with one.

    Args:
        models: model store; its current model is one of the two.
        swaps: in each run.
        connections: that ask without pause.
        workers: processes of the service.
        pause: mean seconds between swaps.
        command: what was typed, for the document.
        on_run: told what runs, how much is done and how much there is.

    Raises:
        ArtifactError: there is no model, or it is damaged.
        ConfigError: it knows too few users.
        HdrmError: a swap did not come.
        UnavailableError: the service did not start.
    """
    source = ModelStore(models).path()
    with tempfile.TemporaryDirectory(prefix="hdrm-swaps-") as folder:
        root = Path(folder) / "models"
        shutil.copytree(source, root / source.name)
        store = ModelStore(root)
        versions = (source.name, add_other(store, source.name))
        questions = _questions(store, versions)
        if len(questions) <= connections:
            raise ConfigError(
                f"{models}: {len(questions)} users get other items from another model, too few for {connections} "
                "connections",
                hint="--connections takes fewer",
            )
        plan = _Plan(store, versions, questions, swaps, connections, workers, pause)
        return Document(
            environment=environment(command, trained=False),
            model_version=versions[0],
            other_version=versions[1],
            items=store.manifest(versions[0]).data.items,
            users=len(questions),
            connections=connections,
            workers=workers,
            swaps=swaps,
            pause=pause,
            runs=[_run(plan, cache, Path(folder) / f"{cache}.npz", on_run) for cache in CACHES],
        )


def count_stale(seen: Seen, swaps: Sequence[Swap], *, workers: int) -> int:
    """Answers by a model that had been replaced when they were begun, as whoever asked could know.

    That is when the new one had answered: on the same connection, which is one worker's; on any, where there is one.
    """
    stale = 0
    ends = [swap.activated for swap in swaps[1:]] + [np.inf]
    for swap, end in zip(swaps, ends, strict=True):
        # what is begun after the next activation may be of either
        there = (seen.ended > swap.activated) & (seen.started < end)
        for group in [there] if workers == 1 else [there & (seen.connection == c) for c in set(seen.connection)]:
            new = seen.ended[group & (seen.outcome == swap.wanted)]
            if len(new):
                stale += int((group & (seen.outcome == 1 - swap.wanted) & (seen.started > new.min())).sum())
    return stale


def _questions(store: ModelStore, versions: tuple[str, str]) -> list[Question]:
    """Of users to whom the models say different things."""
    engines = [Engine(load_version(store, Settings(models=store.root), version)) for version in versions]
    catalogue = engines[0].loaded.artifact.catalogue
    known = np.flatnonzero(catalogue.histories.lengths)
    chosen = known[np.linspace(0, len(known) - 1, min(MOST_USERS, len(known))).astype(np.int64)]
    questions = []
    for user in chosen.tolist():
        wanted = {"user_id": catalogue.users.id(user), "k": LIST_LENGTH}
        first, second = (_core(engine, wanted) for engine in engines)
        if _items(first) != _items(second):
            questions.append(Question(json.dumps(wanted).encode(), (first, second)))
    return questions


def _core(engine: Engine, wanted: dict[str, object]) -> bytes:
    queries = engine.prepare([RecommendRequest.model_validate(wanted)])
    [core] = engine.finish(queries, engine.infer(queries))
    return core


def _items(core: bytes) -> list[str]:
    return [item["item_id"] for item in json.loads(core)["items"]]


def _run(plan: _Plan, cache: str, path: Path, on_run: Progress) -> Run:
    pauses = random.Random(SEED)
    plan.store.activate(plan.versions[0])
    with (
        serving(plan.store.root, workers=plan.workers, HDRM_LOG_LEVEL="error", **CACHES[cache]) as server,
        asking(server.url, plan.questions, plan.connections, path) as client,
    ):
        for number in range(1, WARM_SWAPS + 1):
            on_run(f"cache: {cache}, warm-up", number - 1, WARM_SWAPS)
            _swap(plan, client, number % 2)
            _wait_for(client, len(plan.questions))
        before, began, swaps, memory = server.rss_bytes(), time.perf_counter(), [], []
        for number in range(1, plan.swaps + 1):
            on_run(f"cache: {cache}, swaps", number - 1, plan.swaps)
            swaps.append(_swap(plan, client, number % 2))
            time.sleep(plan.pause * pauses.uniform(0.75, 1.25))
            memory.append(server.rss_bytes())
        seen = client.end()
    return _found(cache, seen, swaps, began, workers=plan.workers, rss_before=before, memory=memory)


def _swap(plan: _Plan, client: Asking, wanted: int) -> Swap:
    """Make a model current and wait until every connection is answered by it."""
    activated = time.perf_counter()
    plan.store.activate(plan.versions[wanted])
    while not client.swapped(wanted):
        if time.perf_counter() - activated > SWAP_SECONDS:
            raise HdrmError(f"{plan.versions[wanted]} was made current and is not served after {SWAP_SECONDS:g} s")
        time.sleep(POLL_SECONDS)
    return Swap(wanted, activated, time.perf_counter())


def _wait_for(client: Asking, requests: int) -> None:
    wanted = client.requests + requests
    while client.requests < wanted:
        time.sleep(POLL_SECONDS)


def _found(
    cache: str, seen: Seen, swaps: Sequence[Swap], began: float, *, workers: int, rss_before: int, memory: Sequence[int]
) -> Run:
    counted = seen.ended > began
    during = np.zeros(len(seen.ended), bool)
    for swap in swaps:
        during |= (seen.ended > swap.activated) & (seen.started < swap.complete + RETIRED_SECONDS)
    milliseconds = 1000 * (seen.ended - seen.started)
    waits = [
        float(seen.ended[(seen.ended > swap.activated) & (seen.outcome == swap.wanted)].min() - swap.activated)
        for swap in swaps
    ]
    in_swaps, else_ = (_latency(milliseconds[counted & part]) for part in (during, ~during))
    seconds = float(seen.ended[-1] - began)
    return Run(
        cache=cache,
        seconds=seconds,
        requests=int(counted.sum()),
        requests_per_second=counted.sum() / seconds,
        failed=int((seen.outcome == FAILED).sum()),
        mixed=int((seen.outcome == MIXED).sum()),
        stale=count_stale(seen, swaps, workers=workers),
        first_answer_p50_seconds=float(np.median(waits)),
        first_answer_longest_seconds=max(waits),
        during=in_swaps,
        between=else_,
        p99_ratio=in_swaps.p99_ms / else_.p99_ms,
        rss_before=rss_before,
        rss_after=memory[-1],
        rss_most=max(memory),
        client_microseconds=1e6 * seen.cpu_seconds / len(seen.ended),
    )


def _latency(milliseconds: npt.NDArray[np.float64]) -> Latency:
    p50, p99, p999, longest = np.percentile(milliseconds, (50, 99, 99.9, 100)).tolist()
    return Latency(requests=len(milliseconds), p50_ms=p50, p99_ms=p99, p999_ms=p999, longest_ms=longest)
