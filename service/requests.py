"""Requests of the HTTP interface. They are strict: nothing is converted, nothing is ignored."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, model_validator
from pydantic_core import PydanticCustomError

__all__ = [
    "MOST_ENTRIES",
    "MOST_ITEMS",
    "MOST_LISTED",
    "Activation",
    "Asker",
    "BatchRequest",
    "CanaryWish",
    "FieldName",
    "Filter",
    "Id",
    "ItemFields",
    "NewItem",
    "PopularParams",
    "Range",
    "RankRequest",
    "RecommendRequest",
    "SimilarItemsParams",
    "SimilarUsersParams",
    "Strict",
]

FieldName = Literal["item_id", "rank", "score", "distance", "title", "year", "categories", "reasons"]
MOST_ITEMS = 500  # that can be asked for
MOST_LISTED = 1000  # ids in one list of a request
MOST_MEMBERS = 100  # of a group
MOST_ENTRIES = 1000  # of a batch


def _whole(value: Any) -> Any:
    """A number without a fraction is a whole one, however JSON writes it."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Id = Annotated[str, Field(min_length=1, max_length=256)]
Ids = Annotated[list[Id], Field(min_length=1, max_length=MOST_LISTED)]
MaybeIds = Annotated[list[Id], Field(max_length=MOST_LISTED)]
Category = Annotated[str, Field(min_length=1, max_length=256)]
Categories = Annotated[list[Category], Field(max_length=100)]
Title = Annotated[str, Field(min_length=1, max_length=1000)]
Year = Annotated[int, Field(ge=-9999, le=9999), BeforeValidator(_whole)]
Bound = Annotated[int, Field(ge=-(2**31), le=2**31 - 1), BeforeValidator(_whole)]
Count = Annotated[int, Field(ge=1, le=MOST_ITEMS), BeforeValidator(_whole)]


def _one_of(**types: str) -> dict[str, JsonValue]:
    """JSON schema of an object that has exactly one of these fields, not null."""
    return {"oneOf": [{"required": [name], "properties": {name: {"type": type_}}} for name, type_ in types.items()]}


ASKERS = _one_of(user_id="string", history="array", user_ids="array")


