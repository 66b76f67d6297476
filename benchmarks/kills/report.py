"""A benchmark of kills, for people."""

from benchmarks.kills.document import Document
from benchmarks.report import Part, Table, machine

__all__ = ["report"]


def report(document: Document) -> list[Part]:
    """Tables and sentences."""
    phases = document.phases.model_dump()
    return [
        Table(
            f"{document.data}, {document.interactions:,} interactions: {document.kills} retrainings killed, "
            f"{document.aimed} of them when the model was written or soon after",
            ("killed while", *phases),
            [("kills", *map(str, phases.values()))],
        ),
        Table(
            "Afterwards",
            ("", "found"),
            [
                ("broken", str(len(document.broken))),
                ("versions verified", f"{document.verified:,}"),
                ("next run published", str(document.published)),
                ("next run had nothing to do", str(document.unchanged)),
                ("there was a checkpoint", str(document.checkpoints)),
                ("longest wait for the lease, s", f"{document.lease_seconds:.1f}"),
                ("longest next run, s", f"{document.next_seconds:.1f}"),
                ("a run that nobody killed, s", f"{document.run_seconds:.1f}"),
                ("answers of a server meanwhile", f"{document.answers:,}"),
                ("failed requests to it", str(document.failed)),
                ("versions at the end", str(document.versions)),
                ("left behind for a day", f"{document.leftovers} ({document.leftover_bytes / 1e6:.1f} MB)"),
            ],
        ),
        *(f"Broken: {sentence}" for sentence in document.broken),
        machine(document.environment),
    ]
