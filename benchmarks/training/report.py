"""A benchmark of training, for people."""

from benchmarks.report import Part, Table, machine, seconds
from benchmarks.training.document import Document, Growth, Pace

__all__ = ["report"]


def report(document: Document) -> list[Part]:
    """Tables and sentences."""
    parts: list[Part] = []
    if document.growth is not None:
        parts.append(_growth(document.growth))
        parts += [f"{int(size):,}: {reason}" for size, reason in document.growth.failures.items()]
    if document.pace is not None:
        parts.append(_pace(document.pace))
        if document.pace.levels:
            parts.append(_levels(document.pace))
    return [*parts, machine(document.environment)]


def _growth(growth: Growth) -> Table:
    rows = [
        (
            f"{size.interactions:,}",
            f"{size.users:,}",
            f"{size.items:,}",
            *(
                f"{value:.3g}"
                for value in (
                    size.prepare_seconds,
                    size.encoder_seconds,
                    size.attention_seconds,
                    size.diffusion_seconds,
                    size.cpu_seconds,
                )
            ),
            f"{size.memory_bytes / 1e6:,.0f}",
        )
        for size in growth.sizes
    ]
    rows += [
        (label, *(f"{value:.2f}" for value in exponents.values()))
        for label, exponents in (("exponent", growth.exponents), ("last two", growth.last_exponents))
        if exponents
    ]
    header = (
        "interactions",
        "users",
        "items",
        "setup",
        "encode",
        "attend",
        "diff.",
        "CPU",
        "MB",
    )
    return Table(f"Training on synthetic data, preset {growth.preset}; seconds of an epoch of each stage", header, rows)


def _pace(pace: Pace) -> Table:
    return Table(
        f"{pace.data}: on the next items of {pace.measured:,} users, {pace.interactions:,} interactions learned",
        ("model", "fit, s", "tuning, s", "recall@20", "NDCG@20", "HDRM as good after, s"),
        [
            (
                model.model,
                seconds(model.fit_seconds),
                "" if model.tuning_seconds is None else seconds(model.tuning_seconds),
                f"{model.recall:.4f}",
                f"{model.ndcg:.4f}",
                seconds(model.matched_after),
            )
            for model in pace.models
        ],
    )


def _levels(pace: Pace) -> Table:
    rows = [(f"{level.recall:g}", seconds(level.seconds)) for level in pace.levels]
    return Table("Levels", ("recall@20", "HDRM after, s"), rows)
