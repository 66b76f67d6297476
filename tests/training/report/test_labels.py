"""Titles on the map: none upon another, none outside, the preferred ones first."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from training.report.labels import Box, Label, place_labels, short

REACH, SIZE = 150.0, 8.5


def place(points: list[tuple[float, float]], *, most: int = 20, taken: tuple[Box, ...] = ()) -> list[Label]:
    titles = [f"Title {item}" for item in range(len(points))]
    cells = np.arange(len(points))
    return place_labels(
        np.array(points).reshape(-1, 2),
        titles,
        range(len(points)),
        cells,
        most=most,
        size=SIZE,
        reach=REACH,
        taken=taken,
    )


def meet(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


@settings(max_examples=30)
@given(st.lists(st.tuples(st.floats(-140, 140), st.floats(-140, 140)), max_size=40))
def test_no_title_covers_another_or_a_labelled_dot_or_leaves_the_drawing(points: list[tuple[float, float]]) -> None:
    taken = (-20.0, -20.0, 20.0, 20.0)
    labels = place(points, taken=(taken,))
    boxes = [label.box for label in labels]
    for number, box in enumerate(boxes):
        assert max(map(abs, box)) < REACH
        assert not any(meet(box, other) for other in [taken, *boxes[:number], *boxes[number + 1 :]])
        for x, y in (points[label.item] for label in labels):
            assert not (box[0] < x < box[2] and box[1] < y < box[3])


def test_those_to_be_preferred_come_first_and_no_more_than_wanted() -> None:
    points = [(0.0, 0.0), (1.0, 1.0), (0.0, 60.0), (0.0, -60.0)]
    assert [label.item for label in place(points, most=2)] == [0, 2]  # 1 lies on 0


def test_a_region_gets_one_title_and_an_empty_title_none() -> None:
    points = np.array([[0.0, 0.0], [0.0, 60.0], [0.0, -60.0]])
    labels = place_labels(points, ["", "b", "c"], [0, 1, 2], np.array([0, 7, 7]), most=9, size=SIZE, reach=REACH)
    assert [label.item for label in labels] == [1]


def test_a_title_is_one_printable_line() -> None:
    assert short("a\x0bb\n  c\u200b") == "a b c"
    assert short("x" * 30) == "x" * 30
    assert short("word " * 30) == "word word word word word word…"
