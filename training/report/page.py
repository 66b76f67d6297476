"""The report: one HTML file about a published model that needs nothing but a browser."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from html import escape
from importlib import resources
from typing import Any

from model.analysis import Analysis
from model.artifact import Artifact
from model.manifest import Manifest
from training.report import maps, measured
from training.report.canvas import variable
from training.report.figure import Figure, Mark, Table
from training.report.words import MINUS

__all__ = ["MISSING", "render"]

MISSING = (
    "This artifact was published without an analysis, so only the figures that the model itself holds are here. What "
    "is missing (learning curves, noise, reverse steps, who gains, the graph's shape) is measured while a model is "
    "trained; training anew with this version of hdrm adds it."
)
SHEETS = ("palette.css", "style.css")
WORDS = {
    "HDRM": "hyperbolic diffusion recommender model: people and items are points of hyperbolic space; where a person "
    "is heading is found by removing noise, step by step, from a first estimate.",
    "NDCG@20, recall@20": "how good a list of 20 is, from 0 to 1. Recall is the share of the items that a person took "
    "up next; NDCG counts those near the top of the list more.",
    "radius": "distance of a point to the origin of the space.",
    "Spearman": f"rank correlation, from {MINUS}1 (the greater the one, the smaller the other) to 1.",
    "interval": "± gives half of a 95 % interval; a difference smaller than that may be chance.",
}


def render(artifact: Artifact, analysis: Analysis | None, *, drawn: Callable[[int, int], None]) -> str:
    """The page.

    Args:
        artifact: the model.
        analysis: what was measured in training, None if nothing was.
        drawn: told after every figure how many are done, and of how many.
    """
    figures: list[Figure] = []
    makers = list(_figures(artifact, analysis))
    for make in makers:
        figures.append(make())
        drawn(len(figures), len(makers))
    manifest = artifact.manifest
    title = f"{manifest.data.name}: model {manifest.version}"
    css = "".join(resources.files("training.report").joinpath(name).read_text("utf-8") for name in SHEETS)
    body = [
        _head(manifest),
        "" if analysis else f'<p class="notice">{escape(MISSING)}</p>',
        _contents(figures),
        *(_figure(number, figure) for number, figure in enumerate(figures, start=1)),
        _words(),
        _settings(manifest),
        f"<footer>Written by hdrm report from the artifact {escape(manifest.version)}.</footer>",
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        # the browser may load nothing: all that is shown is in the file
        """<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">\n"""
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{css}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(filter(None, body))
        + "\n</main>\n</body>\n</html>\n"
    )


def _figures(artifact: Artifact, analysis: Analysis | None) -> Iterator[Callable[[], Figure]]:
    yield partial(maps.disk, artifact)
    yield partial(maps.hierarchy, artifact)
    if analysis:
        yield partial(measured.steps, analysis, artifact.manifest.model.steps)
        yield partial(measured.strata, analysis)
        yield partial(measured.noise, analysis)
        yield partial(measured.topology, analysis)
        yield partial(measured.curves, analysis)


def _head(manifest: Manifest) -> str:
    data, run = manifest.data, manifest.run
    facts = {
        "version": f"<code>{escape(manifest.version)}</code>",
        "data": escape(f"{data.name}, from {data.source}"),
        "terms": escape(data.terms or "not stated"),
        "size": f"{data.users:,} users, {data.items:,} items, {data.interactions:,} interactions learned from",
        "trained": escape(
            f"{run.created_at[:16].replace('T', ' ')} UTC, {run.seconds:,.0f} s on {run.device}, seed {manifest.seed}"
        ),
        "model": f"preset {escape(manifest.preset)}; {manifest.model.encoder.dim} dimensions, "
        f"{manifest.model.steps} reverse steps of {manifest.model.noise.timesteps}",
    }
    terms = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in facts.items())
    return (
        f'<header>\n<p class="key">HDRM, a hyperbolic diffusion recommender model</p>\n<h1>{escape(data.name)}</h1>\n'
        f'<p class="lead">{escape(_summary(manifest))}</p>\n<dl>{terms}</dl>\n'
        f"<h2>Accuracy on held-out data</h2>\n{_metrics(manifest)}\n"
        f'<p class="detail">{escape(_sentence(manifest.protocol))}</p>\n</header>'
    )


