"""`hdrm benchmark events`."""

from pathlib import Path
from typing import Annotated

import typer

from hdrm.benchmark_results import show, writable, write
from hdrm.console import command_line, progress
from hdrm.data import RowOrder

__all__ = ["measure_reporting"]


def measure_reporting(
    models: Annotated[Path, typer.Option(help="Model store; its current model is served.")] = Path("models"),
    split: Annotated[
        Path | None, typer.Option(help="The .npz (train, valid, test) whose training part the model was trained on.")
    ] = None,
    live: Annotated[
        str, typer.Option(metavar="HISTORY:TRUTH", help="The part that is told as events, and the one asked for then.")
    ] = "valid:test",
    json_out: Annotated[Path | None, typer.Option("--json", help="File to write the result to.")] = None,
    effects: Annotated[int, typer.Option(min=1, max=10**6, help="Events whose effect is looked for.")] = 1000,
    seconds: Annotated[float, typer.Option(min=1, max=3600, help="Length of a stream of events.")] = 20.0,
    kills: Annotated[int, typer.Option(min=1, max=1000, help="Times that a server is killed.")] = 20,
) -> None:
    """What the service makes of events: accuracy without retraining, effect on the next answer, speed, and kill -9.

    With --split, a part that the model has not learned from is told to a server as events, and recall over HTTP is
    put beside that of the same model given the same histories in the process. Then, with a SQLite file and with a Redis
    that writes to its disk: events each followed by a request that another worker may take; batches without pause
    beside requests from wrk; and a server that is killed while it takes events, again and again. Last, where new items
    are placed, beside simpler ways.

    Example: `hdrm benchmark events --models models --split ml-1m.npz --live test:valid --json events.json`
    """
    writable(json_out)
    from benchmarks.accuracy.problem import read_problem
    from benchmarks.events.measure import measure_events
    from benchmarks.events.report import report

    problem = None if split is None else read_problem(split, order=RowOrder.CHRONOLOGICAL.value, live=live, seed=0)
    with progress() as display:
        task = display.add_task("", total=None, note="", unit="runs")

        def on_run(name: str, done: int, total: int) -> None:
            display.update(task, description=name, completed=done, total=total or None)

        document = measure_events(
            models,
            problem,
            live=live,
            effects=effects,
            seconds=seconds,
            kills=kills,
            command=command_line(),
            on_run=on_run,
        )
    show(report(document))
    write(document, json_out)
