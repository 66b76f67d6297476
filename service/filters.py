"""Which items a filter leaves."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from model.facets import NO_YEAR
from model.fragments import ItemFacts
from service.live.items import LiveItems
from service.requests import Filter, Range

__all__ = ["allowed_items", "known_categories"]

Int32 = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]


def allowed_items(wanted: Filter, items: LiveItems) -> Int32:
    """The items that a filter leaves, ascending, new ones included; unknown ids and categories match none."""
    catalogue = items.catalogue
    facets = catalogue.facets
    mask = np.ones(len(items), np.bool_)
    if wanted.allow:
        mask[:] = False
        mask[_indices(wanted.allow, items)] = True
    of = facets.of_category
    within = mask[: items.size]  # a view
    if wanted.categories_any:
        within &= _union([of(name) for name in wanted.categories_any], items.size)
    for name in wanted.categories_all:
        within &= _union([of(name)], items.size)
    if wanted.categories_none:
        within &= ~_union([of(name) for name in wanted.categories_none], items.size)
    if wanted.year is not None:
        within &= _inside(wanted.year, facets.years) & (facets.years != NO_YEAR)
    if wanted.interactions is not None:
        within &= _inside(wanted.interactions, catalogue.counts)
    rule = _rule(wanted)
    allowed = set(wanted.allow)
    for index, facts in list(items.changed.items()):
        count = int(catalogue.counts[index]) if index < items.size else 0
        mask[index] = rule(facts, count) and (not allowed or items.id(index) in allowed)
    mask[_indices(wanted.deny, items)] = False
    return np.flatnonzero(mask).astype(np.int32)


def known_categories(names: Sequence[str], items: LiveItems) -> bool:
    """Whether there are items of each of these categories, or were when the model was trained."""
    missing = {name for name in names if items.catalogue.facets.categories.index(name) is None}
    return not missing or missing <= {name for facts in list(items.changed.values()) for name in facts.categories}


def _rule(wanted: Filter) -> Callable[[ItemFacts, int], bool]:
    """The filter for one item, but for its id."""
    any_of, all_of, none_of = map(
        frozenset[str], (wanted.categories_any, wanted.categories_all, wanted.categories_none)
    )

    def holds(facts: ItemFacts, count: int) -> bool:
        own = set(facts.categories)
        return (
            (not any_of or bool(own & any_of))
            and all_of <= own
            and not own & none_of
            and (wanted.year is None or (facts.year is not None and _holds(wanted.year, facts.year)))
            and (wanted.interactions is None or _holds(wanted.interactions, count))
        )

    return holds


def _indices(ids: Sequence[str], items: LiveItems) -> list[int]:
    return [index for item_id in ids if (index := items.index(item_id)) is not None]


def _union(members: Sequence[Int32], size: int) -> Mask:
    mask = np.zeros(size, np.bool_)
    for own in members:
        mask[own] = True
    return mask


def _inside(bounds: Range, values: npt.NDArray[np.integer]) -> Mask:
    mask = np.ones(len(values), np.bool_)
    if bounds.gte is not None:
        mask &= values >= bounds.gte
    if bounds.lte is not None:
        mask &= values <= bounds.lte
    return mask


def _holds(bounds: Range, value: int) -> bool:
    return (bounds.gte is None or value >= bounds.gte) and (bounds.lte is None or value <= bounds.lte)