def _summary(manifest: Manifest) -> str:
    """The comparison in a sentence: the model is its last row."""
    if not manifest.metrics:
        return "This model was published without a comparison."
    *others, ours = manifest.metrics
    said = f"{ours.model}: NDCG@20 {ours.values['ndcg@20']:.4f}, recall@20 {ours.values['recall@20']:.4f}"
    if not others:
        return f"{said}."
    best = max(others, key=lambda row: row.values["ndcg@20"])
    return f"{said}. The best of what it is compared with, “{best.model}”, has {best.values['ndcg@20']:.4f} NDCG@20."


def _metrics(manifest: Manifest) -> str:
    names = sorted({name for row in manifest.metrics for name in row.values}, reverse=True)
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in ["model", *names])
    rows = []
    for row in manifest.metrics:
        ours = ' class="ours"' if row is manifest.metrics[-1] else ""
        values = "".join(f"<td>{row.values[name]:.4f}</td>" for name in names)
        rows.append(f"<tr{ours}><td>{escape(row.model)}</td>{values}</tr>")
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _contents(figures: Sequence[Figure]) -> str:
    entries = "".join(
        f'<li><a href="#figure-{number}">{number}. {escape(figure.title)}</a></li>'
        for number, figure in enumerate(figures, start=1)
    )
    return f'<nav aria-label="Figures"><ol>{entries}</ol></nav>'


def _figure(number: int, figure: Figure) -> str:
    legend = "".join(f"<li>{_swatch(mark)}{escape(mark.label)}</li>" for mark in figure.legend)
    panels = "panels wide" if figure.narrow else "panels"
    table = figure.table
    return "\n".join(
        (
            f'<section id="figure-{number}">',
            f"<h2>{number}. {escape(figure.title)}</h2>",
            "<figure>",
            f'<ul class="legend">{legend}</ul>' if legend else "",
            f'<div class="{panels}">',
            *(f"<div>{panel}</div>" for panel in figure.panels),
            "</div>",
            f'<div class="narrow">{figure.narrow}</div>' if figure.narrow else "",
            f'<figcaption><p class="finding">{escape(figure.finding)}</p>'
            f'<p class="detail">{escape(figure.detail)}</p></figcaption>',
            "</figure>",
            f"<details><summary>The numbers</summary>{_table(table)}</details>" if table else "",
            "</section>",
        )
    )


def _swatch(mark: Mark) -> str:
    colour = variable(mark.colour)
    if mark.dash is None:
        shape = f'<circle cx="18" cy="7" r="5" style="fill:{colour}"/>'
    else:
        shape = f'<path d="M1 7H35" style="stroke:{colour};stroke-width:3;stroke-dasharray:{mark.dash or "none"}"/>'
    return f'<svg viewBox="0 0 36 14" aria-hidden="true">{shape}</svg>'


def _table(table: Table, kind: str = "") -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in table.head)
    rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in table.rows)
    return f'<div class="scroll"><table{kind}><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _words() -> str:
    terms = "".join(f"<dt>{escape(word)}</dt><dd>{escape(meaning)}</dd>" for word, meaning in WORDS.items())
    return f"<section><h2>Words and settings</h2><details><summary>Words used here</summary><dl>{terms}</dl></details>"


def _settings(manifest: Manifest) -> str:
    settings = Table(("setting", "value"), tuple(_flat(manifest.training)))
    learned = Table(("quantity", "value"), tuple((k, f"{v:.4g}") for k, v in manifest.diagnostics.items()))
    software = Table(("software", "version"), tuple(manifest.run.software.items()))
    kind = ' class="text"'
    return (
        f"<details><summary>Settings of the training</summary>{_table(settings, kind)}</details>"
        f"<details><summary>Learned and measured quantities, software</summary>{_table(learned, kind)}"
        f"{_table(software, kind)}</details></section>"
    )


def _flat(settings: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, str(value)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
