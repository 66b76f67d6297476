"""`hdrm benchmark fortnight`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hdrm.benchmark_results import show, writable, write
from hdrm.console import command_line, err
from hdrm.data import DataFolder, RowOrder, SplitFile, read_either
from hdrm.train import training_progress
from model.errors import ConfigError

if TYPE_CHECKING:
    from benchmarks.fortnight.document import Day, Document
    from benchmarks.fortnight.kept import Kept
    from benchmarks.fortnight.measure import Plan
    from benchmarks.fortnight.timeline import Timeline

__all__ = ["measure_retraining"]

FORTNIGHT = 14


def measure_retraining(
    json_out: Annotated[Path, typer.Option("--json", help="File to write the result to.")],
    split: SplitFile = None,
    data: DataFolder = None,
    live: Annotated[
        str,
        typer.Option(
            metavar="OLDER:NEWER", help="With --split: the parts that are dealt over the days, as they follow."
        ),
    ] = "valid:test",
    days: Annotated[
        int, typer.Option(min=2, max=60, help="How many; the nights between them have a training.")
    ] = FORTNIGHT,
    preset: Annotated[str, typer.Option(help="Settings: the name of a preset, or a .toml file.")] = "default",
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Change a setting; may be given several times."),
    ] = None,
    limits: Annotated[
        list[str] | None,
        typer.Option("--limit", metavar="SECTION.KEY=VALUE", help="Change a limit, such as gate.ndcg_loss=0.05."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of all randomness.")] = 0,
    plot_out: Annotated[
        Path | None, typer.Option("--plot", help="File to draw recall@20 day by day to (.svg).")
    ] = None,
    markdown_out: Annotated[Path | None, typer.Option("--markdown", help="File to write a page to read to.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an interrupted fortnight of the same data and settings.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Measure nothing: draw and write the result that --json names once more.")
    ] = False,
) -> None:
    """What retraining every night is worth: day by day, beside live events alone and beside nothing at all.

    Events arrive day by day. Every night the model is trained anew by what `hdrm retrain` does, its checks and gate
    included. Recall and NDCG on the next day's interactions are put beside those of the first model with the same
    events in the histories, and of the first model without any. Data with times have days; the newer parts of an .npz
    are dealt over as many days. Each day that is done is kept beside the JSON until all are, so that `--resume` can go
    on after an interruption.

    Examples:

        hdrm benchmark fortnight --data data/ml-100k --json fortnight.json --plot fortnight.svg

        hdrm benchmark fortnight --split ml-1m.npz --live test:valid --json fortnight.json --markdown fortnight.md
    """
    for path in (json_out, plot_out, markdown_out):
        writable(path)
    from benchmarks.fortnight.report import report

    if again:
        document = _read(json_out)
    else:
        document = _measured(
            json_out, split, data, live, days, preset, changes or [], limits or [], seed=seed, resume=resume
        )
    show(report(document))
    _write_pages(document, plot_out, markdown_out)


def _measured(
    json_out: Path,
    split: Path | None,
    data: Path | None,
    live: str,
    days: int,
    preset: str,
    changes: list[str],
    limits: list[str],
    *,
    seed: int,
    resume: bool,
) -> "Document":
    from benchmarks.fortnight.kept import Kept
    from benchmarks.fortnight.measure import Plan
    from benchmarks.fortnight.timeline import timeline_of
    from training.config import load_config
    from training.retrain.limits import load_limits

    # as `hdrm retrain` does where there are times
    config = load_config(preset, ["split.by=time", *changes])
    plan = Plan(config, Path(preset).stem, changes, load_limits(limits), limits, seed)
    dataset = read_either(data, split, RowOrder.CHRONOLOGICAL)
    timeline = timeline_of(dataset, days=days, live=live, seed=seed)
    about = [dataset.info.fingerprint, live, days, plan.identity()]
    kept = Kept(json_out.with_name(f"{json_out.name}.days"), about)
    if kept.begun() and not resume:
        raise ConfigError(
            f"{kept.folder} keeps the days of an interrupted fortnight",
            hint="--resume takes those of the same data, settings and code; remove the folder to begin again",
        )
    document = _run(timeline, plan, kept)
    write(document, json_out)
    kept.clear()
    return document


def _run(timeline: "Timeline", plan: "Plan", kept: "Kept") -> "Document":
    from benchmarks.fortnight.measure import measure_fortnight

    with training_progress() as (display, observer):

        def on_day(number: int, day: "Day") -> None:
            figures = ", ".join(f"{policy} {values['recall@20']:.4f}" for policy, values in day.figures.items())
            told = (
                f"day {number + 1} of {timeline.days}: {day.night.outcome} after {day.night.seconds:.0f} s; {figures}"
            )
            err.print(told, highlight=False, soft_wrap=True)
            for task in display.task_ids:  # those of the next night follow
                display.update(task, visible=False)

        try:
            return measure_fortnight(
                timeline, plan, kept=kept, command=command_line(), observer=observer, on_day=on_day
            )
        except KeyboardInterrupt:
            display.stop()
            err.print("interrupted; finished days are kept, the same command with --resume goes on")
            raise typer.Exit(130) from None


def _read(path: Path) -> "Document":
    from pydantic import ValidationError

    from benchmarks.fortnight.document import Document

    try:
        return Document.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise ConfigError(f"{path}: not a result that this program writes", hint="run it without --again") from error


def _write_pages(document: "Document", plot_out: Path | None, markdown_out: Path | None) -> None:
    from benchmarks.fortnight.plot import plot
    from benchmarks.fortnight.report import render

    written: dict[Path, str] = {}
    if plot_out is not None:
        written[plot_out] = plot(document)
    if markdown_out is not None:
        link = None if plot_out is None else os.path.relpath(plot_out, markdown_out.parent)
        written[markdown_out] = render(document, link)
    for path, text in written.items():
        try:
            path.write_text(text, "utf-8")
        except OSError as error:
            raise ConfigError(f"{path} cannot be written ({error})", hint="--again writes it from the JSON") from error
        err.print(f"written: {path}", markup=False, highlight=False, soft_wrap=True)
