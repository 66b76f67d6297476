"""A simulated fortnight, for people: what speaks for retraining every night, and what against it."""

from statistics import mean

from benchmarks.fortnight.document import METRICS, POLICIES, Difference, Document, Policy
from benchmarks.report import Part, Table, machine, markdown

__all__ = ["render", "report"]

SHOWN = {"recall@20": "recall@20", "ndcg@20": "NDCG@20"}
DEALT = (
    "The data have no dates. What a user took later is dealt over {days} days in its order, the interaction at place p "
    "of n on day floor({days} (p + r) / n) from 0, with r from 0 to 1 drawn for each user, and what they took before "
    "in the same way over the days before, at the same pace on the whole. So everybody takes part all the time, "
    "evenly: there are no sessions, and no fashions that come and go, which is what retraining would be for. Only the "
    "order of what each user took is real."
)
DATED = "Days are dates in UTC, the last {days} that have interactions."
POLICY = (
    "*Frozen*: the first model, and histories as they were before the first day. *Live*: the same model, and histories "
    "with all events of the days before, which is what the service does between two trainings. *Retrained*: a new "
    "model every night from all events (`hdrm retrain`, with its checks and its gate), and the same histories as "
    "*live*. Each is asked when a day begins for all that is taken on it; what comes in the course of the day, of "
    "which the service would know a moment later, is in no history. All have the same model and histories on the "
    "first day, which is in no mean and no difference. What somebody has taken before is recommended by none, not even "
    "by *frozen*, which alone would not know of it: a service without events is worse off than here. Whoever has no "
    "history gets what is popular, as from the service. In means and differences users count once, by the mean over "
    "their days. A pair of user and item counts at its first time alone."
)


def report(document: Document) -> list[Part]:
    """Tables and sentences."""
    parts: list[Part] = [_about(document), POLICY, _days(document), _nights(document)]
    if document.differences:
        parts += [_differences(document), _for(document), _against(document)]
    parts += [_failures(document)] if any(day.night.failed for day in document.days) else []
    return [*parts, machine(document.environment)]


def render(document: Document, plot: str | None) -> str:
    """Markdown; `plot` is a link to the figure, None goes without."""
    made = document.environment
    software = ", ".join(f"{name} {version}" for name, version in made.software.items())
    title = f"{len(document.days)} simulated days" if len(document.days) != 14 else "A simulated fortnight"
    figure = [] if plot is None else [f"![recall@20 on each day, by policy]({plot})"]
    parts = [
        f"# {title}",
        f"Written by `{made.command}` ({made.date}; {software}). Not edited by hand.",
        *figure,
        *markdown(report(document)),
    ]
    return "\n\n".join(parts) + "\n"


def _about(document: Document) -> str:
    days = (DEALT if document.dealt else DATED).format(days=len(document.days), seed=document.seed)
    changed = [*document.changes, *document.limits]
    return (
        f"Data: {document.data}, {document.users:,} users, {document.items:,} items, {document.interactions:,} "
        f"interactions before the first day. {days} Preset {document.preset}"
        + (f" with {', '.join(changed)}" if changed else "")
        + f", seed {document.seed}."
    )


def _days(document: Document) -> Table:
    heads = [f"{SHOWN[metric]}, {policy}" for metric in METRICS for policy in POLICIES]
    rows = [
        (
            day.name,
            f"{day.users:,}",
            f"{day.without_history:,}",
            *(f"{day.figures[policy][metric]:.4f}" for metric in METRICS for policy in POLICIES),
        )
        for day in document.days
    ]
    if document.means:
        means = (f"{document.means[policy][metric]:.4f}" for metric in METRICS for policy in POLICIES)
        rows.append(("mean without the first", f"{document.compared:,}", "", *means))
    return Table("Accuracy on each day's interactions", ("day", "users", "no history", *heads), rows)


def _nights(document: Document) -> Table:
    rows = [
        (
            day.name,
            f"{day.night.events:,}",
            f"{day.night.new_users:,}",
            f"{day.night.new_items:,}",
            day.night.outcome,
            f"{day.night.seconds:,.1f}",
            {None: "", True: "made", False: "reused"}[day.night.searched],
        )
        for day in document.days
    ]
    header = ("night before day", "new events", "new users", "new items", "outcome", "s", "search")
    return Table("Retraining; that before the first day is of the first model", header, rows)


