"""`hdrm tune`."""

import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from hdrm.console import command_line, err, out, progress
from hdrm.data import DataFolder, RowOrder, SplitFile, SplitOrder, read_either
from model.errors import ConfigError, HdrmError

if TYPE_CHECKING:
    from training.data.datasets import Dataset
    from training.tunable import Kind
    from training.tuning import Setting, Tuned, Tuning

__all__ = ["tune"]

SHOWN = 3
TRIALS = 30


def tune(
    data: DataFolder = None,
    split: SplitFile = None,
    order: SplitOrder = RowOrder.NONE,
    study: Annotated[
        Path | None,
        typer.Option(help="File that keeps the trials (SQLite); made if missing, may hold several studies."),
    ] = None,
    preset: Annotated[
        str, typer.Option(help="Settings to start from: the name of a preset, or a .toml file.")
    ] = "default",
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.KEY=VALUE", help="A setting that is the same in all trials."),
    ] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Vary this setting only; may be given several times [default: all that suit]."
        ),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(min=1, help=f"Trials in the whole study [default: {TRIALS}, or any number with --minutes]."),
    ] = None,
    minutes: Annotated[float | None, typer.Option(min=0, help="Begin no trial after so many minutes.")] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of all randomness.")] = 0,
    preset_out: Annotated[
        Path | None, typer.Option("--out", metavar="PRESET.toml", help="Write the best settings as a preset.")
    ] = None,
    space: Annotated[bool, typer.Option("--space", help="Print what can be varied, and stop.")] = False,
) -> None:
    """Look for better settings: many short trainings, the next one's settings proposed from the scores so far.

    A trial trains all stages on the older part of the training data and is scored by the mean of recall@20 and
    NDCG@20 on the newer part; what models are reported on, the test part, is not looked at. The first trial is the
    preset itself. Hopeless trials
    are cut short. Every trial is kept in --study: the same command goes on where it was interrupted, and with a larger
    --trials adds to what is there.

    Without --vary, all settings that --space lists are varied, but for those that the preset does not use (of another
    loss, or of an attention where there is none) and those whose value in the preset lies outside the bounds: that is a
    decision, not a matter of tuning. With --vary, such a value is refused.

    Examples:

        hdrm tune --data data/ml-100k --study models/tuning.db --trials 50 --out tuned.toml

        hdrm tune --split pairs.npz --order chronological --study models/tuning.db --minutes 60

        hdrm tune --data data/mine --study models/tuning.db --vary encoder_fit.tau --vary diffusion_fit.tau

        hdrm train --data data/ml-100k --models models --preset tuned.toml
    """
    from training.config import load_config
    from training.tunable import TUNABLE, named, suited

    varied = named(vary or [])
    if space:
        print_space(varied or dict(TUNABLE))
        return
    config = load_config(preset, changes or [])
    if preset_out is not None and preset_out.suffix != ".toml":
        raise ConfigError(f"--out {preset_out}: expected a name that ends in .toml", hint="so that --preset takes it")
    if study is None:
        raise typer.BadParameter("missing; needed unless --space is given", param_hint="--study")
    dataset = read_either(data, split, order)
    limit = TRIALS if trials is None and minutes is None else trials
    tuning, tuned = run_tuning(
        dataset,
        study,
        preset=preset,
        changes=changes or [],
        space=varied or suited(config.resolved(ordered=dataset.info.order != "none")),
        seed=seed,
        trials=limit,
        seconds=None if minutes is None else 60 * minutes,
    )
    best = tuned.ranking[0]
    out.print(best_table(tuned))
    out.print(counts(tuned), highlight=False)
    if preset_out is None:
        err.print("next: the same command with --out PRESET.toml writes the best settings as a preset")
        return
    head = (
        f"Found by: {command_line()}\n"
        f"{counts(tuned)}; score on what was held out of the training data: {best.score:.4f} (trial {best.number})"
    )
    write_preset(preset_out, tuning, best.settings, head)
    err.print(f"next: hdrm train --preset {preset_out} ...", markup=False, highlight=False, soft_wrap=True)


