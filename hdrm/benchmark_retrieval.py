"""`hdrm benchmark retrieval`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from hdrm.benchmark_results import Phases, writable, write
from hdrm.console import command_line, out, progress

if TYPE_CHECKING:
    from benchmarks.retrieval.document import Document

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

    with progress() as display:
        phase = Phases(display)
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
    show(document)
    write(document, json_out)


def show(document: "Document") -> None:
    """A table of what was measured."""
    title = (
        f"{document.items:,} items, d = {document.dim}, {document.excluded} excluded, {document.threads} thread, "
        f"queries by {document.batch}"
    )
    table = Table(title=title, box=SIMPLE_HEAD)
    table.add_column("index")
    for head in ("radii", "recall@20", "queries/s", "alone\nµs", "bytes\nan item", "build\ns"):
        table.add_column(head, justify="right")
    for index in document.indexes:
        low, high = index.radii
        table.add_row(
            index.name,
            f"{low:g}-{high:g}",
            f"{index.recall:.4f}",
            f"{index.queries_per_second:,.1f}",
            f"{index.alone_microseconds:,.0f}",
            f"{index.bytes_per_item:.0f}",
            f"{index.build_seconds:.1f}",
        )
    out.print(table)
