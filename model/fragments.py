"""What answers say about items: a JSON fragment of each, serialised once, so that an answer is joined, not made.

A fragment is an object without its braces: `"item_id":"50","title":"Star Wars","year":1977,"categories":["Action"]`.
Fields that are not known are left out.
"""

import json
from dataclasses import dataclass

from model.byte_rows import ByteRows
from model.vocabulary import Vocabulary

__all__ = ["Fragments", "ItemFacts", "ItemMetadata", "fragment"]


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


class Fragments(ByteRows):
    """One fragment an item, UTF-8."""

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
        facts = map(ItemFacts, metadata.titles, metadata.years, metadata.categories)
        return cls.pack([fragment(item_id, own) for item_id, own in zip(ids.ids(), facts, strict=True)])

    def facts(self, item: int) -> ItemFacts:
        """An item's fragment, read again."""
        known = json.loads(b"{" + self[item] + b"}")
        return ItemFacts(known.get("title"), known.get("year"), known.get("categories", []))

    def metadata(self) -> ItemMetadata:
        """All of them, read again."""
        facts = [self.facts(item) for item in range(len(self))]
        return ItemMetadata([f.title for f in facts], [f.year for f in facts], [f.categories for f in facts])


def fragment(item_id: str, facts: ItemFacts) -> bytes:
    """That of one item."""
    known = {"item_id": item_id, "title": facts.title, "year": facts.year, "categories": facts.categories or None}
    present = {name: value for name, value in known.items() if value is not None}
    return json.dumps(present, ensure_ascii=False, separators=(",", ":"))[1:-1].encode()
