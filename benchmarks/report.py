"""What is said of a benchmark: tables and sentences, the same on a terminal and on a page."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.environment import Environment

__all__ = ["Part", "Table", "machine", "markdown", "markdown_table", "seconds"]


@dataclass(frozen=True)
class Table:
    """Rows of text; the first column is a name, the others are figures."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


Part = Table | str


def machine(environment: Environment) -> str:
    """A line about what was measured with."""
    where = "" if environment.device == "cpu" else f"{environment.device}; "
    return (
        f"{where}{environment.processor}, {environment.threads} threads of torch on {environment.cores} cores, "
        f"load {environment.load:.1f}"
    )


def markdown(parts: Iterable[Part]) -> list[str]:
    """The paragraphs of a page."""
    return [
        text
        for part in parts
        for text in (
            (part,) if isinstance(part, str) else (f"**{part.title}**", markdown_table(part.header, part.rows))
        )
    ]


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Names to the left, figures to the right."""
    aligned = ["---", *(["---:"] * (len(header) - 1))]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, aligned, *rows))


def seconds(value: float | None) -> str:
    """A time that may not have come."""
    return "never" if value is None else f"{value:.2f}"
