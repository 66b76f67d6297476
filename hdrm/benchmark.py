"""`hdrm benchmark`: figures that other figures can be put beside."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markdown import Markdown

from hdrm.benchmark_events import measure_reporting
from hdrm.benchmark_fortnight import measure_retraining
from hdrm.benchmark_inference import measure_inference
from hdrm.benchmark_kills import measure_killing
from hdrm.benchmark_page import write_page
from hdrm.benchmark_results import writable
from hdrm.benchmark_retrieval import measure_retrieval
from hdrm.benchmark_serving import measure_growing_service, measure_service
from hdrm.benchmark_settings import search_settings
from hdrm.benchmark_swaps import measure_swapping
from hdrm.benchmark_training import measure_training
from hdrm.console import command_line, err, out, progress
from hdrm.data import RowOrder
from model.errors import ConfigError

if TYPE_CHECKING:
    from benchmarks.accuracy.runs import Run

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Measure: accuracy beside other models, training as data grows, retrieval, inference, the service under load.",
)

app.command("training")(measure_training)
app.command("retrieval")(measure_retrieval)
app.command("inference")(measure_inference)
app.command("serving")(measure_service)
app.command("growth")(measure_growing_service)
app.command("events")(measure_reporting)
app.command("fortnight")(measure_retraining)
app.command("swaps")(measure_swapping)
app.command("kills")(measure_killing)
app.command("page")(write_page)
app.command("settings")(search_settings)


@app.callback()
def end_on_sigterm() -> None:
    """Servers and folders that a benchmark began with are gone when it is ended, as after Ctrl-C."""
    signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(128 + signum))


@app.command()
def accuracy(
    split: Annotated[
        Path, typer.Option(help="A pre-split .npz (train, test, perhaps valid), or a folder of `hdrm data`.")
    ],
    json_out: Annotated[Path, typer.Option("--json", help="File to write the result to.")],
    markdown_out: Annotated[
        Path | None, typer.Option("--markdown", help="File to write it to as a page to read.")
    ] = None,
    order: Annotated[
        RowOrder, typer.Option(help="Whether pairs of an .npz stand in time order within each user.")
    ] = RowOrder.NONE,
    models: Annotated[
        str | None, typer.Option(help="Presets and baselines, with commas between [default: all that fit the data].")
    ] = None,
    seeds: Annotated[str, typer.Option(help="Seeds, with commas between.")] = "0,1,2",
    live: Annotated[
        str | None,
        typer.Option(
            metavar="HISTORY:TRUTH",
            help="Ask a second time, later: with this part added to the history, and that part the truth; valid:test "
            "where `test` is the newest part.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an interrupted benchmark of the same data.")
    ] = False,
    ablations: Annotated[
        bool,
        typer.Option(
            "--ablations",
            help="Change one thing at a time in the default preset; most with the first seed only.",
        ),
    ] = False,
) -> None:
    """Accuracy of presets and baselines on one split, under one evaluation.

    Everything is learned from `train` alone: settings and epochs are chosen on the newest tenth of every training
    history (a random tenth, without an order), then all of `train` is learned from. `valid`, where there is one, is
    only masked. recall, NDCG, precision and MRR at 10 and 20, catalogue coverage, popularity, seconds and memory are
    written, with bootstrap intervals of the differences. Each run that is done is kept beside the JSON until all are,
    so that `--resume` can go on after an interruption.

    Examples:

        hdrm benchmark accuracy --split pairs.npz --order chronological --live valid:test --json accuracy.json

        hdrm benchmark accuracy --split data/ml-100k --models default,ease,ials --seeds 0 --json accuracy.json
    """
    from benchmarks.accuracy.benchmark import Observer, choose, measure_all, plan
    from benchmarks.accuracy.finished import Finished
    from benchmarks.accuracy.markdown import render
    from benchmarks.accuracy.problem import read_problem

    for path in (json_out, markdown_out):
        writable(path)
    numbers = seeds_of(seeds)
    problem = read_problem(split, order=order.value, live=live, seed=numbers[0])
    named = None if models is None else [name.strip() for name in models.split(",")]
    chosen, left_out = choose(named, ordered=problem.ordered, n_items=problem.n_items)
    runs = plan(chosen, numbers, ablations=ablations, ordered=problem.ordered)
    finished = Finished(json_out.with_name(f"{json_out.name}.runs"), problem)
    if finished.count() and not resume:
        raise ConfigError(
            f"{finished.folder} keeps {finished.count()} finished runs of an interrupted benchmark",
            hint="--resume takes those of the same data and code; remove the folder to begin again",
        )
    if problem.dropped is not None:
        err.print(f"dropped: {problem.dropped}", markup=False, highlight=False, soft_wrap=True)
    for name, reason in left_out.items():
        err.print(f"left out: {name}, which {reason}", markup=False, highlight=False, soft_wrap=True)
    with progress() as display:
        whole = display.add_task("runs", total=len(runs), note="", unit="runs")
        task = display.add_task("", total=None, note="", unit="steps")

        def begin(number: int, total: int, run: Run) -> None:
            if not err.is_terminal:  # which a progress display needs
                err.print(f"run {number} of {total}: {run.title}", highlight=False, soft_wrap=True)
            display.update(whole, completed=number - 1, note=run.title)

        def phase(name: str, done: int, total: int) -> None:
            display.update(task, description=name, completed=done, total=total or None)

        try:
            document = measure_all(
                problem,
                runs,
                Observer(begin, phase),
                left_out=left_out,
                finished=finished,
                command=command_line(),
            )
        except KeyboardInterrupt:
            display.stop()
            err.print(f"interrupted; {finished.count()} finished runs are kept, the same command with --resume goes on")
            raise typer.Exit(130) from None
        display.update(whole, completed=len(runs), note="")
        display.remove_task(task)
    page = render(document)
    try:
        json_out.write_text(document.model_dump_json(indent=1) + "\n", "utf-8")
        if markdown_out is not None:
            markdown_out.write_text(page, "utf-8")
    except OSError as error:
        raise ConfigError(
            f"the result cannot be written ({error})",
            hint="mend that; the same command with --resume runs nothing twice",
        ) from error
    finished.clear()
    if out.is_terminal:
        out.print(Markdown(page))
    else:
        typer.echo(page)
    err.print(f"written: {json_out}", markup=False, highlight=False, soft_wrap=True)


def seeds_of(text: str) -> list[int]:
    """`0,1,2`.

    Raises:
        ConfigError: it is something else.
    """
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or len(set(numbers)) < len(numbers) or not all(0 <= number < 2**32 for number in numbers):
        raise ConfigError(f"--seeds {text}: expected different numbers from 0, with commas between, such as 0,1,2")
    return numbers
