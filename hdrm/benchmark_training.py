"""`hdrm benchmark training`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from hdrm.benchmark_results import Phases, show, writable, write
from hdrm.console import command_line, progress
from hdrm.data import RowOrder, SplitOrder, read_either
from model.errors import ConfigError

__all__ = ["measure_training", "numbers_of"]

SMALLEST, LARGEST = 1e4, 1e9


def measure_training(
    interactions: Annotated[
        str | None, typer.Option(metavar="N,N,...", help="Sizes of synthetic data to train on, such as 1e5,1e6.")
    ] = None,
    split: Annotated[
        Path | None,
        typer.Option(help="A pre-split .npz, or a folder of `hdrm data`: time until a recall is reached there."),
    ] = None,
    order: SplitOrder = RowOrder.NONE,
    levels: Annotated[
        str | None, typer.Option(metavar="R,R,...", help="With --split: values of recall@20 to reach.")
    ] = None,
    epochs: Annotated[
        int, typer.Option(min=1, help="With --interactions: epochs of each stage, the fastest of which counts.")
    ] = 3,
    preset: Annotated[str, typer.Option(help="Settings: the name of a preset, or a .toml file.")] = "default",
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Change a setting; may be given several times."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of all randomness.")] = 0,
    json_out: Annotated[Path | None, typer.Option("--json", help="File to write the result to.")] = None,
) -> None:
    """Time of training: how it grows with the data, and how soon it is as good as other models.

    With --interactions: a few epochs of all stages on synthetic data of each size, in a process of its own; seconds
    an epoch, peak memory, and the exponents they grow by. With --split: a training with a clock beside it, recall@20 on
    the newest part of the training data after every epoch, beside EASE and iALS, tuned and fitted in the same run.

    Examples:

        hdrm benchmark training --interactions 1e5,1e6,1e7 --json growth.json

        hdrm benchmark training --split pairs.npz --order chronological --levels 0.1,0.2 --json pace.json
    """
    if interactions is None and split is None:
        raise typer.BadParameter("give one of the two, or both", param_hint="--interactions or --split")
    writable(json_out)
    sizes = [int(size) for size in numbers_of(interactions or "", "--interactions", SMALLEST, LARGEST)]
    wanted = numbers_of(levels or "", "--levels", 0.0, 1.0)
    from benchmarks.environment import environment
    from benchmarks.training.document import Document
    from benchmarks.training.growth import measure_growth
    from benchmarks.training.pace import measure_pace
    from benchmarks.training.report import report

    varied = changes or []
    growth, pace = None, None
    with progress() as display:
        phase = Phases(display, "ep")
        if sizes:
            growth = measure_growth(
                sizes, preset=preset, changes=varied, seed=seed, epochs=epochs, on_size=phase.size, on_phase=phase
            )
        if split is not None:
            folder, file = (split, None) if split.is_dir() else (None, split)
            dataset = read_either(folder, file, order)
            phase.title = escape(dataset.info.name)
            pace = measure_pace(dataset, preset=preset, changes=varied, levels=wanted, seed=seed, on_phase=phase)
    document = Document(environment=environment(command_line(), trained=True), growth=growth, pace=pace)
    show(report(document))
    write(document, json_out)


def numbers_of(text: str, option: str, low: float, high: float) -> list[float]:
    """`1e5,1e6`: different numbers between two bounds, rising; of no text none.

    Raises:
        ConfigError: it is something else.
    """
    if not text:
        return []
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or not all(low <= number <= high for number in numbers):
        raise ConfigError(f"{option} {text}: expected numbers from {low:g} to {high:g}, with commas between")
    return sorted(set(numbers))
