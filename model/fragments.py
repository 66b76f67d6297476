"""What answers say about items: a JSON fragment of each, serialised once, so that an answer is joined, not made.

A fragment is an object without its braces: `"item_id":"50","title":"Star Wars","year":1977,"categories":["Action"]`.
Fields that are not known are left out.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.vocabulary import Vocabulary

__all__ = ["Fragments", "ItemFacts", "ItemMetadata"]


@dataclass(frozen=True)
class ItemMetadata:
    """What is known of the items, by item index; each list has one entry an item."""

    titles: list[str | None]
    years: list[int | None]
    categories: list[list[str]]


@dataclass(frozen=True)
class ItemFacts:
    """What is known of one item."""

    title: str | None
    year: int | None
    categories: list[str]


@dataclass(frozen=True)
class Fragments:
    """n fragments.

    Attributes:
        blob: all of them, UTF-8, one after the other: (bytes,) uint8; may be a memory map.
        offsets: fragment i is blob[offsets[i]:offsets[i + 1]]: (n + 1,) int64.
    """

    blob: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        offsets = self.offsets
        if len(offsets) == 0 or offsets[0] != 0 or offsets[-1] != len(self.blob) or (offsets[1:] < offsets[:-1]).any():
            raise ValueError("offsets: expected n + 1 offsets that never fall, from 0 to the number of bytes")

    @classmethod
    def of(cls, ids: Vocabulary, metadata: ItemMetadata) -> "Fragments":
        """Of all items of a vocabulary.

        Raises:
            ValueError: a list of the metadata has not one entry an item.
        """
        sizes = {
            "titles": len(metadata.titles),
            "years": len(metadata.years),
            "categories": len(metadata.categories),
        }
        for name, got in sizes.items():
            if got != len(ids):
                raise ValueError(f"{name}: got {got}, expected {len(ids)}")
        rows = zip(ids.ids(), metadata.titles, metadata.years, metadata.categories, strict=True)
        encoded = [_fragment(*row) for row in rows]
        offsets = np.zeros(len(encoded) + 1, np.int64)
        np.cumsum([len(e) for e in encoded], out=offsets[1:])
        return cls(np.frombuffer(b"".join(encoded), np.uint8), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, item: int) -> bytes:
        if not 0 <= item < len(self):
            raise IndexError(f"item {item} of {len(self)}")
        return self.blob[self.offsets[item] : self.offsets[item + 1]].tobytes()

    def __iter__(self) -> Iterator[bytes]:
        return (self[item] for item in range(len(self)))

    def facts(self, item: int) -> ItemFacts:
        """An item's fragment, read again."""
        known = json.loads(b"{" + self[item] + b"}")
        return ItemFacts(known.get("title"), known.get("year"), known.get("categories", []))

    def metadata(self) -> ItemMetadata:
        """All of them, read again."""
        facts = [self.facts(item) for item in range(len(self))]
        return ItemMetadata([f.title for f in facts], [f.year for f in facts], [f.categories for f in facts])


def _fragment(item_id: str, title: str | None, year: int | None, categories: list[str]) -> bytes:
    known = {"item_id": item_id, "title": title, "year": year, "categories": categories or None}
    present = {name: value for name, value in known.items() if value is not None}
    return json.dumps(present, ensure_ascii=False, separators=(",", ":"))[1:-1].encode()
