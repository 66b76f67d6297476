"""`hdrm benchmark settings`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hdrm.benchmark_results import writable
from hdrm.console import command_line, err, out, progress
from hdrm.data import RowOrder
from model.errors import ConfigError

if TYPE_CHECKING:
    from optuna.storages import JournalStorage

    from benchmarks.baselines.space import Best
    from benchmarks.baselines.trained import Trained

__all__ = ["search_settings"]


def search_settings(
    split: Annotated[
        Path, typer.Option(help="A pre-split .npz (train, test, perhaps valid), or a folder of `hdrm data`.")
    ],
    model: Annotated[str, typer.Option(help="A baseline whose settings are kept: lightgcn or sasrec.")],
    order: Annotated[
        RowOrder, typer.Option(help="Whether pairs of an .npz stand in time order within each user.")
    ] = RowOrder.NONE,
    trials: Annotated[int | None, typer.Option(min=1, help="Settings to try [default: as many as others do].")] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of the search and of the trainings.")] = 0,
    study: Annotated[
        Path | None, typer.Option(help="File that keeps the trials: the same command goes on where it was cut off.")
    ] = None,
) -> None:
    """Search for the settings of a baseline that is too slow to be tuned in every benchmark; prints its section.

    The section belongs into benchmarks/baselines/settings.toml. Settings are chosen on the newest part of the training
    data; what models are reported on is not looked at. Hopeless ones are cut short.

    Examples:

        hdrm benchmark settings --split pairs.npz --order chronological --model lightgcn

        hdrm benchmark settings --split pairs.npz --order chronological --model sasrec --study sasrec.study
    """
    writable(study)
    from benchmarks.accuracy.finished import digest_of
    from benchmarks.accuracy.problem import read_problem
    from benchmarks.baselines.registry import TRAINED
    from benchmarks.baselines.space import TRIALS

    if model not in TRAINED:
        raise ConfigError(f"--model: no {model!r}; there are: {', '.join(TRAINED)}")
    problem = read_problem(split, order=order.value, live=None, seed=seed)
    with progress() as display:
        task = display.add_task(model, total=None, note="", unit="ep")

        def phase(name: str, done: int, total: int) -> None:
            display.update(task, description=name, completed=done, total=total)

        best = TRAINED[model].choose(
            problem.search,
            problem.stop,
            problem.n_items,
            ordered=problem.ordered,
            seed=seed,
            progress=phase,
            trials=trials or TRIALS,
            storage=None if study is None else _journal(study),
            name=None if study is None else f"{model} {seed} {digest_of(problem)}",
        )
    out.print(section_of(TRAINED[model], best, command_line()), markup=False, highlight=False, soft_wrap=True)
    err.print("next: put this into benchmarks/baselines/settings.toml")


def _journal(path: Path) -> "JournalStorage":
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    try:
        if path.exists() and path.stat().st_size:  # Optuna would write behind whatever stands there
            with path.open(encoding="utf-8") as file:
                json.loads(file.readline())
        return JournalStorage(JournalFileBackend(str(path)))
    except (OSError, ValueError) as error:
        raise ConfigError(f"--study {path}: not a file of trials ({error})", hint="name a file of its own") from error


def section_of(baseline: "Trained", best: "Best", command: str) -> str:
    """As it stands in settings.toml."""
    lines = [
        f"[{baseline.name}]",
        f"# found by: {command}",
        f"# {best.trials} tried, {best.pruned} cut short; score on what was held out of the training data: "
        f"{best.score:.4f}",
        *(f"{name} = {value:.3g}" for name, value in best.settings.items()),
    ]
    return "\n".join(lines)
