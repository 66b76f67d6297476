"""The columns of a data set's two tables.

`interactions`, one row for each interaction, in the order of the source:

| column    | dtype               |                                                     |
|-----------|---------------------|-----------------------------------------------------|
| user_id   | String              | never null, never empty                             |
| item_id   | String              | never null, never empty                             |
| timestamp | Datetime("us","UTC")| null in every row unless `info.order == "timestamp"`|
| rating    | Float32             | optional column; null where the source has none     |
| part      | String              | only if `info.presplit`: "train", "valid" or "test" |

`items`, one row for each item that is known, sorted by item_id:

| column     | dtype        |                              |
|------------|--------------|------------------------------|
| item_id    | String       | unique                       |
| title      | String       | null where unknown           |
| year       | Int32        | null where unknown           |
| categories | List(String) | empty where there are none   |
"""

from typing import Final

import polars as pl

__all__ = ["INTERACTION_TYPES", "ITEM_TYPES", "PARTS", "TIMESTAMP"]

PARTS: Final = ("train", "valid", "test")
TIMESTAMP: Final = pl.Datetime("us", "UTC")

INTERACTION_TYPES: Final[dict[str, pl.DataType]] = {
    "user_id": pl.String(),
    "item_id": pl.String(),
    "timestamp": TIMESTAMP,
    "rating": pl.Float32(),
    "part": pl.String(),
}
ITEM_TYPES: Final[dict[str, pl.DataType]] = {
    "item_id": pl.String(),
    "title": pl.String(),
    "year": pl.Int32(),
    "categories": pl.List(pl.String()),
}
