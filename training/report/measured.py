"""The figures that show what was measured in training (model.analysis)."""

from collections.abc import Sequence
from functools import partial

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from model.analysis import Analysis, Curve, NoiseRow, Strata, Stratum, Topology
from training.report.canvas import GRID, INK, MUTED, PAPER, SERIES, draw
from training.report.figure import Figure, Mark, Table
from training.report.words import MINUS, PERCENT, change, difference, percent, plural, signed, span

__all__ = ["curves", "noise", "steps", "strata", "topology"]

DASHED, DOTTED = (0, (4.5, 2.2)), (0, (1.2, 1.8))  # matplotlib's, in line widths
DASHED_SVG, DOTTED_SVG = "8 4", "2 3"
OFFSET = 0.09  # between the series of one group


def curves(analysis: Analysis) -> Figure:
    """Loss and held-out score by epoch."""
    stages = list(dict.fromkeys(_stage(curve) for curve in analysis.curves))
    panels, found = [], []
    for number, stage in enumerate(stages):
        runs = [curve for curve in analysis.curves if _stage(curve) == stage]
        panels.append(_loss_panel(f"curves{number}l", stage, runs))
        for curve in filter(_searches, runs):
            panels.append(_score_panel(f"curves{number}s", stage, curve))
            best = curve.scores[curve.best_epoch]
            found.append(f"{best:.4f} after epoch {curve.best_epoch} of the {stage}")
    ran = {_stage(curve) for curve in analysis.curves if not _searches(curve)}
    given_up = "".join(
        f" The {stage} predicted what was held out no better than means of the history do: the model goes without."
        for stage in stages
        if stage not in ran
    )
    return Figure(
        "Learning curves",
        "On what the search held out, the score (the mean of recall@20 and NDCG@20) was best with "
        f"{' and '.join(found)} (the dots).",
        "The search holds the newest part of every history out to find how long to train. The final run then learns "
        "from everything, for as many epochs, so there is nothing left to score it on. The losses of the stages "
        f"measure different things and do not compare.{given_up}",
        tuple(panels),
        (Mark("search", SERIES[0]), Mark("final, on everything", SERIES[1], DASHED_SVG)),
    )


def noise(analysis: Analysis) -> Figure:
    """What directional and isotropic noise leave of the neighbourhoods, along t."""
    last = {row.kind: row for row in analysis.noise}
    directional, isotropic = last["directional"], last["isotropic"]
    k, t = analysis.k, directional.t
    graph = ""
    if analysis.noise[0].graph is not None and directional.graph is not None and isotropic.graph is not None:
        graph = (
            f" Neighbours in the graph of interactions are {percent(analysis.noise[0].graph)} of the {k} nearest "
            f"without noise, {percent(directional.graph)} with directional noise and {percent(isotropic.graph)} with "
            "isotropic noise."
        )
    return Figure(
        "What noise leaves of the neighbourhoods",
        f"With all the noise there is (t = {t}), an item still has {percent(directional.items)} of its {k} nearest "
        f"items under directional noise and {percent(isotropic.items)} under isotropic noise. Of the {k} items nearest "
        f"to a user, {percent(directional.users)} and {percent(isotropic.users)} are still the same.",
        f"Both kinds have the same power; directional noise keeps the sign of every coordinate. Items: all of them are "
        f"noised, and neighbours of {plural(analysis.items, 'item', 'items')} looked for among the noised ones.{graph} "
        f"Users: the first estimates of {plural(analysis.users, 'user', 'users')} are noised, the items are not.",
        (_noise_panel(analysis, "items"), _noise_panel(analysis, "users")),
        (
            Mark("directional noise", SERIES[0]),
            Mark("isotropic noise", SERIES[1]),
            Mark("the same as without noise", INK),
            Mark("neighbours in the graph", INK, DASHED_SVG),
        ),
    )


