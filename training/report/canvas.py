"""Panels: small matplotlib drawings as SVG that takes its colours and its font from the page it is put into.

Colours are drawn as placeholders and written out as CSS variables, so that the same drawing is right on a light and on
a dark page; text stays text. A panel is as wide as a phone, and figures of several panels are laid out by the page.
"""

import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from importlib import resources
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.textpath import TextPath
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

__all__ = [
    "CATEGORIES",
    "GRID",
    "INK",
    "MUTED",
    "PAPER",
    "SERIES",
    "draw",
    "log_axis",
    "standalone",
    "text_width",
    "variable",
]

# placeholder colours, by what they become in the page: var(--ink) and so on
NAMES = ("ink", "muted", "grid", "paper", "s1", "s2", "s3", *(f"c{n}" for n in range(1, 8)))
PLACEHOLDERS = {f"#0000{number + 1:02x}": name for number, name in enumerate(NAMES)}
INK, MUTED, GRID, PAPER, *_coloured = PLACEHOLDERS
SERIES, CATEGORIES = _coloured[:3], _coloured[3:]

STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": MUTED,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 9.5,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.9,
    "svg.fonttype": "none",
    "svg.hashsalt": "hdrm",
    "text.color": INK,
    "text.parse_math": False,  # a dollar in a title is a dollar
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
}
SIZE = (4.5, 3.2)


def draw(
    key: str, paint: Callable[[Axes], None], *, label: str, size: tuple[float, float] = SIZE, bare: bool = False
) -> str:
    """An SVG element.

    Args:
        key: unlike that of any other panel of the page; what is inside is named after it.
        paint: draws into the axes.
        label: what the panel shows, for those who cannot see it; plain text.
        size: width and height in inches.
        bare: no axes, and the drawing fills the whole panel.
    """
    with _style():
        drawing = Drawing(figsize=size, layout=None if bare else "constrained")
        axes = drawing.add_axes((0, 0, 1, 1)) if bare else drawing.add_subplot()
        if bare:
            axes.set_axis_off()
        paint(axes)
        file = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        drawing.savefig(file, format="svg", transparent=True, metadata=nothing)
    return _inline(file.getvalue(), key, label)


def standalone(svg: str) -> str:
    """A panel as a file of its own: with colours for light and for dark, and a ground."""
    palette = resources.files("training.report").joinpath("palette.css").read_text("utf-8")
    head, end, body = svg.partition(">")
    head = head.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
    return f"{head}{end}<style>\n{palette}svg {{ background: var(--paper); }}\n</style>{body.rstrip()}\n"


def variable(colour: str) -> str:
    """The CSS for a placeholder colour."""
    return f"var(--{PLACEHOLDERS[colour]})"


def log_axis(axes: Axes, which: str) -> None:
    """A logarithmic axis, "x" or "y", with plain numbers at 1, 10, 100, and 2 and 5 times these where it is short."""
    axes.set(**{f"{which}scale": "log"})
    axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = axes.get_xlim() if which == "x" else axes.get_ylim()
    axis.set_major_locator(LogLocator(subs=(1.0,) if high / low > 200 else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axis.set_minor_formatter(NullFormatter())


def text_width(text: str, size: float) -> float:
    """Width in points of a line in the font that measures (the page's may be narrower)."""
    with _style():
        return float(TextPath((0, 0), text, size=size).get_extents().x1)


@contextmanager
def _style() -> Iterator[None]:
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        # the page's font draws the text; matplotlib's only measures it
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        yield


def _inline(svg: str, key: str, label: str) -> str:
    """What can stand in an HTML page: no prolog, no size, no style sheet, ids that no other panel has, CSS colours."""
    view = re.search(r'viewBox="([^"]*)"', svg)
    assert view is not None
    body = re.sub(r"<style.*?</style>", "", svg[svg.index(">", view.end()) + 1 :], flags=re.DOTALL)
    body = re.sub(r"<[^>]+>", lambda tag: _tag(tag.group(), key), body)  # what is between tags is text, and stays
    return f'<svg role="img" aria-label="{escape(label)}" viewBox="{view.group(1)}">{body}'


def _tag(tag: str, key: str) -> str:
    tag = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{key}-", tag.replace("xlink:href", "href"))
    for colour, name in PLACEHOLDERS.items():
        tag = tag.replace(colour, f"var(--{name})")
    return tag
