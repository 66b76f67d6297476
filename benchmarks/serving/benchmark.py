"""Every path of a request, at several numbers of connections, turn by turn with a no-op of the same server.

noop         GET /livez: the same protocol, middleware and metrics, and an answer that is ready
uncached     known users in turn, no cache
inprocess    users whose answers the process has
redis        users whose answers Redis has, and the process has not
popular      users that nobody knows
"""

import contextlib
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.environment import environment
from benchmarks.serving.document import Document, Run, Sample, Soak
from benchmarks.serving.load import Load, find_wrk, put_load
from benchmarks.serving.servers import Server, redis_server, serving
from model.artifact import Artifact, load_artifact
from model.store import ModelStore

__all__ = ["CONNECTIONS", "PATHS", "Progress", "Turn", "measure_serving", "ratios", "write_bodies"]

CONNECTIONS = (1, 16, 64)
PATHS = ("uncached", "inprocess", "redis", "popular")
NOOP, NOOP_PATH = "noop", "/livez"
LIST_LENGTH = 10
REPEATED_USERS = 500  # whose answers are cached
STRANGERS = 5000
WARM_UP_SECONDS = 2.0
SOAK_CONNECTIONS = 64
SOAK_PART_SECONDS = 10.0
SOAK_LOAD = 0.5  # of the peak

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class _Path:
    name: str
    server: Server
    bodies: Path


@dataclass(frozen=True)
class Turn:
    """A run of a path and the no-op's beside it."""

    load: Load
    noop: Load
    cpu_percent: float
    noop_cpu_percent: float


def measure_serving(
    models: Path, *, seconds: float, rounds: int, soak_minutes: float, command: str, on_run: Progress
) -> Document:
    """Start what is needed, measure it, end it.

    Args:
        models: a model store; its current model is served.
        seconds: length of one run.
        rounds: runs of each path and number of connections.
        soak_minutes: length of the soak; 0 leaves it out.
        command: what was typed, for the document.
        on_run: told what runs, how many runs are done and how many there are.

    Raises:
        ArtifactError: there is no model, or it is damaged.
        UnavailableError: wrk or redis-server is missing, or the service did not start.
    """
    find_wrk()
    artifact = load_artifact(ModelStore(models).path())
    turns: dict[tuple[str, int], list[Turn]] = {(p, c): [] for c in CONNECTIONS for p in PATHS}
    with _paths(models, artifact) as paths:
        total, done = rounds * len(turns), 0
        for number in range(rounds):
            for connections in CONNECTIONS:
                for path in paths:
                    on_run(f"{path.name}, {connections} connections", done, total)
                    turn = _take_turn(path, connections, seconds, start=(number + 1) * connections * 97)
                    turns[path.name, connections].append(turn)
                    done += 1
        on_run("", done, total)
        runs = _runs(turns, {path.name: path.server.rss_bytes() for path in paths})
        soak = _soak(paths[0], runs, soak_minutes, on_run) if soak_minutes else None
        version = paths[0].server.version
    return Document(
        environment=environment(command, trained=False),
        model_version=version,
        items=len(artifact.catalogue.items),
        users=len(artifact.catalogue.users),
        seconds=seconds,
        rounds=rounds,
        runs=runs,
        ratios=ratios(turns),
        soak=soak,
    )


def ratios(turns: Mapping[tuple[str, int], Sequence[Turn]]) -> dict[str, float]:
    """Medians over rounds of what a path does and the no-op beside it; of the paths and connections there are."""

    def median(path: str, connections: int, ratio: Callable[[Load, Load], float]) -> float:
        return statistics.median(ratio(turn.load, turn.noop) for turn in turns[path, connections])

    found = {
        f"{path}_16": median(path, 16, lambda load, noop: load.requests_per_second / noop.requests_per_second)
        for path in PATHS
    }
    found["p99_16"] = median("uncached", 16, lambda load, noop: load.p99_ms / noop.p99_ms)
    found["lone_p50"] = median("uncached", 1, lambda load, noop: load.p50_ms / noop.p50_ms)
    return found


