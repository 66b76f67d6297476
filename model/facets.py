"""What items can be filtered by: their release years and categories, as arrays that can be memory-mapped."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.fragments import ItemMetadata
from model.history import Histories
from model.vocabulary import Vocabulary

__all__ = ["NO_YEAR", "Facets"]

Int32 = npt.NDArray[np.int32]

NO_YEAR = np.iinfo(np.int32).min


@dataclass(frozen=True)
class Facets:
    """Of m items.

    Attributes:
        years: release years, (m,) int32, `NO_YEAR` where not known.
        categories: their names.
        members: one row a category, item indices, ascending.
    """

    years: Int32
    categories: Vocabulary
    members: Histories

    @classmethod
    def of(cls, metadata: ItemMetadata) -> "Facets":
        """Of all items.

        Raises:
            ValueError: a year that 32 bits cannot hold.
        """
        known = [year for year in metadata.years if year is not None]
        if known and not NO_YEAR < min(known) <= max(known) < -NO_YEAR:
            raise ValueError(f"years: got {min(known)} to {max(known)}, expected {NO_YEAR + 1} to {-NO_YEAR - 1}")
        years = np.array([NO_YEAR if year is None else year for year in metadata.years], np.int32)
        names = sorted({name for own in metadata.categories for name in own}, key=str.encode)
        rows = {name: row for row, name in enumerate(names)}
        pairs = [(rows[name], item) for item, own in enumerate(metadata.categories) for name in dict.fromkeys(own)]
        categories, items = np.array(pairs, np.int64).reshape(-1, 2).T
        members = Histories.from_pairs(categories, items.astype(np.int32), len(names))
        return cls(years, Vocabulary.of(names), members)

    def of_category(self, name: str) -> Int32:
        """The items of a category, ascending; none of one that there is not."""
        row = self.categories.index(name)
        return np.zeros(0, np.int32) if row is None else self.members[row]