class Strict(BaseModel):
    """What all requests have in common."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class Range(Strict):
    """Numbers from one to another; a bound that is not given does not bind. An item without the number is outside."""

    gte: Bound | None = Field(None, description="the least")
    lte: Bound | None = Field(None, description="the greatest")


class Filter(Strict):
    """Which items may be answered; all that is given has to hold. An empty list restricts nothing."""

    allow: MaybeIds = Field(default_factory=list, description="only these items")
    deny: MaybeIds = Field(default_factory=list, description="not these items")
    categories_any: Categories = Field(default_factory=list, description="at least one of these")
    categories_all: Categories = Field(default_factory=list, description="all of these")
    categories_none: Categories = Field(default_factory=list, description="none of these")
    year: Range | None = Field(None, description="release year")
    interactions: Range | None = Field(None, description="interactions that the model was trained on")


class Asker(Strict):
    """Who asks: exactly one of a user, a history, and a group."""

    user_id: Id | None = Field(None, description="id as in the training data, or in events")
    history: Ids | None = Field(
        None, description="what somebody without an id has taken, item ids, newest last; nothing of it is kept"
    )
    user_ids: Annotated[list[Id], Field(min_length=1, max_length=MOST_MEMBERS)] | None = Field(
        None, description="a group: answered from the middle of its members' places"
    )
    fallback: Literal["popular", "error"] = Field(
        "popular", description="for a user the model does not know: the most popular items, or a 404 problem"
    )
    disliked: MaybeIds = Field(
        default_factory=list,
        description="items to keep away from, and from what is like them; beside those disliked in events",
    )
    explain: bool = Field(False, description="with each item those of the history that are nearest to it")
    fields: Annotated[list[FieldName], Field(min_length=1, max_length=8)] | None = Field(
        None, description="what to answer of each item; by default everything"
    )

    @model_validator(mode="after")
    def _one_asker(self) -> Self:
        if (self.user_id is not None) + (self.history is not None) + (self.user_ids is not None) != 1:
            raise PydanticCustomError(
                "one_of", "exactly one of user_id, history and user_ids is required", {"field": "user_id"}
            )
        return self


class RecommendRequest(Asker):
    """Who wants recommendations, how many, and which."""

    model_config = ConfigDict(
        json_schema_extra={
            **ASKERS,
            "examples": [
                {"user_id": "196", "k": 10},
                {"history": ["50", "172"], "k": 5, "explain": True},
                {"user_ids": ["196", "186"], "filter": {"categories_any": ["Comedy"], "year": {"gte": 1990}}},
                {
                    "user_id": "196",
                    "disliked": ["286"],
                    "novelty": 0.5,
                    "diversity": 0.3,
                    "fields": ["item_id", "title"],
                },
            ],
        }
    )

    k: Count = Field(10, description="how many items")
    exclude_seen: bool = Field(True, description="leave out the items of the history")
    filter: Filter | None = Field(None, description="which items may be answered")
    novelty: Annotated[float, Field(ge=-1, le=1)] = Field(
        0.0, description="above 0 for what fewer know, below 0 for what more know"
    )
    diversity: Annotated[float, Field(ge=0, le=1)] = Field(
        0.0, description="how much the items are to differ from each other, at the price of nearness"
    )
    cursor: Annotated[str, Field(min_length=1, max_length=512)] | None = Field(
        None, description="`next_cursor` of the answer before: goes on behind it"
    )


class RankRequest(Asker):
    """Who wants which items put in order."""

    model_config = ConfigDict(
        json_schema_extra={**ASKERS, "examples": [{"user_id": "196", "item_ids": ["50", "172", "286"]}]}
    )

    item_ids: Ids = Field(description="the items")


class BatchRequest(Strict):
    """Several requests. Each is answered, or refused, for itself."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"requests": [{"user_id": "196"}, {"user_id": "186", "k": 5}]}]}
    )

    requests: Annotated[list[Any], Field(min_length=1, max_length=MOST_ENTRIES)] = Field(
        description="objects as for /v1/recommend"
    )


Version = Annotated[str, Field(min_length=1, max_length=256)]


class Activation(Strict):
    """How to make a model current."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"force": False}]})

    force: bool = Field(False, description="also if the gate refused the model")


class CanaryWish(Strict):
    """Which model a share of the users is to be answered by."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"version": "quick-0123456789ab", "share": 0.05}]})

    version: Version = Field(description="a published model, not the current one")
    share: Annotated[float, Field(gt=0, lt=1)] = Field(description="of the users, by a digest of their ids")


class SimilarUsersParams(Strict):
    """How many users."""

    model_config = ConfigDict(strict=False)

    k: Count = Field(10, description="how many")


class SimilarItemsParams(SimilarUsersParams):
    """How many items, and which."""

    category: Category | None = Field(None, description="only items of this category")


class PopularParams(SimilarItemsParams):
    """How many items, which, and from how long ago on."""

    window_seconds: Annotated[float, Field(gt=0, le=2_592_000)] | None = Field(
        None, description="count what was taken in the last so many seconds, by events; by default what was trained on"
    )


class ItemFields(Strict):
    """What to change of an item; what is not given stays as it is."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"hidden": True}], "minProperties": 1})

    title: Title | None = Field(None, description="null for none")
    year: Year | None = Field(None, description="release year; null for none")
    categories: Categories = Field(default_factory=list, description="instead of those it has")
    hidden: bool = Field(False, description="whether it is kept out of all answers")

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_fields_set:
            raise PydanticCustomError(
                "nothing", "expected at least one of title, year, categories and hidden", {"field": "body"}
            )
        return self


class NewItem(Strict):
    """All that is known of an item."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"title": "Contact", "year": 1997, "categories": ["Drama", "Sci-Fi"]}]}
    )

    title: Title | None = Field(None, description="null for none")
    year: Year | None = Field(None, description="release year; null for none")
    categories: Categories = Field(default_factory=list)
    hidden: bool = Field(False, description="whether it is kept out of all answers")
