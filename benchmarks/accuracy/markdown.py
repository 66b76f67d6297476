"""The document as a page to read; every number in it comes from the document."""

from collections.abc import Sequence
from statistics import mean, stdev

from benchmarks.accuracy.ablations import NO_DENOISER, NO_NOISE, NO_STEPS
from benchmarks.accuracy.document import Comparison, Document, Result
from benchmarks.baselines.registry import BASELINES, TRAINED
from benchmarks.baselines.searched import Searched
from benchmarks.report import machine, markdown_table
from training.search import SCORED_USERS

__all__ = ["render"]

MODES = {
    "paper": "the history is what was learned from, the truth is the part `test`",
    "live": "interactions that it has not learned from are in the history too, and it has not learned again "
    "(lightgcn knows users by what they had when it learned, and answers as before)",
}
ACCURACY = ("recall@10", "recall@20", "ndcg@10", "ndcg@20", "precision@20", "mrr@20")
GIB = 2**30
KEPT = 0.95  # share of the graph that is to be there after the diffusion


def render(document: Document) -> str:
    """Markdown."""
    data, environment = document.data, document.environment
    order, share = ("in time order", "newest") if data.ordered else ("in no order", "random")
    software = ", ".join(f"{name} {version}" for name, version in environment.software.items())
    parts = [
        "# Accuracy",
        f"Written by `{environment.command}` ({environment.date}; {machine(environment)} at the end; {software}). Not "
        "edited by hand.",
        f"Data: {data.name}, {data.users:,} users, {data.items:,} items, {data.interactions:,} interactions learned "
        f"from, histories {order}. {data.protocol[:1].upper()}{data.protocol[1:]}."
        + (f" Dropped: {data.dropped}." if data.dropped else ""),
        f"All models are fitted to the same interactions, choose their settings or epochs on the same {share} tenth of "
        "every training history, are then fitted to everything, and are asked and measured by the same code. Recall "
        "is hits / |truth|, NDCG is binary; figures are means over users, then over seeds, with the standard deviation "
        "over seeds where there are several.",
    ]
    for mode in dict.fromkeys(result.mode for result in document.results):
        parts += [f"## {mode.capitalize()}", f"{MODES[mode][:1].upper()}{MODES[mode][1:]}.", _models(document, mode)]
    parts += [
        "Coverage is the share of the catalogue in anyone's first 20; popularity rank the mean place of those items in "
        "the order of popularity (1 is the most popular). CPU seconds are those of all threads, which other work on "
        "the machine disturbs less: of a run that --resume took over, wall seconds are those of when it was made, "
        "beside whatever else ran, and with as many threads as it had then. Memory is the peak of a process that does "
        "nothing else.",
        _fitting(),
        "Settings chosen:",
        "\n".join(f"- {text}" for text in dict.fromkeys(r.described for r in document.results if not r.ablation)),
    ]
    if document.left_out:
        reasons = "; ".join(f"{name}, which {reason}" for name, reason in document.left_out.items())
        parts.append(f"Left out: {reasons}.")
    presets = [c for c in document.comparisons if ":" not in c.other]
    if presets:
        parts += ["## Presets beside baselines and each other", _INTERVALS, _comparisons(presets)]
    ablations = [c for c in document.comparisons if ":" in c.other]
    if ablations:
        parts += ["## Ablations", _INTERVALS, _ABLATIONS, _comparisons(ablations), *_given_up(document)]
        parts += [*_worth(ablations), *_verdicts(ablations)]
    if document.topology:
        parts += ["## The graph in the items' vectors", _TOPOLOGY, _topology(document), *_kept(document)]
    return "\n\n".join(parts) + "\n"


