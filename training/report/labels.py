"""Titles beside dots, none upon another."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.report.canvas import text_width

__all__ = ["Box", "Label", "place_labels", "short"]

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

Box = tuple[float, float, float, float]  # left, bottom, right, top

CLEAR = 4.0  # points around a labelled dot that are kept free
GAP = 5.0  # points between a dot and its title
LONGEST = 30  # characters


@dataclass(frozen=True)
class Label:
    """A title's place.

    Attributes:
        item: whose it is.
        box: what it covers, in points.
    """

    item: int
    box: Box


def place_labels(
    points: Float64,
    titles: Sequence[str],
    order: Iterable[int],
    cells: Int64,
    *,
    most: int,
    size: float,
    reach: float,
    taken: Sequence[Box] = (),
) -> list[Label]:
    """Label items one after the other, as long as there is room: right of the dot, else left, above, below.

    Args:
        points: the dots (m, 2), in points from the drawing's centre.
        titles: the items' titles; an empty one is no label.
        order: item indices, those to be preferred first.
        cells: (m,) a region for every item; each gets one label.
        most: how many labels.
        size: of the font, points.
        reach: half the drawing's side, points; nothing may go beyond.
        taken: boxes to keep clear.
    """
    labels: list[Label] = []
    boxes, used = list(taken), set[int]()
    for item in order:
        if len(labels) == most:
            break
        x, y = (float(coordinate) for coordinate in points[item])
        dot = (x - CLEAR, y - CLEAR, x + CLEAR, y + CLEAR)
        if int(cells[item]) in used or not titles[item] or _hits(dot, boxes):
            continue
        w, h = text_width(titles[item], size), 1.2 * size
        for dx, dy in ((GAP, -h / 2), (-GAP - w, -h / 2), (-w / 2, GAP), (-w / 2, -GAP - h)):
            box = (x + dx, y + dy, x + dx + w, y + dy + h)
            if max(map(abs, box)) < reach and not _hits(box, boxes):
                labels.append(Label(int(item), box))
                boxes += [box, dot]
                used.add(int(cells[item]))
                break
    return labels


def short(title: str) -> str:
    """On one line, without what cannot be printed, not too long."""
    line = " ".join("".join(c if c.isprintable() else " " for c in title).split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1].rstrip() + "…"


def _hits(box: Box, others: Iterable[Box]) -> bool:
    return any(box[0] < o[2] and o[0] < box[2] and box[1] < o[3] and o[1] < box[3] for o in others)
