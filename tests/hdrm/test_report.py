"""`hdrm report`, end to end on a small model whose titles mean harm."""

import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from hdrm.cli import app
from model.artifact import load_artifact, write_artifact
from model.errors import ArtifactError, HdrmError
from model.store import ModelStore
from tests.conftest import QUICK, planted
from training.config import load_config
from training.data.datasets import Dataset
from training.trainer import Observer, TrainingRun

TITLES = [
    "<script>alert(1)</script>",
    "$9.99 & $x_{",
    "id=\"#000001\" 'q'",
    "日本語のタイトル",
    "a\x0bb\nc",
    "word " * 30,
]
FIGURES = [
    "The items on the Poincaré disk",
    "Radius against popularity",
    "Accuracy against reverse steps",
    "Who gains, who loses",
    "What noise leaves of the neighbourhoods",
    "The graph's shape, before and after",
    "Learning curves",
]


class Page(HTMLParser):
    """What is in a page: its tags, attributes, and the text of some elements."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        for tag in self.open[-1:]:
            self.texts.setdefault(tag, []).append(data)


def train(dataset: Dataset, models: Path) -> ModelStore:
    silent = Observer(lambda _name, _epochs: None, lambda _epoch: None)
    config = load_config("default", QUICK)
    TrainingRun(dataset, config, preset="default", seed=0, store=ModelStore(models), observer=silent).run(resume=False)
    return ModelStore(models)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    """A model whose items, categories and data set have names that must not be taken for markup."""
    made = planted()
    titles = [TITLES[number % len(TITLES)] for number in range(len(made.items))]
    items = made.items.with_columns(pl.Series("title", titles), pl.lit(["<b>bold</b>", "R&B"]).alias("categories"))
    info = made.info.model_copy(update={"name": "<i>plays</i>", "terms": "see https://example.org/terms"})
    return train(replace(made, items=items, info=info), tmp_path_factory.mktemp("report") / "models")


@pytest.fixture(scope="module")
def old(store: ModelStore, tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    """The same model, published without an analysis."""
    artifact = load_artifact(store.path())
    about = {
        name: getattr(artifact.manifest, name)
        for name in ("preset", "training", "seed", "data", "protocol", "metrics", "diagnostics", "run")
    }
    made = ModelStore(tmp_path_factory.mktemp("old") / "models")
    with made.staging() as directory:
        write_artifact(directory, artifact.model, artifact.catalogue, artifact.probe, about)
        made.publish(directory)
    return made


def report(store: ModelStore, out: Path, *more: str) -> tuple[str, str]:
    """What was printed on stdout and stderr; what the command raises is raised."""
    arguments = ["report", "--models", str(store.root), "--out", str(out), *more]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout, done.stderr


@pytest.fixture(scope="module")
def source(store: ModelStore, tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("page") / "report.html"
    printed, _ = report(store, out)
    assert str(out) in printed.replace("\n", "")
    return out.read_text("utf-8")


def test_every_figure_is_there_with_a_finding_and_an_explanation(source: str) -> None:
    sections = source.split("<section ")[1:]
    assert [unescape(title) for title in re.findall(r"<h2>\d\. (.*?)</h2>", source)] == FIGURES
    for section in sections[: len(FIGURES)]:
        page = Page(section)
        assert page.tags.count("figcaption") == 1
        finding, detail = (text for text in page.texts["p"] if text.strip())
        assert re.search(r"\d", finding)  # a number
        assert len(detail) > 40
        assert section.count('<svg role="img"') >= 2
        labels = [label for name, label in page.attributes if name == "aria-label"]
        assert all(labels)


def test_axes_are_named(source: str) -> None:
    text = Page(source).texts["text"]
    for label in (
        "radius (distance to the origin)",
        "interactions (count, logarithmic)",
        "reverse steps",
        "difference in NDCG@20",
        "time t of the forward process",
        "share of the 20 nearest items",
        "mean training loss",
        "held-out score (0 to 1)",
    ):
        assert label in text


def test_the_page_needs_nothing_but_itself(source: str) -> None:
    page = Page(source)
    assert not {"script", "link", "img", "iframe", "image", "object"} & set(page.tags)
    assert "default-src 'none'" in source
    for name, value in page.attributes:
        assert name != "src"
        assert not name.startswith("on")
        assert "//" not in (value or "")
        if name == "href":
            assert (value or "").startswith("#")
    # the one address is in the data's terms, as text
    assert re.findall(r"https?://\S+?(?=<)", source) == ["https://example.org/terms"]
    assert "url(" not in source.replace("url(#", "")


def test_no_two_elements_have_one_id_and_every_reference_is_to_one(source: str) -> None:
    attributes = Page(source).attributes
    ids = [value for name, value in attributes if name == "id"]
    assert len(ids) == len(set(ids))
    wanted = {(value or "")[1:] for name, value in attributes if name == "href"}
    wanted |= set(re.findall(r"url\(#([^)]+)\)", source))
    assert wanted <= set(ids)


def test_titles_are_text_whatever_they_look_like(source: str) -> None:
    assert "<script>" not in source
    assert "<b>bold</b>" not in source
    page = Page(source)
    shown = page.texts["text"]
    for title in ("<script>alert(1)</script>", "$9.99 & $x_{", "id=\"#000001\" 'q'", "日本語のタイトル"):
        assert title in shown
    assert any(text.startswith("word word") and text.endswith("…") for text in shown)
    assert "<b>bold</b>" in page.texts["li"]
    assert page.texts["h1"] == ["<i>plays</i>"]


def test_colours_are_the_page_s_own(source: str) -> None:
    svg = "".join(re.findall(r"<svg.*?</svg>", source, re.DOTALL))
    assert "var(--ink)" in svg
    assert "var(--s1)" in svg
    assert not re.findall(r"(?:fill|stroke): #", svg)
    css = source[source.index("<style>") : source.index("</style>")]
    light, dark = css.split("prefers-color-scheme: dark", 1)
    for name in set(re.findall(r"var\(--(\w+)\)", source)):
        assert f"--{name}:" in light
        assert f"--{name}:" in dark


def test_the_head_says_which_model_and_how_good(source: str, store: ModelStore) -> None:
    text = "".join(piece for pieces in Page(source).texts.values() for piece in pieces)
    manifest = load_artifact(store.path()).manifest
    assert manifest.version in text
    for row in manifest.metrics:
        assert row.model in text
        assert all(f"{value:.4f}" in text for value in row.values.values())
    assert manifest.run.created_at[:10] in text
    assert "encoder_fit.learning_rate" in text


def test_an_artifact_without_an_analysis_says_what_is_missing(old: ModelStore, tmp_path: Path) -> None:
    out = tmp_path / "old.html"
    _, warned = report(old, out)
    assert "training anew" in warned.replace("\n", " ")
    source = out.read_text("utf-8")
    assert "without an analysis" in source
    assert [unescape(title) for title in re.findall(r"<h2>\d\. (.*?)</h2>", source)] == FIGURES[:2]


def test_what_cannot_be_written_or_found_is_said(old: ModelStore, tmp_path: Path) -> None:
    with pytest.raises(HdrmError, match="cannot be written"):
        report(old, tmp_path / "no" / "folder.html")
    with pytest.raises(ArtifactError, match="no model version 'other'"):
        report(old, tmp_path / "x.html", "--version", "other")