def _differences(document: Document) -> Table:
    rows = [
        (
            f"{one.better} - {one.other}",
            SHOWN[one.metric],
            f"{one.difference:+.4f}",
            f"{one.low:+.4f}",
            f"{one.high:+.4f}",
        )
        for one in document.differences
    ]
    header = ("difference", "of", "mean", "95 %, from", "to")
    return Table(f"Differences over days 2 to {len(document.days)}, paired by user", header, rows)


def _for(document: Document) -> str:
    return (
        f"What is gained: live events alone, without any training, bring {_gain(document, 'live', 'frozen')}; "
        f"retraining every night, with the same events, brings {_gain(document, 'retrained', 'live')}."
    )


def _gain(document: Document, better: Policy, other: Policy) -> str:
    told = []
    for metric in METRICS:
        one = _difference(document, better, other, metric)
        base = document.means[other][metric]
        share = f", {one.difference / base:+.1%}" if base else ""
        told.append(f"{SHOWN[metric]} {one.difference:+.4f}{share} ({_verdict(one)})")
    return " and ".join(told)


def _verdict(one: Difference) -> str:
    if one.low > 0:
        return "more than chance"
    return "a loss, more than chance" if one.high < 0 else "which may be chance: the interval holds 0"


def _against(document: Document) -> str:
    """What speaks against retraining every night, whatever came out."""
    days = document.days[1:]
    nights = [day.night for day in days]
    gains = [day.figures["retrained"]["recall@20"] - day.figures["live"]["recall@20"] for day in days]
    spent, refused = sum(night.seconds for night in nights), sum(night.outcome != "published" for night in nights)
    said = [
        f"Retraining took {spent:,.1f} s, {mean(night.seconds for night in nights):,.1f} s a night, for "
        f"{mean(night.events for night in nights):,.0f} new events a night.",
        f"In {refused} of {len(nights)} nights it brought no new model.",
        f"On {sum(gain <= 0 for gain in gains)} of {len(days)} days the retrained model's recall@20 was not greater "
        "than that of the first model with the same events.",
    ]
    events = _difference(document, "live", "frozen", "recall@20").difference
    trained = _difference(document, "retrained", "live", "recall@20").difference
    if min(events, trained) >= 0 < events + trained:
        said.append(
            f"Of all that is gained over the frozen state in recall@20, {events / (events + trained):.0%} is gained "
            "without a training."
        )
    half = len(gains) // 2
    if half > 1:
        early, late = mean(gains[:half]), mean(gains[-half:])
        told = (
            "it grows, as it would if a model lost ground as it ages"
            if late > early
            else "it does not grow, so retraining less often would hardly have cost more"
        )
        said.append(
            f"Its lead in recall@20 is {early:+.4f} on average on the first {half} of these days and {late:+.4f} on "
            f"the last {half}: {told}."
        )
    said.append(
        f"Each retraining holds the newest {document.held_out:.0%} of the data out to compare models by, and does not "
        "learn from it: what is newest is in the histories alone."
    )
    if without := sum(day.without_history for day in days):
        said.append(
            f"{without:,} of the {sum(day.users for day in days):,} times that somebody was asked for, nothing was "
            "known of them when the day began: the answer is what is popular, by whichever policy."
        )
    if items := sum(night.new_items for night in nights):
        said.append(
            f"{items:,} items were new in these days; they are missed by *live* here, while the service would place "
            "one once a few users have taken it."
        )
    else:
        said.append("No item was new in these days, which is what no model can learn without a training.")
    said.append("The intervals are over users: what another seed or other data would bring is not in them.")
    return "What speaks against it, or for doing it less often: " + " ".join(said)


def _failures(document: Document) -> str:
    return "What did not hold: " + " ".join(
        f"Night before day {day.name}: {'; '.join(day.night.failed)}." for day in document.days if day.night.failed
    )


def _difference(document: Document, better: Policy, other: Policy, metric: str) -> Difference:
    [found] = [one for one in document.differences if (one.better, one.other, one.metric) == (better, other, metric)]
    return found