def steps(analysis: Analysis, served: int) -> Figure:
    """Accuracy against reverse steps; `served` is the model's own number."""
    rows = analysis.steps
    best = max(rows, key=lambda row: row.ndcg)
    users = sum(group.users for group in analysis.strata[0].groups)
    own = f" The model answers with {plural(served, 'step', 'steps')} unless told otherwise" + next(
        (f": {row.ndcg:.4f} ({change(row.ndcg_gain)})." for row in rows if row.steps == served), "."
    )
    gain = f"{best.ndcg:.4f} with {plural(best.steps, 'step', 'steps')} ({change(best.ndcg_gain)})"
    finding = f"NDCG@20 is {rows[0].ndcg:.4f} without diffusion and at its best {gain}."
    if best.steps == 0:
        finding = f"NDCG@20 is at its best without diffusion: {best.ndcg:.4f}."

    def paint(axes: Axes, name: str) -> None:
        places = [row.steps for row in rows]
        values: list[float] = [getattr(row, name) for row in rows]
        margins = [getattr(row, f"{name}_gain").margin or 0.0 for row in rows]
        axes.axhline(values[0], color=MUTED, linewidth=1, linestyle=DOTTED)
        axes.errorbar(places, values, margins, color=SERIES[0], marker="o", markersize=5, elinewidth=1.2)
        axes.set(xlabel="reverse steps", ylabel={"ndcg": "NDCG@20 (0 to 1)", "recall": "recall@20 (0 to 1)"}[name])
        axes.set_xticks(places)

    return Figure(
        "Accuracy against reverse steps",
        finding + own,
        f"Measured on {analysis.judged:,} of {plural(users, 'user', 'users')} with held-out items. The bars are "
        f"95{PERCENT} intervals of the difference from 0 steps over the same users; where one reaches the dotted line, "
        "the difference may be chance.",
        tuple(draw(f"steps-{n}", partial(paint, name=n), label=f"{n}@20 by reverse steps") for n in ("ndcg", "recall")),
        table=Table(
            ("reverse steps", "NDCG@20", "difference from 0 steps", "recall@20", "difference from 0 steps"),
            tuple(
                (
                    str(row.steps),
                    f"{row.ndcg:.4f}",
                    difference(row.ndcg_gain) if row.steps else "",
                    f"{row.recall:.4f}",
                    difference(row.recall_gain) if row.steps else "",
                )
                for row in rows
            ),
        ),
    )


def strata(analysis: Analysis) -> Figure:
    """Who gains and who loses."""
    models = analysis.compared
    ours, *others = models
    said = []
    for other in others:
        gains = [(group.gains[other], _users(by, group)) for by in analysis.strata for group in by.groups]
        most, least = max(gains, key=lambda g: g[0].mean), min(gains, key=lambda g: g[0].mean)
        if most[0].mean == least[0].mean:
            said.append(f"Against “{other}”, no group differs from another ({change(most[0])}).")
            continue
        said.append(
            f"Against “{other}”, {most[1]} gain most ({change(most[0])}) and {least[1]} "
            f"{'gain least' if least[0].mean >= 0 else 'lose most'} ({change(least[0])})."
        )
    rows = tuple(
        (
            _users(by, group),
            f"{group.users:,}",
            *(f"{group.ndcg[name]:.4f}" for name in models),
            *(difference(group.gains[name]) for name in others),
        )
        for by in analysis.strata
        for group in by.groups
    )
    return Figure(
        "Who gains, who loses",
        " ".join(said) or "There is nothing to compare with.",
        f"NDCG@20 of “{ours}” minus that of another model, in groups of users of like size; above zero it is the "
        f"better one. The bars are 95{PERCENT} intervals over users, of which one in twenty misses by "
        "chance. Interactions are those learned from; of a user's "
        "next items, which were held out, the geometric mean is taken.",
        tuple(_strata_panel(by, others) for by in analysis.strata),
        tuple(Mark(f"minus “{other}”", colour) for other, colour in zip(others, SERIES, strict=False)),
        Table(("NDCG@20 of", "users", *models, *(f"minus “{other}”" for other in others)), rows),
    )


