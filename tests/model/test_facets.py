import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.facets import NO_YEAR, Facets
from model.fragments import ItemMetadata

NAMES = st.lists(st.sampled_from(["Drama", "Comedy", "Action", "Ökofilm"]), max_size=5)


@given(st.lists(st.tuples(st.none() | st.integers(NO_YEAR + 1, -NO_YEAR - 1), NAMES)))
def test_facets_hold_what_the_metadata_says(items: list[tuple[int | None, list[str]]]) -> None:
    facets = Facets.of(ItemMetadata([None] * len(items), [year for year, _ in items], [own for _, own in items]))
    assert facets.years.tolist() == [NO_YEAR if year is None else year for year, _ in items]
    assert set(facets.categories.ids()) == {name for _, own in items for name in own}
    for name in ("Drama", "Ökofilm", "no such"):
        assert facets.of_category(name).tolist() == [item for item, (_, own) in enumerate(items) if name in own]
    assert facets.of_category("Drama").dtype == np.int32


def test_a_year_has_to_fit() -> None:
    with pytest.raises(ValueError, match="years: got 2147483648 to 2147483648, expected -2147483647 to 2147483647"):
        Facets.of(ItemMetadata([None], [2**31], [[]]))
