"""Events against real servers, with a SQLite file and with a Redis that writes everything to its disk."""

import asyncio
import contextlib
import os
import random
import signal
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.accuracy.problem import Problem, Query, parse_live
from benchmarks.environment import environment
from benchmarks.events.client import Client, event
from benchmarks.events.document import Document, Effects, Kills, Replay, Stream
from benchmarks.events.placement import measure_placement
from benchmarks.serving.benchmark import Progress, write_bodies
from benchmarks.serving.load import find_wrk, put_load
from benchmarks.serving.servers import redis_server, serving
from model.artifact import Artifact, load_artifact
from model.errors import ConfigError, HdrmError
from model.store import ModelStore
from service.events.choice import open_log
from service.events.record import Record, record_id
from service.requests import MOST_LISTED
from service.settings import Settings
from training.evaluate import RecommenderRanker, measure
from training.metrics import summary

__all__ = ["measure_events"]

LOGS = ("sqlite", "redis")
WORKERS = 2  # that may take the request after an event
BATCH = 50
CONNECTIONS = 4  # of those who report, and of those who ask meanwhile
LIST_LENGTH = 20
BETWEEN_KILLS = (0.2, 1.0)  # seconds


def measure_events(
    models: Path,
    problem: Problem | None,
    *,
    live: str,
    effects: int,
    seconds: float,
    kills: int,
    command: str,
    on_run: Progress,
) -> Document:
    """Replay, effects, streams, kills and placements, each as the document says.

    Args:
        models: model store; its current model is served.
        problem: what the replay is of, the model having been trained on its training part; None does without.
        live: HISTORY:TRUTH of the problem.
        effects: events whose effect is looked for, for each log.
        seconds: length of a stream.
        kills: of a server, for each log.
        command: what was typed, for the document.
        on_run: told what runs, how much is done and how much there is.

    Raises:
        ConfigError: the model was trained on something else than the problem's training part.
        UnavailableError: wrk is missing, or a program did not start.
    """
    find_wrk()
    artifact = load_artifact(ModelStore(models).path())
    replay = None if problem is None else _replay(models, artifact, problem, live, on_run)
    return Document(
        environment=environment(command, trained=False),
        model_version=artifact.manifest.version,
        replay=replay,
        effects=[_effects(models, artifact, log, effects, on_run) for log in LOGS],
        streams=[_stream(models, artifact, log, seconds, on_run) for log in LOGS],
        kills=[_kills(models, artifact, log, kills, on_run) for log in LOGS],
        placements=measure_placement(artifact, on_run),
    )


@contextlib.contextmanager
def _kept(log: str) -> Iterator[dict[str, str]]:
    """Variables of a service whose events are in a new log of this kind."""
    with tempfile.TemporaryDirectory(prefix="hdrm-events-") as folder:
        if log == "sqlite":
            yield {"HDRM_EVENTS_FILE": f"{folder}/events.sqlite"}
        else:
            with redis_server(keeps=Path(folder)) as url:
                yield {"HDRM_REDIS_URL": url}


def _replay(models: Path, artifact: Artifact, problem: Problem, live: str, on_run: Progress) -> Replay:
    [query] = [query for query in problem.queries if query.mode == "live"]
    train, known = problem.train, artifact.catalogue.histories
    if not (np.array_equal(train.indptr, known.indptr) and np.array_equal(train.items, known.items)):
        raise ConfigError(
            f"{models}: the current model was not trained on the training part of this data",
            hint="hdrm data import FILE.npz --out DIR --order chronological, then hdrm train --data DIR --models DIR",
        )
    users, items = artifact.catalogue.users.ids(), artifact.catalogue.items.ids()
    told = [
        event(f"{users[user]} {place}", users[user], items[item], float(place))
        for user in range(len(users))
        for place, item in enumerate(query.history[user][len(train[user]) :].tolist())
    ]
    history, truth = parse_live(live)
    with _kept("sqlite") as kept, serving(models, workers=1, **kept) as server, Client(server.url) as client:
        for start in range(0, len(told), BATCH):
            on_run("replay: events", start, len(told))
            client.report(told[start : start + BATCH])
        ranked = _ask(client, artifact, query, users, "replay: requests", on_run)
        histories = [[items[item] for item in row[-MOST_LISTED:].tolist()] for row in query.history.rows()]
        unnamed = _ask(client, artifact, query, histories, "replay: anonymous requests", on_run)
    asked = np.flatnonzero(query.truth.lengths)
    return Replay(
        history=history,
        truth=truth,
        events=len(told),
        users=len(asked),
        offline=measure(RecommenderRanker(artifact.recommender), query.history, query.masked, query.truth),
        served=summary(ranked, query.truth),
        anonymous=summary(unnamed, query.truth),
    )


def _ask(
    client: Client, artifact: Artifact, query: Query, who: Sequence[str | list[str]], name: str, on_run: Progress
) -> Any:
    places = {item: place for place, item in enumerate(artifact.catalogue.items.ids())}
    asked = np.flatnonzero(query.truth.lengths).tolist()
    ranked = np.full((len(query.truth), LIST_LENGTH), -1, np.int32)
    for number, user in enumerate(asked):
        on_run(name, number, len(asked))
        found = [places[item] for item in client.recommend(who[user], LIST_LENGTH)]
        ranked[user, : len(found)] = found
    return ranked