def topology(analysis: Analysis) -> Figure:
    """Hierarchy and neighbourhoods, before and after."""
    rows = analysis.topology
    items = [row for row in rows if row.points.startswith("items")]
    users = [row for row in rows if not row.points.startswith("items")]
    k = analysis.k
    said = [
        f"From stage to stage the items' rank correlation of radius and degree {_path(items, 'spearman')}, "
        f"and the share of graph neighbours among the {k} nearest {_path(items, 'overlap')}.",
        f"Of users, as the encoder knows them and as they are answered without and with diffusion, the correlation "
        f"{_path(users, 'spearman')} and the share {_path(users, 'overlap')}.",
    ]
    table = Table(
        ("points", "radius and degree (Spearman)", f"graph neighbours among the {k} nearest", "by chance"),
        tuple(
            (
                row.points,
                "not known" if row.spearman is None else signed(row.spearman, 2),
                "not known" if row.overlap is None else percent(row.overlap),
                percent(row.chance),
            )
            for row in rows
        ),
    )
    return Figure(
        "The graph's shape, before and after",
        " ".join(said),
        f"The degree is the number of interactions learned from. Graph neighbours of an item are the {k} items with "
        "the greatest cosine of their sets of users; of a user, the same with the roles exchanged, within "
        f"{plural(analysis.users, 'user', 'users')}. A user's answer follows their newest items, so it need not lie "
        "where the whole of their history would put it. The upright bars mark the share that chance would give.",
        (_topology_panel(rows, "spearman", k), _topology_panel(rows, "overlap", k)),
        table=table,
    )


def _users(by: Strata, group: Stratum) -> str:
    counts = span(group.low, group.high)
    if by.by == "history":
        return f"users with {counts} interactions"
    return f"users whose next items have {counts} interactions"


def _stage(curve: Curve) -> str:
    return curve.run.rpartition(": ")[2]


def _searches(curve: Curve) -> bool:
    return curve.scores[curve.best_epoch] is not None


def _loss_panel(key: str, stage: str, runs: Sequence[Curve]) -> str:
    def paint(axes: Axes) -> None:
        for curve in runs:
            epochs, losses = _points(curve.losses)
            searches = _searches(curve)
            axes.plot(epochs, losses, color=SERIES[not searches], linestyle="-" if searches else DASHED)
            if searches:
                _mark(axes, curve.best_epoch, curve.losses[curve.best_epoch])
        axes.set(title=f"{stage.capitalize()}: loss", xlabel="epoch", ylabel="mean training loss")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))

    return draw(key, paint, label=f"training loss of the {stage} by epoch")


def _score_panel(key: str, stage: str, curve: Curve) -> str:
    def paint(axes: Axes) -> None:
        epochs, scores = _points(curve.scores)
        axes.plot(epochs, scores, color=SERIES[0])
        _mark(axes, curve.best_epoch, curve.scores[curve.best_epoch])
        axes.set(title=f"{stage.capitalize()}: score", xlabel="epoch", ylabel="held-out score (0 to 1)")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))

    return draw(key, paint, label=f"held-out score of the {stage} by epoch")


def _mark(axes: Axes, epoch: int, value: float | None) -> None:
    """The epoch that was kept; before the first there is no loss."""
    if value is not None:
        axes.plot(epoch, value, "o", color=SERIES[0], markersize=6)


def _points(values: Sequence[float | None]) -> tuple[list[int], list[float]]:
    known = [(epoch, value) for epoch, value in enumerate(values) if value is not None]
    return [epoch for epoch, _ in known], [value for _, value in known]


