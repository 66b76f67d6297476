"""A benchmark of events, for people."""

from benchmarks.events.document import Document
from benchmarks.report import Part, Table, machine

__all__ = ["report"]


def report(document: Document) -> list[Part]:
    """Tables and sentences."""
    parts: list[Part] = []
    if document.replay is not None:
        replay = document.replay
        names = sorted(replay.offline, reverse=True)
        parts.append(
            Table(
                f"{replay.history} told as {replay.events:,} events; {replay.users:,} users asked for {replay.truth}",
                ("", *names),
                [
                    ("in the process", *(f"{replay.offline[name]:.4f}" for name in names)),
                    ("over HTTP", *(f"{replay.served[name]:.4f}" for name in names)),
                    ("over HTTP, anonymous", *(f"{replay.anonymous[name]:.4f}" for name in names)),
                ],
            )
        )
    parts += [
        Table(
            "The next answer, over a new connection",
            ("log", "workers", "events", "effective"),
            [(e.log, str(e.workers), f"{e.events:,}", f"{e.effective:,}") for e in document.effects],
        ),
        Table(
            "Batches without pause, beside recommendations, one worker",
            ("log", "batch", "events/s", "p50, ms", "p99, ms", "recommendations/s", "errors", "acknowledged", "lost"),
            [
                (
                    s.log,
                    str(s.batch),
                    f"{s.events_per_second:,.0f}",
                    f"{s.p50_ms:.1f}",
                    f"{s.p99_ms:.1f}",
                    f"{s.recommendations_per_second:,.0f}",
                    str(s.recommendation_errors),
                    f"{s.acknowledged:,}",
                    str(s.lost),
                )
                for s in document.streams
            ],
        ),
        Table(
            "Killed while it takes events",
            ("log", "kills", "acknowledged", "lost", "twice"),
            [(k.log, str(k.kills), f"{k.acknowledged:,}", str(k.lost), str(k.twice)) for k in document.kills],
        ),
    ]
    if document.placements:
        parts.append(
            Table(
                f"{document.placements[0].items} items placed as if they were new: who has one among the first 20",
                ("placed by", "how", "others who took it next", "everybody"),
                [
                    (str(p.takers) if p.takers else "training", p.way, f"{p.later:.3f}", f"{p.everybody:.3f}")
                    for p in document.placements
                ],
            )
        )
    parts.append(machine(document.environment))
    return parts
