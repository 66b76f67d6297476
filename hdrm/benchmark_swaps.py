"""`hdrm benchmark swaps`."""

from pathlib import Path
from typing import Annotated

import typer

from hdrm.benchmark_results import show, writable, write
from hdrm.console import command_line, progress

__all__ = ["measure_swapping"]


def measure_swapping(
    models: Annotated[Path, typer.Option(help="Model store; its current model is one of the two.")] = Path("models"),
    json_out: Annotated[Path | None, typer.Option("--json", help="File to write the result to.")] = None,
    swaps: Annotated[int, typer.Option(min=1, max=10**5, help="Changes of the model, with each kind of cache.")] = 200,
    connections: Annotated[int, typer.Option(min=1, max=100, help="Connections that ask without pause.")] = 16,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Processes of the service.")] = 1,
    pause: Annotated[float, typer.Option(min=0.2, max=3600, help="Mean seconds between swaps.")] = 1.0,
) -> None:
    """What a change of the model costs those who ask meanwhile: failures, mixed answers, latency, memory.

    Serves a copy of the current model, and beside it one that answers everybody otherwise, and makes them current in
    turn, while connections ask for distinct users without pause. Every answer is compared with those that were
    computed beforehand; once without a cache and once with one.

    Example: `hdrm benchmark swaps --models models --json swaps.json`
    """
    writable(json_out)
    from benchmarks.swaps.measure import measure_swaps
    from benchmarks.swaps.report import report

    with progress() as display:
        task = display.add_task("", total=None, note="", unit="swaps")

        def on_run(name: str, done: int, total: int) -> None:
            display.update(task, description=name, completed=done, total=total or None)

        document = measure_swaps(
            models,
            swaps=swaps,
            connections=connections,
            workers=workers,
            pause=pause,
            command=command_line(),
            on_run=on_run,
        )
    show(report(document))
    write(document, json_out)
