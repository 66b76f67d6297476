"""May a new model take the place of the one that serves? A few rules, each about one number.

Both models, EASE and popularity rank the same users' held-out interactions. The mean decides: a model that is worse
than the current one by more than its limit does not serve, also where so few users may have made the difference by
chance, which the sentence then says. The model that serves stays, and the next night brings more data.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from training.bootstrap import Interval
from training.retrain.checks import Check, percent
from training.retrain.limits import GateLimits

__all__ = ["Verdict", "decide"]

Metrics = Mapping[str, float]
Loss = float | Literal["off"]

NDCG: Final = "ndcg@20"
RECALL: Final = "recall@20"
SHOWN: Final = {NDCG: "NDCG@20", RECALL: "recall@20"}


@dataclass(frozen=True)
class Verdict:
    """What the rules say.

    Attributes:
        checks: one for every rule.
    """

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether the model may serve."""
        return all(check.passed for check in self.checks)

    @property
    def reasons(self) -> list[str]:
        """A sentence for every rule."""
        return [check.sentence for check in self.checks]


def decide(
    candidate: Metrics,
    *,
    current: Metrics | None,
    ease: Metrics | None,
    popularity: Metrics,
    probe_reproduced: bool,
    retrieval_recall: float | None = None,
    promised_recall: float | None = None,
    difference: Interval | None = None,
    cut_alike: bool = True,
    limits: GateLimits,
) -> Verdict:
    """Hold a new model against the limits.

    Args:
        candidate, current, ease, popularity: NDCG@20 and recall@20, as of `training.metrics.summary`, on the same
            hold-out; None where there is no such model.
        probe_reproduced: whether the artifact, read again, gave the answers of its probe.
        retrieval_recall: recall@20 of its index measured against exact answers; None for a scan, which is exact.
        promised_recall: what the artifact says of it.
        difference: of the candidate's NDCG@20 and the current model's, over users; None leaves chance unspoken of.
        cut_alike: whether what is held out was held out of the current model's training as well, if there is one.
        limits: what must be.
    """
    return Verdict(
        (
            _probe(probe_reproduced),
            *([] if cut_alike else [_uncompared(limits.uncompared)]),
            _popularity(candidate, popularity, limits.popularity_gain),
            _no_worse("ndcg_loss", NDCG, candidate, current, "the current model", limits.ndcg_loss, difference),
            _no_worse("recall_loss", RECALL, candidate, current, "the current model", limits.recall_loss),
            _no_worse("ease_loss", NDCG, candidate, ease, "EASE", limits.ease_loss),
            *_retrieval(retrieval_recall, promised_recall, limits),
        )
    )


def _probe(reproduced: bool) -> Check:
    said = "the probe's answers are reproduced" if reproduced else "the probe's answers are not reproduced"
    return Check("probe", float(reproduced), 1.0, reproduced, said)


def _uncompared(decision: str) -> Check:
    said = "the current model's data were cut by other settings of `split`, so it cannot be compared with; "
    said += f"gate.uncompared is {decision}"
    return Check("uncompared", None, None, decision == "pass", said)


def _popularity(candidate: Metrics, popularity: Metrics, gain: float) -> Check:
    ours, theirs = candidate[NDCG], popularity[NDCG]
    least = theirs * (1 + gain)
    said = f"NDCG@20 is {ours:.4f}, that of popularity {theirs:.4f}; more than {least:.4f} is needed"
    return Check("popularity_gain", ours, least, ours > least, said)


def _no_worse(
    name: str,
    metric: str,
    candidate: Metrics,
    other: Metrics | None,
    called: str,
    loss: Loss,
    difference: Interval | None = None,
) -> Check:
    """The rule that a metric is not lower than another model's by more than a share of it."""
    shown = SHOWN[metric]
    ours = candidate[metric]
    if other is None:
        return Check(name, ours, None, True, f"{shown} is {ours:.4f}; there is no figure of {called} to compare with")
    theirs = other[metric]
    said = f"{shown} is {ours:.4f}, that of {called} {theirs:.4f}"
    if difference is not None:
        said += f" (difference between {difference.low:+.4f} and {difference.high:+.4f} with 95 % confidence"
        said += ")" if difference.excludes_zero else ": it may be chance)"
    if loss == "off":
        return Check(name, ours, None, True, f"{said}; this decides nothing")
    least = theirs * (1 - loss)
    return Check(
        name, ours, least, ours >= least, f"{said}; at least {least:.4f} is needed, {percent(loss)} less than that"
    )


def _retrieval(measured: float | None, promised: float | None, limits: GateLimits) -> list[Check]:
    if measured is None:
        return [Check("retrieval_recall", None, None, True, "items are found by an exact scan")]
    least = limits.retrieval_recall
    said = f"the index finds {percent(measured)} of the nearest items; at least {percent(least)} are needed"
    checks = [Check("retrieval_recall", measured, least, measured >= least, said)]
    if promised is not None:
        least = promised - limits.retrieval_loss
        said = f"the index finds {percent(measured)} of the nearest items and promises {percent(promised)}"
        said += f"; at least {percent(least)} are needed"
        checks.append(Check("retrieval_loss", measured, least, measured >= least, said))
    return checks