def _noise_panel(analysis: Analysis, points: str) -> str:
    def paint(axes: Axes) -> None:
        for kind, colour in zip(("directional", "isotropic"), SERIES, strict=False):
            rows: list[NoiseRow] = [row for row in analysis.noise if row.kind == kind]
            times = [row.t for row in rows]
            axes.plot(times, [getattr(row, points) for row in rows], color=colour, marker="o", markersize=3.5)
            graph = [(row.t, row.graph) for row in rows if row.graph is not None]
            if points == "items" and graph:
                axes.plot(*zip(*graph, strict=True), color=colour, linestyle=DASHED, linewidth=1.4)
        axes.set(title={"items": "Items", "users": "Users"}[points], xlabel="time t of the forward process")
        axes.set_ylabel(f"share of the {analysis.k} nearest items")
        axes.set_ylim(0, 1.03)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, 0, PERCENT))
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))

    return draw(f"noise-{points}", paint, label=f"neighbourhoods of {points} along t under two kinds of noise")


def _strata_panel(by: Strata, others: Sequence[str]) -> str:
    title, label = {
        "history": ("By length of history", "interactions in the history"),
        "popularity": ("By popularity of what comes next", "interactions of the user's next items (mean)"),
    }[by.by]

    def paint(axes: Axes) -> None:
        places = range(len(by.groups))
        axes.axhline(0, color=INK, linewidth=1)
        for number, (other, colour) in enumerate(zip(others, SERIES, strict=False)):
            gains = [group.gains[other] for group in by.groups]
            xs = [place + OFFSET * (2 * number - len(others) + 1) for place in places]
            margins = [gain.margin or 0 for gain in gains]
            axes.errorbar(
                xs, [gain.mean for gain in gains], margins, color=colour, fmt="os"[number % 2 : number % 2 + 1],
                markersize=5, elinewidth=1.4,
            )  # fmt: skip
        axes.set_xticks(places, [span(group.low, group.high) for group in by.groups])
        axes.set(title=title, xlabel=label, ylabel="difference in NDCG@20")
        axes.grid(visible=False, axis="x")
        axes.margins(y=0.12)

    return draw(f"strata-{by.by}", paint, label=f"differences in NDCG@20, {title.lower()}")


def _topology_panel(rows: Sequence[Topology], name: str, k: int) -> str:
    def paint(axes: Axes) -> None:
        for place, row in enumerate(rows):
            value = getattr(row, name)
            colour = SERIES[0] if row.points.startswith("items") else SERIES[1]
            if name == "overlap":
                axes.plot([row.chance] * 2, [place - 0.25, place + 0.25], color=MUTED, linewidth=1.6)
            if value is None:
                continue
            axes.plot([0, value], [place, place], color=GRID, linewidth=3, zorder=1)
            axes.plot(value, place, "o", color=colour, markersize=7)
            shown = signed(value, 2) if name == "spearman" else percent(value)
            behind = {"facecolor": PAPER, "edgecolor": "none", "pad": 0.6}
            beside = (value, place), (0.0, 8.0)
            axes.annotate(shown, *beside, textcoords="offset points", ha="center", fontsize=8.5, bbox=behind)
        axes.set_yticks(range(len(rows)), [row.points for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.7)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        if name == "spearman":
            axes.axvline(0, color=INK, linewidth=1)
            axes.set(title="Hierarchy", xlabel=f"Spearman of radius and degree ({MINUS}1 to 1)", xlim=(-1.12, 1.12))
        else:
            axes.set(title="Neighbourhoods", xlabel=f"graph neighbours among the {k} nearest")
            axes.set_xlim(0, max(0.1, *(row.overlap or 0 for row in rows)) * 1.15)
            axes.xaxis.set_major_formatter(PercentFormatter(1.0, 0, PERCENT))

    return draw(f"topology-{name}", paint, label=f"{name} of items and users before and after")


def _path(rows: Sequence[Topology], name: str) -> str:
    """The values one after the other, in words."""
    values = [getattr(row, name) for row in rows]
    shown = [
        "(not known)" if value is None else signed(value, 2) if name == "spearman" else percent(value)
        for value in values
    ]
    return f"stays at {shown[0]}" if len(set(shown)) == 1 else f"goes from {' to '.join(shown)}"
