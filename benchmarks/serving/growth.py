"""What a large model costs the service: generated models side by side, turn by turn."""

import contextlib
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.environment import environment
from benchmarks.generated import generate_artifact
from benchmarks.serving.benchmark import Progress, write_bodies
from benchmarks.serving.document import Growth, Size
from benchmarks.serving.load import Load, find_wrk, put_load
from benchmarks.serving.servers import Server, serving
from model.store import ModelStore

__all__ = ["WORKERS", "measure_growth"]

DIM, MEAN_HISTORY = 64, 165  # of MovieLens 1M, as `hdrm benchmark accuracy` splits it
CONNECTIONS = 16
WORKERS = 2
ASKED_USERS = 20_000
WARM_UP_SECONDS = 3.0


@dataclass(frozen=True)
class _Subject:
    """A generated model."""

    users: int
    items: int
    models: Path
    bodies: Path


def measure_growth(
    sizes: Sequence[tuple[int, int]], *, seconds: float, rounds: int, seed: int, command: str, on_run: Progress
) -> Growth:
    """Generate models, serve all of them at once, ask one after the other; then with several workers.

    Args:
        sizes: (users, items) of each model, the smallest first.
        seconds: length of one run.
        rounds: turns; medians count.
        seed: of the models.
        command: what was typed, for the document.
        on_run: told what runs, how many runs are done and how many there are.

    Raises:
        UnavailableError: wrk is missing, or a service did not start.
    """
    find_wrk()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hdrm-growth-")))
        subjects = [_generate(folder / str(number), *size, seed, on_run) for number, size in enumerate(sizes)]
        on_run("starting", 0, 0)
        servers = [stack.enter_context(serving(s.models, HDRM_CACHE_MAX_BYTES="0")) for s in subjects]
        for subject, server in zip(subjects, servers, strict=True):
            _load(server, subject, WARM_UP_SECONDS, 0)
        turns: list[list[Load]] = []
        for number in range(rounds):
            loads = []
            for position, (subject, server) in enumerate(zip(subjects, servers, strict=True)):
                on_run(_title(subject), number * len(subjects) + position, rounds * len(subjects))
                loads.append(_load(server, subject, seconds, number + 1))
            turns.append(loads)
        memory = [server.rss_bytes() for server in servers]
        private = [_private_bytes(subject, on_run) for subject in subjects]
        return Growth(
            environment=environment(command, trained=False),
            connections=CONNECTIONS,
            seconds=seconds,
            rounds=rounds,
            workers=WORKERS,
            sizes=[
                Size(
                    users=subject.users,
                    items=subject.items,
                    ready_seconds=server.ready_seconds,
                    requests_per_second=statistics.median(load.requests_per_second for load in loads),
                    p50_ms=statistics.median(load.p50_ms for load in loads),
                    p99_ms=statistics.median(load.p99_ms for load in loads),
                    errors=sum(load.errors for load in loads),
                    rss_bytes=rss,
                    private_bytes=own,
                )
                for subject, server, loads, rss, own in zip(
                    subjects, servers, zip(*turns, strict=True), memory, private, strict=True
                )
            ],
            p99_ratio=statistics.median(loads[-1].p99_ms / loads[0].p99_ms for loads in turns),
        )


def _generate(folder: Path, users: int, items: int, seed: int, on_run: Progress) -> _Subject:
    folder.mkdir()
    generate_artifact(
        ModelStore(folder / "models"),
        users=users,
        items=items,
        mean_length=MEAN_HISTORY,
        dim=DIM,
        seed=seed,
        on_phase=lambda name, done, total: on_run(f"{users:,} users, {items:,} items: {name}", done, total),
    )
    asked = min(users, ASKED_USERS)
    ids = [f"u{user * users // asked:08}" for user in range(asked)]
    return _Subject(users, items, folder / "models", write_bodies(folder / "bodies", ids))


def _load(server: Server, subject: _Subject, seconds: float, number: int) -> Load:
    return put_load(server.url, subject.bodies, connections=CONNECTIONS, seconds=seconds, start=number * 7919)


def _private_bytes(subject: _Subject, on_run: Progress) -> int:
    """Of the worker that has the most, after a while of work."""
    on_run(f"{_title(subject)}, {WORKERS} workers", 0, 0)
    with serving(subject.models, workers=WORKERS, HDRM_CACHE_MAX_BYTES="0") as server:
        _load(server, subject, WARM_UP_SECONDS, 0)
        return max(server.private_bytes())


def _title(subject: _Subject) -> str:
    return f"{subject.users:,} users, {subject.items:,} items"