@contextlib.contextmanager
def _paths(models: Path, artifact: Artifact) -> Iterator[list[_Path]]:
    """A server for each cache, filled where answers are to be found in it."""
    catalogue = artifact.catalogue
    known = [catalogue.users.id(int(user)) for user in np.flatnonzero(catalogue.histories.lengths)]
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hdrm-serving-")))
        everyone = write_bodies(folder / "everyone", known)
        repeated = write_bodies(folder / "repeated", known[:REPEATED_USERS])
        strangers = write_bodies(folder / "strangers", [f"stranger {number}" for number in range(STRANGERS)])
        redis = stack.enter_context(redis_server())
        bare = stack.enter_context(serving(models, HDRM_CACHE_MAX_BYTES="0"))
        process = stack.enter_context(serving(models, HDRM_CACHE_TTL_SECONDS="2000000"))
        behind = stack.enter_context(
            serving(models, HDRM_CACHE_MAX_BYTES="0", HDRM_REDIS_URL=redis, HDRM_CACHE_TTL_SECONDS="2000000")
        )
        paths = [
            _Path("uncached", bare, everyone),
            _Path("inprocess", process, repeated),
            _Path("redis", behind, repeated),
            _Path("popular", bare, strangers),
        ]
        for path in paths:
            put_load(path.server.url, path.bodies, connections=4, seconds=WARM_UP_SECONDS)
        yield paths


def write_bodies(path: Path, users: Sequence[str]) -> Path:
    lines = (json.dumps({"user_id": user, "k": LIST_LENGTH}) for user in users)
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def _take_turn(path: _Path, connections: int, seconds: float, start: int) -> Turn:
    """One right after the other, so that what else the machine does is the same for both."""
    server = path.server
    noop, noop_cpu = _timed(
        server, lambda: put_load(server.url + NOOP_PATH, None, connections=connections, seconds=seconds)
    )
    load, cpu = _timed(
        server,
        lambda: put_load(server.url, path.bodies, connections=connections, seconds=seconds, start=start),
    )
    return Turn(load, noop, cpu, noop_cpu)


def _timed(server: Server, put: Callable[[], Load]) -> tuple[Load, float]:
    """A load and how much of a core the server used under it, in percent."""
    started, before = time.perf_counter(), server.cpu_seconds()
    load = put()
    return load, 100 * (server.cpu_seconds() - before) / (time.perf_counter() - started)


def _runs(turns: Mapping[tuple[str, int], Sequence[Turn]], rss_bytes: Mapping[str, int]) -> list[Run]:
    """The no-op's runs, which went beside all paths, first."""
    runs = []
    for connections in CONNECTIONS:
        beside = [turn for path in PATHS for turn in turns[path, connections]]
        noops = [(turn.noop, turn.noop_cpu_percent) for turn in beside]
        runs.append(_run(NOOP, connections, noops, rss_bytes["uncached"]))
        for path in PATHS:
            loads = [(turn.load, turn.cpu_percent) for turn in turns[path, connections]]
            runs.append(_run(path, connections, loads, rss_bytes[path]))
    return runs


def _run(path: str, connections: int, loads: Sequence[tuple[Load, float]], rss_bytes: int) -> Run:
    return Run(
        path=path,
        connections=connections,
        requests_per_second=statistics.median(load.requests_per_second for load, _ in loads),
        p50_ms=statistics.median(load.p50_ms for load, _ in loads),
        p95_ms=statistics.median(load.p95_ms for load, _ in loads),
        p99_ms=statistics.median(load.p99_ms for load, _ in loads),
        errors=sum(load.errors for load, _ in loads),
        rss_bytes=rss_bytes,
        cpu_percent=statistics.median(cpu for _, cpu in loads),
    )


def _soak(path: _Path, runs: Sequence[Run], minutes: float, on_run: Progress) -> Soak:
    """Half of the peak, held by connections that think between an answer and the next request."""
    peak = max(run.requests_per_second for run in runs if run.path == path.name)
    target = SOAK_LOAD * peak
    samples: list[Sample] = []
    started = time.perf_counter()
    parts = max(1, round(minutes * 60 / SOAK_PART_SECONDS))
    answer_ms = 0.0
    for number in range(parts):
        on_run("soak", number, parts)
        # an answer takes time too, which the last part tells
        think_ms = max(1000 * SOAK_CONNECTIONS / target - answer_ms, 1.0)
        load = put_load(
            path.server.url,
            path.bodies,
            connections=SOAK_CONNECTIONS,
            seconds=min(SOAK_PART_SECONDS, minutes * 60),
            start=number * 7919,
            think_ms=think_ms,
        )
        answer_ms = load.p50_ms
        samples.append(
            Sample(
                seconds=time.perf_counter() - started,
                requests_per_second=load.requests_per_second,
                p50_ms=load.p50_ms,
                p99_ms=load.p99_ms,
                errors=load.errors,
                rss_bytes=path.server.rss_bytes(),
            )
        )
    on_run("soak", parts, parts)
    return Soak(minutes=minutes, peak=peak, target=target, samples=samples)
