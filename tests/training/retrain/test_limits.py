import pytest

from model.errors import ConfigError
from training.retrain.limits import DataLimits, GateLimits, RetrainLimits, load_limits


def test_limits_are_changed_by_name_and_the_last_change_wins() -> None:
    limits = load_limits(["data.least_users=7", "gate.recall_loss=0.1", "data.least_users=8"])
    assert (limits.data.least_users, limits.gate.recall_loss) == (8, 0.1)
    assert load_limits(["gate.recall_loss=off"]) == load_limits() == RetrainLimits()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("gate.ndcg_loss", r"--limit gate\.ndcg_loss: expected section\.key=value, for example gate\.ndcg_loss"),
        ("gate.loss=1", "no 'loss' here; there are: ndcg_loss"),
        ("least_users=1", "no 'least_users' here; there are: data, gate"),
        ("data.drift=2", r"limits: data\.drift: .*less than or equal to 1"),
    ],
)
def test_a_wrong_limit_is_refused_by_name(change: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_limits([change])


@pytest.mark.parametrize("section", [DataLimits, GateLimits])
def test_every_limit_says_what_it_is(section: type[DataLimits] | type[GateLimits]) -> None:
    assert all(field.description for field in section.model_fields.values())
