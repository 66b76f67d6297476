"""`hdrm benchmark retrieval`."""

from pathlib import Path
from typing import Annotated

import typer

from hdrm.benchmark_results import Phases, show, writable, write
from hdrm.console import command_line, progress

__all__ = ["measure_retrieval"]


def measure_retrieval(
    items: Annotated[int, typer.Option(min=100, help="Items in the catalogue.")],
    dim: Annotated[int, typer.Option(min=2, max=1024, help="Dimension of the space.")] = 64,
    queries: Annotated[int, typer.Option(min=1, help="Queries that recall is measured with.")] = 256,
    excluded: Annotated[int, typer.Option(min=0, help="Items excluded from each answer.")] = 100,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of timing; medians are reported.")] = 5,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of all randomness.")] = 0,
    json_out: Annotated[Path | None, typer.Option("--json", help="File to write the result to.")] = None,
) -> None:
    """Recall, queries a second, bytes and building time of every way to find the nearest items.

    Items and queries are generated in clusters of clusters (benchmarks/generated.py), with radii from 1 to 3 and from
    1 to 4. Searches run on one thread, in turns. What is true is the certified exact answer.

    Example: hdrm benchmark retrieval --items 1000000 --dim 64 --json retrieval.json
    """
    writable(json_out)
    from benchmarks.environment import environment
    from benchmarks.retrieval.document import Document
    from benchmarks.retrieval.measure import BATCH, THREADS
    from benchmarks.retrieval.measure import measure_retrieval as measure
    from benchmarks.retrieval.report import report

    with progress() as display:
        phase = Phases(display, "rounds")
        phase.title = f"{items:,} items"
        indexes = measure(items, dim, queries=queries, excluded=excluded, rounds=rounds, seed=seed, progress=phase)
    document = Document(
        environment=environment(command_line(), trained=False),
        items=items,
        dim=dim,
        queries=queries,
        excluded=excluded,
        batch=min(BATCH, queries),
        threads=THREADS,
        seed=seed,
        indexes=indexes,
    )
    show(report(document))
    write(document, json_out)
