import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.vocabulary import Vocabulary

words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)


@given(st.sets(words, max_size=30), words)
def test_every_id_is_found_at_its_index_and_no_other_is(ids: set[str], other: str) -> None:
    ordered = sorted(ids, key=str.encode)
    vocabulary = Vocabulary.of(ordered)
    assert len(vocabulary) == len(ids)
    assert vocabulary.ids() == ordered
    for index, id_ in enumerate(ordered):
        assert vocabulary.index(id_) == index
        assert vocabulary.id(index) == id_
    assert (vocabulary.index(other) is not None) == (other in ids)


def test_what_is_no_text_is_no_id() -> None:
    assert Vocabulary.of(["a"]).index("\ud800") is None


@pytest.mark.parametrize("ids", [["b", "a"], ["a", "a"]])
def test_unsorted_or_repeated_ids_are_refused(ids: list[str]) -> None:
    with pytest.raises(ValueError, match="byte order"):
        Vocabulary.of(ids)


@pytest.mark.parametrize("index", [-1, 1])
def test_an_index_outside_is_refused(index: int) -> None:
    with pytest.raises(IndexError):
        Vocabulary.of(["a"]).id(index)
