"""`hdrm benchmark serving`."""

from pathlib import Path
from typing import Annotated

import typer

from hdrm.benchmark_results import show, writable, write
from hdrm.console import command_line, progress
from model.errors import ConfigError

LEAST_ITEMS, MOST = 100, 10_000_000

__all__ = ["measure_growing_service", "measure_service"]


def measure_service(
    models: Annotated[Path, typer.Option(help="Model store; its current model is served.")] = Path("models"),
    json_out: Annotated[Path | None, typer.Option("--json", help="File to write the result to.")] = None,
    seconds: Annotated[float, typer.Option(min=1, max=600, help="Length of one run.")] = 3.0,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="Runs of each kind, of which the median counts.")] = 3,
    soak: Annotated[
        float, typer.Option(min=0, max=1440, metavar="MINUTES", help="Then so long at half of the peak.")
    ] = 0.0,
) -> None:
    """Throughput and latency of `hdrm serve`, one worker, beside a no-op of the same server.

    Starts the service (and a redis-server) and asks it over loopback with wrk: distinct users without a cache, hits in
    the process, hits in Redis, and unknown users, on 1, 16 and 64 connections. Every run has a run of the no-op right
    before it, and the ratios of the two are what another machine can be compared by.

    Example: `hdrm benchmark serving --models models --json serving.json`
    """
    writable(json_out)
    from benchmarks.serving.benchmark import measure_serving
    from benchmarks.serving.report import report

    with progress() as display:
        task = display.add_task("runs", total=None, note="", unit="runs")

        def on_run(name: str, done: int, total: int) -> None:
            display.update(task, completed=done, total=total, note=name)

        document = measure_serving(
            models, seconds=seconds, rounds=rounds, soak_minutes=soak, command=command_line(), on_run=on_run
        )
    show(report(document))
    write(document, json_out)


def measure_growing_service(
    sizes: Annotated[
        str, typer.Option(metavar="USERS:ITEMS,...", help="Sizes of generated models.")
    ] = "6000:3000,1000000:1000000",
    json_out: Annotated[Path | None, typer.Option("--json", help="File to write the result to.")] = None,
    seconds: Annotated[float, typer.Option(min=1, max=600, help="Length of one run.")] = 5.0,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="Turns, of which the median counts.")] = 3,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of the models.")] = 0,
) -> None:
    """What a large model costs the service: seconds until ready, latency without a cache, memory of a further worker.

    Generates a model of each size, serves all of them at once with one worker each, and asks them in turn over
    loopback with wrk; then each with two workers. A million users and items take a few minutes and 5 GB of disk.

    Example: `hdrm benchmark growth --json growth.json`
    """
    writable(json_out)
    wanted = sizes_of(sizes)
    from benchmarks.serving.growth import measure_growth
    from benchmarks.serving.report import report_growth

    with progress() as display:
        task = display.add_task("", total=None, note="", unit="runs")

        def on_run(name: str, done: int, total: int) -> None:
            display.update(task, description=name, completed=done, total=total or None)

        document = measure_growth(
            wanted, seconds=seconds, rounds=rounds, seed=seed, command=command_line(), on_run=on_run
        )
    show(report_growth(document))
    write(document, json_out)


def sizes_of(text: str) -> list[tuple[int, int]]:
    """`6000:3000,1000000:1000000`, by rising number of items.

    Raises:
        ConfigError: it is something else.
    """
    try:
        sizes = [(int(users), int(items)) for users, items in (part.split(":") for part in text.split(","))]
    except ValueError:
        sizes = []
    if not sizes or not all(1 <= users <= MOST and LEAST_ITEMS <= items <= MOST for users, items in sizes):
        raise ConfigError(
            f"--sizes {text}: expected USERS:ITEMS, with commas between; users from 1, items from {LEAST_ITEMS}, both "
            f"to {MOST:,}"
        )
    return sorted(sizes, key=lambda size: (size[1], size[0]))
