"""`hdrm benchmark kills`."""

from pathlib import Path
from typing import Annotated

import typer

from hdrm.benchmark_results import show, writable, write
from hdrm.console import command_line, progress

__all__ = ["measure_killing"]


def measure_killing(
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of the data of before the events, as `hdrm data` wrote it [default: generated]."),
    ] = None,
    models: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            file_okay=False,
            help="Folder to make the store in, and to remove it from [default: temporary].",
        ),
    ] = None,
    json_out: Annotated[Path | None, typer.Option("--json", help="File to write the result to.")] = None,
    kills: Annotated[int, typer.Option(min=1, max=10**4, help="Retrainings that are killed.")] = 50,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Change a setting of the runs, which are quick ones."),
    ] = None,
    limits: Annotated[
        list[str] | None, typer.Option("--limit", metavar="SECTION.KEY=VALUE", help="Change a limit of the runs.")
    ] = None,
) -> None:
    """Retrainings that are killed (`kill -9`) at random moments: is all whole, does the next one succeed?

    A store is made, and a server follows it and is asked all the time. Each run has new events to learn from; half of
    them are killed anywhere, the others when the model is written or soon after. After each kill every version in the
    store is verified, the current one is loaded, and the next run has to succeed and to be followed by the server.

    Example: `hdrm benchmark kills --json kills.json`
    """
    writable(json_out)
    from benchmarks.kills.measure import measure_kills
    from benchmarks.kills.report import report

    with progress() as display:
        task = display.add_task("", total=None, note="", unit="kills")

        def on_run(name: str, done: int, total: int) -> None:
            display.update(task, description=name, completed=done, total=total or None)

        document = measure_kills(
            data,
            models,
            kills=kills,
            settings=changes or [],
            limits=limits or [],
            command=command_line(),
            on_run=on_run,
        )
    show(report(document))
    write(document, json_out)
