import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.fragments import Fragments, ItemFacts, ItemMetadata
from model.vocabulary import Vocabulary

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
FACTS = st.tuples(st.none() | TEXT, st.none() | st.integers(-(2**53), 2**53), st.lists(TEXT))


@given(st.dictionaries(TEXT, FACTS))
def test_what_was_serialised_is_read_again(known: dict[str, tuple[str | None, int | None, list[str]]]) -> None:
    ids = sorted(known, key=str.encode)
    titles, years, categories = (
        (list(column) for column in zip(*(known[i] for i in ids), strict=True)) if ids else ([],) * 3
    )
    metadata = ItemMetadata(titles, years, categories)
    fragments = Fragments.of(Vocabulary.of(ids), metadata)
    assert len(fragments) == len(ids)
    for item, (id_, fragment) in enumerate(zip(ids, fragments, strict=True)):
        assert json.loads(b"{" + fragment + b"}")["item_id"] == id_
        assert fragments[item] == fragment
        assert fragments.facts(item) == ItemFacts(*known[id_])
    assert fragments.metadata() == metadata


def test_what_is_not_known_is_left_out() -> None:
    fragments = Fragments.of(Vocabulary.of(["1", "2"]), ItemMetadata(["Amélie", None], [2001, None], [["a", "b"], []]))
    assert list(fragments) == [
        '"item_id":"1","title":"Amélie","year":2001,"categories":["a","b"]'.encode(),
        b'"item_id":"2"',
    ]


def test_callers_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="years: got 0, expected 1"):
        Fragments.of(Vocabulary.of(["1"]), ItemMetadata([None], [], [[]]))
    with pytest.raises(ValueError, match="never fall"):
        Fragments(np.zeros(3, np.uint8), np.array([0, 2]))
    fragments = Fragments.of(Vocabulary.of(["1"]), ItemMetadata([None], [None], [[]]))
    for item in (-1, 1):
        with pytest.raises(IndexError, match=f"row {item} of 1"):
            fragments[item]