def run_tuning(
    dataset: "Dataset",
    study: Path,
    *,
    preset: str,
    changes: list[str],
    space: "dict[str, Kind]",
    seed: int,
    trials: int | None,
    seconds: float | None,
) -> "tuple[Tuning, Tuned]":
    """Tune with a progress display on stderr; raises HdrmError."""
    import optuna

    from training.loop import Epoch
    from training.tuning import Tuning, TuningObserver

    optuna.logging.set_verbosity(optuna.logging.ERROR)  # what it says is shown below
    with progress() as display:
        whole = display.add_task("trials", total=trials, note="", unit="trials")
        part = display.add_task("preparing", total=None, note="", unit="ep")

        def trial(done: int, best: float | None) -> None:
            note = "" if best is None else f"best score {best:.4f}"
            if display.tasks[whole].completed:
                display.update(whole, completed=done, note=note)
            else:  # trials of earlier runs say nothing about the speed of this one
                display.reset(whole, total=trials, completed=done, note=note)

        def stage(name: str, epochs: int) -> None:
            number = int(display.tasks[whole].completed) + 1
            display.reset(part, total=epochs, description=f"trial {number}: {name}", note="")

        def epoch(done: Epoch) -> None:
            loss = "" if math.isnan(done.loss) else f"loss {done.loss:.4f} "
            display.update(part, completed=done.number, note=f"{loss}score {done.score:.4f}")

        tuning = Tuning(
            dataset,
            preset=preset,
            changes=changes,
            space=space,
            seed=seed,
            study=study,
            observer=TuningObserver(trial, stage, epoch),
        )
        try:
            tuned = tuning.run(trials=trials, seconds=seconds)
        except KeyboardInterrupt:
            display.stop()
            err.print("interrupted; the same command goes on")
            raise typer.Exit(130) from None
        display.remove_task(part)
        best = f"best score {tuned.ranking[0].score:.4f}"
        display.update(whole, completed=tuned.finished, total=tuned.finished, note=best)
    return tuning, tuned


def best_table(tuned: "Tuned") -> Table:
    """Settings by trials, the best first."""
    best = tuned.ranking[:SHOWN]
    title = "best trials, by the mean of recall@20 and NDCG@20 on what was held out of the training data"
    caption = "impact: a setting's share in what sets the best tenth of the trials apart" if tuned.importance else None
    table = Table(title=title, caption=caption, box=SIMPLE_HEAD)
    table.add_column("setting", no_wrap=True)
    table.add_column("impact", justify="right")
    table.add_column("preset", justify="right")
    for trial in best:
        table.add_column(f"trial {trial.number}\n{trial.score:.4f}", justify="right")
    for name in sorted(tuned.preset, key=lambda name: -tuned.importance.get(name, 0.0)):
        impact = f"{tuned.importance[name]:.2f}" if name in tuned.importance else ""
        values = (tuned.preset[name], *(trial.settings[name] for trial in best))
        table.add_row(name, impact, *(escape(shown(value)) for value in values))
    return table


def shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def counts(tuned: "Tuned") -> str:
    """`20 trials: 14 complete, 6 pruned`."""
    outcomes = Counter(trial.outcome for trial in tuned.trials)
    listed = ", ".join(f"{number} {outcome}" for outcome, number in sorted(outcomes.items()))
    return f"{len(tuned.trials)} trials: {listed}"


def write_preset(path: Path, tuning: "Tuning", settings: "dict[str, Setting]", head: str) -> None:
    from training.preset import preset_text

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(preset_text(tuning.config(settings), head=head), encoding="utf-8")
    except OSError as error:
        raise HdrmError(f"{path} cannot be written: {error.strerror or error}", hint="give another --out") from error


def print_space(space: "dict[str, Kind]") -> None:
    from training.tunable import Choice, Whole

    table = Table("setting", "kind", "values", title="what a study varies")
    for name, kind in space.items():
        match kind:
            case Choice(values):
                table.add_row(name, "choice", ", ".join(map(str, values)))
            case _:
                scale = ", log scale" if kind.log else ""
                table.add_row(name, "whole" if isinstance(kind, Whole) else "real", f"{kind.low} to {kind.high}{scale}")
    out.print(table)
