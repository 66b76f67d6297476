"""A benchmark of inference, for people."""

from benchmarks.inference.document import Document
from benchmarks.report import Part, Table, machine

__all__ = ["report"]


def report(document: Document) -> list[Part]:
    """Tables and sentences."""
    loop, most = document.loop, document.batches[-1].users
    return [
        Table(
            f"{document.version}: {document.items:,} items, d = {document.dim}, {document.steps} steps, histories of "
            f"{document.mean_history:.0f}; microseconds a user",
            ("users at once", "gather", "denoise", "search", "re-rank", "total"),
            [
                (str(b.users), *(f"{value:.1f}" for value in (b.gather, b.denoise, b.search, b.rerank, b.total)))
                for b in document.batches
            ],
        ),
        f"One user after the other in float64: {loop.by_user:,.0f} microseconds a user, {loop.by_user_ratio:.1f} times "
        f"those of a batch of {most}; one item after the other as well: {loop.by_pair:,.0f}, {loop.by_pair_ratio:.0f} "
        f"times. Loaded, checksums and probe verified, in {document.load_seconds:.1f} s.",
        machine(document.environment),
    ]
