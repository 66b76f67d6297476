"""What a retraining is measured against: limits of the data, and of the model that comes of it."""

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field

from model.config import Frozen
from training.changes import put, read_change, validated

__all__ = ["DataLimits", "GateLimits", "RetrainLimits", "load_limits"]

Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Factor = Annotated[float, Field(ge=1)]


class DataLimits(Frozen):
    """What data may be trained on. Each limit is the name of a check; pairs are of user and item, repeats aside.

    The defaults are for data such as MovieLens ratings that come day by day. Where the catalogue is new every day, as
    in news, or a service grows quickly, some must be wider.
    """

    least_interactions: Count = Field(1000, description="fewest pairs")
    least_users: Count = Field(50, description="fewest users")
    least_items: Count = Field(50, description="fewest items")
    lost_interactions: Share = Field(
        0.2, description="largest share of the last run's pairs that are gone, but for deleted users'"
    )
    lost_users: Share = Field(0.2, description="largest share of the last run's users that are gone, but for deleted")
    lost_items: Share = Field(
        0.2, description="largest share of the last run's items that are gone, but for those of deleted users alone"
    )
    grown_interactions: Factor = Field(3.0, description="largest number of pairs for each of the last run's")
    grown_users: Factor = Field(3.0, description="largest number of users for each of the last run's")
    grown_items: Factor = Field(3.0, description="largest number of items for each of the last run's")
    duplicates: Share = Field(0.05, description="largest share of rows that repeat another in user, item and time")
    repeated: Share = Field(
        0.2, description="largest share of the last run's pairs that were taken up again since: a replay"
    )
    drift: Share = Field(
        0.3,
        description="largest Jensen-Shannon distance between the items' shares of the last run's pairs and of all now; "
        "0: the same, 1: nothing in common",
    )
    new_drift: Share = Field(
        0.4,
        description="the same between the last run's pairs and the new ones alone, less what chance makes of so few: "
        "0: as drawn from the last run's, 1: nothing in common",
    )
    new_by_user: Share = Field(0.8, description="largest share of the new pairs by one user: a robot")
    new_on_item: Share = Field(0.25, description="largest share of the new pairs on one item: a campaign")
    future: Share = Field(0.001, description="largest share of rows with a time after now")
    early: Share = Field(0.001, description="largest share of rows with a time before the base data begins")
    judged_count: Count = Field(200, description="fewer new pairs are not judged on their own")
    judged_share: Share = Field(
        0.01, description="nor are users' and items' shares of new pairs that are less than this share of all"
    )


class GateLimits(Frozen):
    """What a new model must show before it serves. A limit that is "off" is told, and decides nothing."""

    ndcg_loss: Share = Field(0.02, description="largest relative loss of NDCG@20 against the model that serves")
    recall_loss: Share | Literal["off"] = Field("off", description="the same of recall@20")
    ease_loss: Share | Literal["off"] = Field("off", description="largest relative loss of NDCG@20 against EASE")
    popularity_gain: Annotated[float, Field(ge=0)] = Field(
        0.0, description="its NDCG@20 must be greater than that of popularity by more than this share of it"
    )
    uncompared: Literal["refuse", "pass"] = Field(
        "refuse",
        description="what becomes of a candidate where settings of the split differ from the current model's, so that "
        "the two cannot be compared",
    )
    retrieval_recall: Share = Field(
        0.98, description="least share of the nearest items that an approximate index must find"
    )
    retrieval_loss: Share = Field(
        0.01, description="and by how much less that share may be than what the index promises"
    )


class RetrainLimits(Frozen):
    """All of them."""

    data: DataLimits = DataLimits()
    gate: GateLimits = GateLimits()


def load_limits(changes: Iterable[str] = ()) -> RetrainLimits:
    """The defaults with changes of the form `section.key=value`, such as `gate.ndcg_loss=0.05`; later ones win.

    Raises:
        ConfigError: no such section or key, or a value out of range; the allowed are named.
    """
    values = RetrainLimits().model_dump(mode="json")
    for change in changes:
        path, value = read_change(RetrainLimits, change, option="--limit", example="gate.ndcg_loss=0.05")
        put(values, path, value)
    return validated(RetrainLimits, values, "limits")
