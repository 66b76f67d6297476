"""Which items a filter leaves."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from model.facets import NO_YEAR
from service.live.items import LiveItems
from service.requests import Filter, Range

__all__ = ["allowed_items", "known_categories"]

Int32 = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]


def allowed_items(wanted: Filter, items: LiveItems) -> Int32:
    """The items that a filter leaves, ascending, new ones included; unknown ids and categories match none."""
    catalogue, (changed, years) = items.catalogue, items.changed_facets()
    facets, mask = catalogue.facets, np.ones(len(items), np.bool_)
    within = mask[: items.size]  # a view

    def of(names: Sequence[str]) -> Mask:
        """The items of any of these categories."""
        union = np.zeros(len(items), np.bool_)
        for name in names:
            union[facets.of_category(name)] = True
        union[changed] = False  # what the model says of them is not so any more
        for name in names:
            now = items.changed_of_category(name)
            union[now[now < len(union)]] = True  # another thread may have added items since
        return union

    if wanted.categories_any:
        mask &= of(wanted.categories_any)
    for name in wanted.categories_all:
        mask &= of([name])
    if wanted.categories_none:
        mask &= ~of(wanted.categories_none)
    if wanted.year is not None:
        all_years = np.full(len(items), NO_YEAR, np.int32)
        all_years[: items.size] = facets.years
        all_years[changed] = years
        mask &= _inside(wanted.year, all_years) & (all_years != NO_YEAR)
    if wanted.interactions is not None:
        within &= _inside(wanted.interactions, catalogue.counts)
        mask[items.size :] &= _inside(wanted.interactions, np.zeros(len(items) - items.size, np.int64))
    if wanted.allow:
        allowed = np.zeros(len(items), np.bool_)
        allowed[_indices(wanted.allow, items, len(mask))] = True
        mask &= allowed
    mask[_indices(wanted.deny, items, len(mask))] = False
    return np.flatnonzero(mask).astype(np.int32)


def known_categories(names: Sequence[str], items: LiveItems) -> bool:
    """Whether there are items of each of these categories, or were when the model was trained."""
    return all(
        items.catalogue.facets.categories.index(name) is not None or len(items.changed_of_category(name))
        for name in names
    )


def _indices(ids: Sequence[str], items: LiveItems, size: int) -> list[int]:
    """Those of the first `size` items."""
    return [index for item_id in ids if (index := items.index(item_id)) is not None and index < size]


def _inside(bounds: Range, values: npt.NDArray[np.integer]) -> Mask:
    mask = np.ones(len(values), np.bool_)
    if bounds.gte is not None:
        mask &= values >= bounds.gte
    if bounds.lte is not None:
        mask &= values <= bounds.lte
    return mask
