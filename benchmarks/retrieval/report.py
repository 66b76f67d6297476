"""A benchmark of retrieval, for people."""

from benchmarks.report import Part, Table, machine
from benchmarks.retrieval.document import Document

__all__ = ["report"]


def report(document: Document) -> list[Part]:
    """Tables and sentences."""
    return [
        Table(
            f"{document.items:,} items, d = {document.dim}, {document.excluded} excluded, {document.threads} thread, "
            f"queries by {document.batch}",
            ("index", "radii", "recall@20", "queries/s", "alone, µs", "bytes an item", "build, s"),
            [
                (
                    index.name,
                    f"{index.radii[0]:g}-{index.radii[1]:g}",
                    f"{index.recall:.4f}",
                    f"{index.queries_per_second:,.1f}",
                    f"{index.alone_microseconds:,.0f}",
                    f"{index.bytes_per_item:.0f}",
                    f"{index.build_seconds:.1f}",
                )
                for index in document.indexes
            ],
        ),
        machine(document.environment),
    ]