_INTERVALS = (
    "Differences over users, paired, with 95 % bootstrap intervals (10,000 resamples); a star marks an interval that "
    "excludes 0."
)
_ABLATIONS = (
    "What is trained anew is trained with the first seed, without noise, denoiser or attention with every seed, and "
    "compared with the same seeds of `default`; the intervals are over users and know nothing of the luck of a seed. "
    "Changes of the noise keep the stages before and the number of epochs."
)
_TOPOLOGY = (
    "The items as each stage left them; the attention and the diffusion move them (not in `paper`). Spearman's "
    "correlation of radius and degree says how well the order of radii is that of popularity, and is negative where "
    "popular items lie near the origin; graph-neighbour overlap is the share of an item's (a user's) 20 nearest that "
    "are among its 20 graph neighbours. Users are as the encoder has them where that was measured, and as they are "
    "answered, without diffusion (0 steps) and with it."
)


def _models(document: Document, mode: str) -> str:
    rows: dict[str, list[Result]] = {}
    for result in document.results:
        if result.mode == mode and result.ablation is None:
            rows.setdefault(result.model, []).append(result)
    best = sorted(rows.values(), key=lambda results: -_mean(results, "ndcg@20"))
    header = [
        "model",
        *ACCURACY,
        "coverage@20",
        "popularity rank@20",
        "fit, s",
        "fit, CPU s",
        "evaluation, s",
        "memory, GiB",
        "seeds",
    ]
    return markdown_table(
        header,
        (
            [
                results[0].model,
                *(_spread(results, name) for name in ACCURACY),
                f"{_mean(results, 'coverage@20'):.3f}",
                f"{_mean(results, 'popularity_rank@20'):.0f}",
                f"{mean(r.fit_seconds for r in results):.0f}",
                f"{mean(r.fit_cpu_seconds for r in results):.0f}",
                f"{mean(r.evaluation_seconds for r in results):.0f}",
                f"{max(r.peak_rss_bytes for r in results) / GIB:.2f}",
                str(len(results)),
            ]
            for results in best
        ),
    )


def _comparisons(comparisons: Sequence[Comparison]) -> str:
    columns = list(dict.fromkeys((c.mode, c.metric) for c in comparisons))
    cells: dict[tuple[str, str], dict[tuple[str, str], str]] = {}
    for c in comparisons:
        star = " *" if c.excludes_zero else ""
        cells.setdefault((c.model, c.other), {})[c.mode, c.metric] = (
            f"{c.difference:+.4f} [{c.low:+.4f}, {c.high:+.4f}]{star}"
        )
    return markdown_table(
        ["difference", *(f"{mode} {metric}" for mode, metric in columns)],
        ([f"{one} − {other}", *(row.get(column, "") for column in columns)] for (one, other), row in cells.items()),  # noqa: RUF001
    )


def _fitting() -> str:
    """What seconds of fitting hold."""
    searched = [name for name, baseline in BASELINES.items() if isinstance(baseline, Searched)]
    return (
        f"Seconds of fitting: {', '.join(searched)} look for their settings in every fit, on all held-out users, which "
        f"is in the seconds. Presets and {', '.join(TRAINED)} look for how long to train, on {SCORED_USERS:,} held-out "
        "users at most; that is in the seconds too. The search for their other settings is not: it was made once, "
        "where benchmarks/baselines/settings.toml, or the preset's file, names one."
    )


def _given_up(document: Document) -> list[str]:
    """Which ablations are without a stage in the end, and so say little of what was changed in it."""
    names = dict.fromkeys(
        f"{result.model} ({', '.join(result.given_up)})"
        for result in document.results
        if result.ablation and result.given_up
    )
    if not names:
        return []
    return [
        "Of these, no epoch of the stage in brackets was better on what is held out than what there was before it, so "
        "it was left out, and the row says what is lost without the stage rather than how good it is with the change: "
        f"{'; '.join(names)}."
    ]


