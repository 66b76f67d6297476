import pytest

from training.bootstrap import Interval
from training.retrain.gate import Verdict, decide
from training.retrain.limits import GateLimits, load_limits


def metrics(ndcg: float, recall: float = 0.3) -> dict[str, float]:
    return {"ndcg@10": 0.0, "recall@10": 0.0, "ndcg@20": ndcg, "recall@20": recall}


def verdict(
    ndcg: float = 0.2,
    *,
    recall: float = 0.3,
    current: dict[str, float] | None = metrics(0.2),  # noqa: B008  never changed
    probe: bool = True,
    found: float | None = None,
    promised: float | None = None,
    difference: Interval | None = None,
    cut_alike: bool = True,
    limits: GateLimits = GateLimits(),  # noqa: B008  frozen
) -> Verdict:
    return decide(
        metrics(ndcg, recall),
        current=current,
        ease=metrics(0.25),
        popularity=metrics(0.1),
        probe_reproduced=probe,
        retrieval_recall=found,
        promised_recall=promised,
        difference=difference,
        cut_alike=cut_alike,
        limits=limits,
    )


def refused_by(verdict: Verdict) -> list[str]:
    assert verdict.passed == (not any(not check.passed for check in verdict.checks))
    assert len(verdict.reasons) == len(verdict.checks)
    return [check.name for check in verdict.checks if not check.passed]


@pytest.mark.parametrize(("ndcg", "passes"), [(0.3, True), (0.2, True), (0.1961, True), (0.1959, False)])
def test_two_per_cent_less_than_the_current_model_is_too_much(ndcg: float, passes: bool) -> None:
    assert refused_by(verdict(ndcg)) == ([] if passes else ["ndcg_loss"])
    assert not refused_by(verdict(ndcg, limits=load_limits(["gate.ndcg_loss=0.03"]).gate))


def test_what_cannot_be_compared_is_refused_unless_that_is_wished_for() -> None:
    for change, reasons in (("refuse", ["uncompared"]), ("pass", [])):
        limits = load_limits([f"gate.uncompared={change}"]).gate
        assert refused_by(verdict(current=None, cut_alike=False, limits=limits)) == reasons


def test_a_model_must_be_better_than_popularity() -> None:
    assert refused_by(verdict(0.1, current=None)) == ["popularity_gain"]
    assert refused_by(verdict(0.101, current=None)) == []
    assert refused_by(verdict(0.101, current=None, limits=load_limits(["gate.popularity_gain=0.05"]).gate))


def test_a_figure_that_is_not_a_number_passes_nowhere() -> None:
    assert refused_by(verdict(float("nan"))) == ["popularity_gain", "ndcg_loss"]


def test_recall_and_ease_decide_where_that_is_wished_for() -> None:
    assert refused_by(verdict(recall=0.2)) == []
    limits = load_limits(["gate.recall_loss=0.1", "gate.ease_loss=0.1"]).gate
    assert refused_by(verdict(recall=0.2, limits=limits)) == ["recall_loss", "ease_loss"]
    assert refused_by(verdict(0.23, limits=limits)) == []


def test_a_probe_that_is_not_reproduced_refuses() -> None:
    assert refused_by(verdict(probe=False)) == ["probe"]


def test_an_index_must_find_enough_and_what_it_promises() -> None:
    assert refused_by(verdict(found=0.97)) == ["retrieval_recall"]
    assert refused_by(verdict(found=0.985, promised=0.999)) == ["retrieval_loss"]
    assert refused_by(verdict(found=0.985, promised=0.99)) == []


def test_every_rule_has_a_sentence_with_its_numbers() -> None:
    assert verdict(0.19, difference=Interval(-0.01, -0.03, 0.01)).reasons == [
        "the probe's answers are reproduced",
        "NDCG@20 is 0.1900, that of popularity 0.1000; more than 0.1000 is needed",
        "NDCG@20 is 0.1900, that of the current model 0.2000 (difference between -0.0300 and +0.0100 with 95 % "
        "confidence: it may be chance); at least 0.1960 is needed, 2 % less than that",
        "recall@20 is 0.3000, that of the current model 0.3000; this decides nothing",
        "NDCG@20 is 0.1900, that of EASE 0.2500; this decides nothing",
        "items are found by an exact scan",
    ]
    clear = verdict(0.19, difference=Interval(-0.01, -0.02, -0.005)).reasons[2]
    assert "-0.0200 and -0.0050 with 95 % confidence); at least" in clear
    assert (
        verdict(current=None).reasons[2] == "NDCG@20 is 0.2000; there is no figure of the current model to compare with"
    )
    assert verdict(found=0.985, promised=0.99).reasons[-2:] == [
        "the index finds 98.5 % of the nearest items; at least 98 % are needed",
        "the index finds 98.5 % of the nearest items and promises 99 %; at least 98 % are needed",
    ]
