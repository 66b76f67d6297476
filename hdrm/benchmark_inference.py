"""`hdrm benchmark inference`."""

import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from hdrm.benchmark_results import Phases, show, writable, write
from hdrm.console import command_line, progress

__all__ = ["measure_inference"]

USERS, ITEMS, HISTORY, DIM = 6040, 2810, 165, 64  # of MovieLens 1M, as `hdrm benchmark accuracy` splits it


def measure_inference(
    models: Annotated[
        Path | None, typer.Option(help="Folder of the model store [default: a generated model of MovieLens 1M's size].")
    ] = None,
    users: Annotated[int, typer.Option(min=1, help="Users of a generated model.")] = USERS,
    items: Annotated[int, typer.Option(min=100, help="Items of a generated model.")] = ITEMS,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of timing; medians are reported.")] = 50,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of users and of a generated model.")] = 0,
    json_out: Annotated[Path | None, typer.Option("--json", help="File to write the result to.")] = None,
) -> None:
    """Microseconds a user from history to ranked items, without HTTP, on one thread.

    By phase, for users asked alone, by 16 and by 256, in turns; beside a loop over users and a loop over users and
    items in float64.

    Examples:

        hdrm benchmark inference --json inference.json

        hdrm benchmark inference --users 1000000 --items 1000000 --rounds 5
    """
    writable(json_out)
    from benchmarks.environment import environment
    from benchmarks.generated import generate_artifact
    from benchmarks.inference.document import Document
    from benchmarks.inference.measure import BATCHES, THREADS, K, measure_batch, measure_loop, users_of
    from benchmarks.inference.report import report
    from model.artifact import load_artifact
    from model.probe import run_probe
    from model.store import ModelStore

    with progress() as display, tempfile.TemporaryDirectory() as folder:
        phase = Phases(display, "rounds")
        if models is None:
            path = generate_artifact(
                ModelStore(Path(folder)),
                users=users,
                items=items,
                mean_length=HISTORY,
                dim=DIM,
                seed=seed,
                on_phase=phase,
            )
        else:
            path = ModelStore(models).path()
        phase("loading", 0, 0)
        started = time.perf_counter()
        artifact = load_artifact(path)
        run_probe(artifact.recommender, artifact.probe)
        loaded = time.perf_counter() - started
        asked = users_of(artifact, seed=seed)
        batches = []
        for size in BATCHES:
            phase.title = f"batch of {size}"
            batches.append(measure_batch(artifact, asked, size, rounds=rounds, progress=phase))
        phase.title = "loop"
        loop = measure_loop(artifact, asked, batches[-1], rounds=max(rounds // 5, 1), progress=phase)
        manifest = artifact.manifest
        document = Document(
            environment=environment(command_line(), trained=False),
            version=manifest.version,
            items=len(artifact.catalogue.items),
            dim=manifest.model.encoder.dim,
            steps=manifest.model.steps,
            load_seconds=loaded,
            mean_history=float(asked.lengths.mean()),
            k=K,
            threads=THREADS,
            batches=batches,
            loop=loop,
        )
    show(report(document))
    write(document, json_out)
