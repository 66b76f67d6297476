"""A figure as the page shows it."""

from dataclasses import dataclass

__all__ = ["Figure", "Mark", "Table"]


@dataclass(frozen=True)
class Mark:
    """An entry of a legend.

    Attributes:
        label: what it stands for, plain text.
        colour: a placeholder colour of training.report.canvas.
        dash: the pattern of a line, as SVG writes it; "" is solid, None a dot.
    """

    label: str
    colour: str
    dash: str | None = ""


@dataclass(frozen=True)
class Table:
    """The numbers behind a figure: plain text."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Figure:
    """All texts are plain.

    Attributes:
        title: what it shows.
        finding: the sentence to take away.
        detail: how to read it and how it was measured.
        panels: SVG elements.
        legend: what their colours mean.
        table: the numbers.
        narrow: an SVG element that takes the panels' place on a phone.
    """

    title: str
    finding: str
    detail: str
    panels: tuple[str, ...]
    legend: tuple[Mark, ...] = ()
    table: Table | None = None
    narrow: str | None = None
