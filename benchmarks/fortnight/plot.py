"""A simulated fortnight as a drawing."""

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from benchmarks.fortnight.document import POLICIES, Document, Policy
from training.report.canvas import PAPER, SERIES, draw, standalone

__all__ = ["plot"]

SIZE = (7.5, 3.6)
METRIC = "recall@20"
LINES: dict[Policy, tuple[str, str, str]] = {  # label, line, marker
    "retrained": ("live events, retrained every night", "-", "o"),
    "live": ("live events, never retrained", "--", "s"),
    "frozen": ("no events, never retrained", ":", "^"),
}


def plot(document: Document) -> str:
    """SVG of recall@20 on each day, by policy; hollow where the night brought no new model."""
    days = document.days
    numbers = list(range(1, len(days) + 1))

    def paint(axes: Axes) -> None:
        for policy, colour in zip(reversed(POLICIES), SERIES, strict=True):
            label, line, marker = LINES[policy]
            values = [day.figures[policy][METRIC] for day in days]
            axes.plot(numbers, values, color=colour, linestyle=line, marker=marker, markersize=4.5, label=label)
        kept = [number for number, day in zip(numbers, days, strict=True) if day.night.outcome != "published"]
        values = [days[number - 1].figures["retrained"][METRIC] for number in kept]
        axes.plot(kept, values, "o", color=SERIES[0], markerfacecolor=PAPER, markersize=5, zorder=3)
        highest = max(value[METRIC] for day in days for value in day.figures.values())
        axes.set(xlabel="day", ylabel=METRIC, ylim=(0, 1.08 * highest or 1))
        axes.xaxis.set_major_locator(MaxNLocator(len(days), integer=True, min_n_ticks=1))
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.16), ncols=3, frameon=False, fontsize=8.5)

    return standalone(draw("fortnight", paint, label="recall@20 on each day, by policy", size=SIZE))