def _effects(models: Path, artifact: Artifact, log: str, events: int, on_run: Progress) -> Effects:
    items, effective = artifact.catalogue.items.ids(), 0
    with _kept(log) as kept, serving(models, workers=WORKERS, **kept) as server:
        for number in range(events):
            on_run(f"effects: {log}", number, events)
            user, item = f"effect {number % 100}", items[number // 100 % len(items)]
            # each over a connection of its own, which any of the workers may take
            with Client(server.url) as client:
                before = client.recommend(user, LIST_LENGTH)
            seen = item if number < 100 else before[0]
            with Client(server.url) as client:
                client.report([event(f"effect {number}", user, seen)])
            with Client(server.url) as client:
                after = client.recommend(user, LIST_LENGTH)
            effective += seen not in after and after != before
    return Effects(log=log, workers=WORKERS, events=events, effective=effective)


class _Reporter(threading.Thread):
    """Reports batches over one connection until it is told to end, or the server does.

    Args:
        url: of the service.
        name: begins the ids of the events, and is the user's.
        items: ids to take in turn.
        ended: tells it to end.
    """

    def __init__(self, url: str, name: str, items: Sequence[str], ended: threading.Event) -> None:
        super().__init__(name=name)
        self.acknowledged: list[str] = []
        self.milliseconds: list[float] = []
        self.failure: HdrmError | None = None
        self._url, self._items, self._ended = url, items, ended

    def run(self) -> None:
        number = 0
        with contextlib.suppress(OSError, HTTPException), Client(self._url) as client:
            while not self._ended.is_set():
                ids = [f"{self.name} {number + place}" for place in range(BATCH)]
                batch = [event(one, self.name, self._items[number % len(self._items)]) for one in ids]
                started = time.perf_counter()
                try:
                    client.report(batch)
                except HdrmError as error:
                    self.failure = error
                    return
                self.milliseconds.append(1000 * (time.perf_counter() - started))
                self.acknowledged += ids
                number += BATCH


@contextlib.contextmanager
def _reporting(url: str, name: str, items: Sequence[str], connections: int) -> Iterator[list[_Reporter]]:
    """Reporters while the body runs."""
    ended = threading.Event()
    reporters = [_Reporter(url, f"{name} {number}", items, ended) for number in range(connections)]
    for reporter in reporters:
        reporter.start()
    try:
        yield reporters
    finally:
        ended.set()
        for reporter in reporters:
            reporter.join()
    for reporter in reporters:
        if reporter.failure is not None:
            raise reporter.failure


def _stream(models: Path, artifact: Artifact, log: str, seconds: float, on_run: Progress) -> Stream:
    items = artifact.catalogue.items.ids()
    on_run(f"stream: {log}", 0, 0)
    with _kept(log) as kept, tempfile.TemporaryDirectory() as folder:
        bodies = write_bodies(Path(folder) / "bodies", artifact.catalogue.users.ids())
        with serving(models, workers=1, **kept) as server:
            started = time.perf_counter()
            with _reporting(server.url, "stream", items, CONNECTIONS) as reporters:
                load = put_load(server.url, bodies, connections=CONNECTIONS, seconds=seconds)
            taken = time.perf_counter() - started
        times = sorted(value for reporter in reporters for value in reporter.milliseconds)
        acknowledged = {one for reporter in reporters for one in reporter.acknowledged}
        return Stream(
            log=log,
            batch=BATCH,
            seconds=taken,
            events_per_second=len(acknowledged) / taken,
            p50_ms=statistics.median(times),
            p99_ms=times[min(len(times) * 99 // 100, len(times) - 1)],
            recommendations_per_second=load.requests_per_second,
            recommendation_errors=load.errors,
            acknowledged=len(acknowledged),
            lost=len(acknowledged - _events_of(models, kept).keys()),
        )


def _kills(models: Path, artifact: Artifact, log: str, kills: int, on_run: Progress) -> Kills:
    items, acknowledged = artifact.catalogue.items.ids(), set[str]()
    pause = random.Random(0)
    with _kept(log) as kept:
        for life in range(kills):
            on_run(f"kills: {log}", life, kills)
            with (
                serving(models, workers=1, **kept) as server,
                _reporting(server.url, f"life {life}", items, CONNECTIONS) as reporters,
            ):
                time.sleep(pause.uniform(*BETWEEN_KILLS))
                os.kill(server.pid, signal.SIGKILL)
            acknowledged |= {one for reporter in reporters for one in reporter.acknowledged}
        found = _events_of(models, kept)
    return Kills(
        log=log,
        kills=kills,
        acknowledged=len(acknowledged),
        lost=len(acknowledged - found.keys()),
        twice=sum(times > 1 for times in found.values()),
    )


def _events_of(models: Path, kept: Mapping[str, str]) -> Counter[str]:
    """Ids of the events in a log, and how often each is there."""
    file, url = kept.get("HDRM_EVENTS_FILE"), kept.get("HDRM_REDIS_URL")
    settings = Settings(models=models, events_file=None if file is None else Path(file), redis_url=url)
    ids: Counter[str] = Counter()

    def sink(records: Sequence[Record]) -> None:
        ids.update(map(record_id, records))

    async def read() -> None:
        log = open_log(settings)
        follower = log.follow(sink)
        await follower.catch_up()
        await follower.close()
        await log.close()

    asyncio.run(read())
    return ids
