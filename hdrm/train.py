"""`hdrm train`."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from hdrm.console import err, out, progress
from hdrm.happened import deleted_users
from hdrm.store import open_store

if TYPE_CHECKING:
    from rich.progress import Progress

    from model.config import Frozen
    from model.manifest import Manifest, MetricsRow
    from training.trainer import Observer, Result

__all__ = ["comparison_of", "metrics_table", "run_training", "settings_table", "train", "training_progress"]


def train(
    data: Annotated[
        Path | None, typer.Option(help="Folder of a data set, as `hdrm data fetch` or `import` writes it.")
    ] = None,
    models: Annotated[
        str | None, typer.Option(help="Model store: a folder, made if missing, or a URL such as s3://bucket/models.")
    ] = None,
    preset: Annotated[
        str, typer.Option(help="Settings to start from: the name of a preset, or a .toml file.")
    ] = "default",
    seed: Annotated[
        int,
        typer.Option(min=0, max=2**32 - 1, help="Seed of all randomness: same seed, machine and threads, same model."),
    ] = 0,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Change a setting; may be given several times."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an interrupted run with the same settings.")
    ] = False,
    settings: Annotated[
        bool, typer.Option("--settings", help="Print all settings with their meaning, and stop.")
    ] = False,
) -> None:
    """Train a model and publish it.

    Splits the data by time; searches for how long to train the hyperbolic encoder, attention over the newest items, and
    the diffusion (each until recall@20 and NDCG@20 on the newest part of the histories no longer rise); trains them on
    everything but the test part; prints recall and NDCG beside popularity and EASE on that part, and publishes the
    artifact. Uses CUDA where there is one.

    Examples:

        hdrm train --data data/ml-100k --models models

        hdrm train --data data/mine --models models --seed 1 --set encoder.dim=128 --set split.by=time

        hdrm train --data data/mine --models models --resume
    """
    if settings:
        print_settings(preset, changes or [])
        return
    if data is None or models is None:
        missing = "--data" if data is None else "--models"
        raise typer.BadParameter("missing; needed unless --settings is given", param_hint=missing)
    result = run_training(data, models, preset=preset, seed=seed, changes=changes or [], resume=resume)
    out.print(comparison_of(result.manifest))
    out.print(_diffusion(result.manifest.diagnostics), highlight=False)
    out.print(f"trained in {result.manifest.run.seconds:.0f} s on {result.manifest.run.device}", highlight=False)
    out.print(f"model version: {result.manifest.version}", highlight=False, soft_wrap=True)
    err.print(f"next: hdrm serve --models {models}", markup=False, highlight=False, soft_wrap=True)


def _diffusion(diagnostics: Mapping[str, float]) -> str:
    if diagnostics["diffusion_epochs"] == 0:
        return "the diffusion was given up: no epoch of it was better on what is held out than what there was before"
    return f"gate of the diffusion: {diagnostics['gate']:.2f}"


def run_training(
    data: Path, models: Path | str, *, preset: str, seed: int, changes: list[str], resume: bool
) -> "Result":
    """Train with a progress display on stderr; raises HdrmError."""
    from training.config import load_config
    from training.data.datasets import read_dataset
    from training.data.deletions import without_deleted
    from training.trainer import TrainingRun

    config = load_config(preset, changes)
    everything = read_dataset(data)
    deleted = deleted_users(models)
    dataset = without_deleted(everything, deleted)
    if left_out := everything.interactions["user_id"].n_unique() - dataset.interactions["user_id"].n_unique():
        err.print(f"leaving out {left_out} users who were deleted", highlight=False)
    with training_progress() as (display, observer):
        run = TrainingRun(
            dataset,
            config,
            preset=Path(preset).stem,
            seed=seed,
            store=open_store(models),
            observer=observer,
            deletions=deleted,
        )
        announce_resumption(interrupted=run.interrupted(), resume=resume)
        try:
            result = run.run(resume=resume)
        except KeyboardInterrupt:
            display.stop()
            if run.interrupted():
                err.print("interrupted; the same command with --resume continues")
            raise typer.Exit(130) from None
    return result


@contextmanager
def training_progress() -> "Iterator[tuple[Progress, Observer]]":
    """A progress display on stderr, and the observer of a training that feeds it."""
    from training.loop import Epoch
    from training.trainer import Observer

    with progress() as display:
        task = display.add_task("preparing", total=None, note="", unit="ep")

        def finish() -> None:
            # a stage that stopped early is as finished as one that used all its epochs
            done = max(int(display.tasks[task].completed), 1)
            display.update(task, total=done, completed=done)

        def stage(name: str, epochs: int) -> None:
            nonlocal task
            finish()
            task = display.add_task(name, total=epochs or None, note="", unit="ep")

        def epoch(done: Epoch) -> None:
            known = {"loss": done.loss, "score": done.score, "best": done.best}
            note = " ".join(f"{name} {value:.4f}" for name, value in known.items() if not math.isnan(value))
            display.update(task, completed=done.number, note=note)

        yield display, Observer(stage, epoch)
        finish()


def announce_resumption(*, interrupted: bool, resume: bool) -> None:
    if interrupted and resume:
        err.print("continuing the interrupted run")
    elif interrupted:
        err.print("an interrupted run with these settings is here; starting afresh (--resume would continue it)")


def metrics_table(rows: "Sequence[MetricsRow]", *, data: str, protocol: str) -> Table:
    """Models beside each other on the same held-out data."""
    table = Table(title=escape(f"{data}: held-out accuracy"), caption=escape(protocol), caption_justify="left")
    table.add_column("model")
    names = sorted({name for row in rows for name in row.values}, reverse=True)
    for name in names:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(escape(row.model), *(f"{row.values[name]:.4f}" for name in names))
    return table


def comparison_of(manifest: "Manifest") -> Table:
    """The comparison made when a model was trained."""
    return metrics_table(manifest.metrics, data=manifest.data.name, protocol=manifest.protocol)


def print_settings(preset: str, changes: list[str]) -> None:
    """All settings of a preset."""
    from training.config import load_config

    out.print(settings_table(f"preset {preset}", load_config(preset, changes)))


def settings_table(title: str, settings: "Frozen") -> Table:
    """Settings in sections, one line each: name, value, meaning."""
    from model.config import Frozen

    def rows(section: Frozen, prefix: str) -> None:
        for name, field in type(section).model_fields.items():
            value = getattr(section, name)
            if isinstance(value, Frozen):
                rows(value, f"{prefix}{name}.")
            else:
                table.add_row(f"{prefix}{name}", escape(str(value)), escape(field.description or ""))

    table = Table("setting", "value", "meaning", title=escape(title))
    rows(settings, "")
    return table