def _worth(comparisons: Sequence[Comparison]) -> list[str]:
    """What the diffusion is worth, a sentence for each way to do without a part of it."""
    sentences = []
    for change in (NO_STEPS, NO_DENOISER, NO_NOISE):
        rows = [c for c in comparisons if c.metric == "ndcg@20" and c.other.endswith(f": {change}")]
        shown = [f"{c.mode} {c.difference:+.4f}, {_direction(c)}" for c in rows if ":" not in c.model]
        if shown:
            sentences.append(f"- {change}: {'; '.join(shown)}")
    title = "What the diffusion is worth, NDCG@20 of `default` less that of:"
    return [title, "\n".join(sentences)] if sentences else []


def _direction(comparison: Comparison) -> str:
    if not comparison.excludes_zero:
        return "the interval includes 0, so nothing is shown for `default`"
    if comparison.difference < 0:
        return "the interval excludes 0 and `default` is worse, so nothing is shown for it"
    return "the interval excludes 0 and `default` is better"


def _verdicts(comparisons: Sequence[Comparison]) -> list[str]:
    """Which changes are shown to be better, and for which nothing is shown, in what."""
    unclear = [c for c in comparisons if not c.excludes_zero]
    better = [c for c in comparisons if c.excludes_zero and c.difference < 0]
    parts = []
    if better:
        parts.append(f"The change is shown to be better, for: {_listed(better)}.")
    if unclear:
        nothing = "The interval includes 0, so nothing is shown to be gained by doing without the change, for:"
        parts.append(f"{nothing} {_listed(unclear)}.")
    if len(better) + len(unclear) < len(comparisons):
        parts.append(f"{'All else' if parts else 'Every change'} is shown to be worse.")
    return parts


def _listed(comparisons: Sequence[Comparison]) -> str:
    """Each change once, with what it was measured in."""
    measured: dict[str, list[str]] = {}
    for c in comparisons:
        measured.setdefault(_pair(c), []).append(f"{c.mode} {c.metric}")
    return "; ".join(f"{pair} ({', '.join(names)})" for pair, names in measured.items())


def _pair(comparison: Comparison) -> str:
    return comparison.other if ":" not in comparison.model else f"{comparison.other} beside {comparison.model}"


def _topology(document: Document) -> str:
    names = list(dict.fromkeys(name for row in document.topology for name in row.figures))
    return markdown_table(
        ["model", "seed", *names],
        ([row.model, str(row.seed), *(_figure(row.figures.get(name)) for name in names)] for row in document.topology),
    )


def _kept(document: Document) -> list[str]:
    """How much of the graph is there after the diffusion, as a share of what was there before."""
    names = (
        ("items' radius-degree Spearman", "encoder", "diffusion"),
        ("items' graph-neighbour overlap", "encoder", "diffusion"),
        ("items' graph-neighbour overlap", "attention", "diffusion"),
    )
    rows, less = [], []
    for topology in document.topology:
        pairs = [(f"{name}, {one}", f"{name}, {other}") for name, one, other in names]
        users = [name for name in topology.figures if name.startswith("users' graph-neighbour overlap")]
        pairs += [(before, users[-1]) for before in users[:-1]]
        for before, after in pairs:
            share = _share(topology.figures.get(before), topology.figures.get(after))
            if share is None:
                continue
            kept = share >= KEPT
            rows.append([topology.model, str(topology.seed), before, after, f"{share:.1%}", "yes" if kept else "no"])
            if not kept:
                less.append(f"{topology.model} (seed {topology.seed}), {before} to {after} ({share:.1%})")
    if not rows:
        return []
    header = ["model", "seed", "before", "after", "after / before", f"at least {KEPT:.0%}"]
    verdict = (
        f"Less than {KEPT:.0%} is kept of: {'; '.join(less)}." if less else f"At least {KEPT:.0%} is kept of each."
    )
    return [markdown_table(header, rows), verdict]


def _share(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None or before == 0 else after / before


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _mean(results: Sequence[Result], metric: str) -> float:
    return mean(result.metrics[metric] for result in results)


def _spread(results: Sequence[Result], metric: str) -> str:
    values = [result.metrics[metric] for result in results]
    return f"{mean(values):.4f}" + (f" ± {stdev(values):.4f}" if len(values) > 1 else "")
