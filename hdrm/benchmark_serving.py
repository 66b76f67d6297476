"""`hdrm benchmark serving`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from hdrm.benchmark_results import writable, write
from hdrm.console import command_line, out, progress

if TYPE_CHECKING:
    from benchmarks.serving.document import Document, Soak

__all__ = ["measure_service"]


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

    with progress() as display:
        task = display.add_task("runs", total=None, note="", unit="runs")

        def on_run(name: str, done: int, total: int) -> None:
            display.update(task, completed=done, total=total, note=name)

        document = measure_serving(
            models, seconds=seconds, rounds=rounds, soak_minutes=soak, command=command_line(), on_run=on_run
        )
    show(document)
    write(document, json_out)


def show(document: "Document") -> None:
    """Tables of what was measured."""
    out.print(runs_table(document))
    ratios = ", ".join(f"{name} {value:.2f}" for name, value in document.ratios.items())
    out.print(f"ratios to the no-op: {ratios}", highlight=False, markup=False, soft_wrap=True)
    if document.soak is not None:
        out.print(soak_table(document.soak))
    made = document.environment
    line = f"{made.processor}, {made.cores} cores, load {made.load:.1f}"
    out.print(line, highlight=False, markup=False, soft_wrap=True)


def runs_table(document: "Document") -> Table:
    title = f"{document.model_version}: {document.items:,} items, {document.users:,} users"
    table = Table(title=title, box=SIMPLE_HEAD)
    table.add_column("path")
    for head in ("connections", "requests/s", "p50 ms", "p95 ms", "p99 ms", "errors", "RSS MB", "CPU %"):
        table.add_column(head, justify="right")
    for run in document.runs:
        table.add_row(
            run.path,
            str(run.connections),
            f"{run.requests_per_second:,.0f}",
            *(f"{value:.3f}" for value in (run.p50_ms, run.p95_ms, run.p99_ms)),
            str(run.errors),
            f"{run.rss_bytes / 1e6:.0f}",
            f"{run.cpu_percent:.0f}",
        )
    return table


def soak_table(soak: "Soak") -> Table:
    table = Table(title=f"soak: {soak.minutes:g} min at {soak.target:,.0f} requests/s", box=SIMPLE_HEAD)
    for head in ("after s", "requests/s", "p50 ms", "p99 ms", "errors", "RSS MB"):
        table.add_column(head, justify="right")
    for sample in soak.samples:
        table.add_row(
            f"{sample.seconds:.0f}",
            f"{sample.requests_per_second:,.0f}",
            f"{sample.p50_ms:.3f}",
            f"{sample.p99_ms:.3f}",
            str(sample.errors),
            f"{sample.rss_bytes / 1e6:.1f}",
        )
    return table
