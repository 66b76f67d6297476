"""The documents say what is so: every setting, route, field and command in them exists, and none is missing."""

import json
import re
import shlex
from pathlib import Path
from statistics import mean

import httpx
import pytest
import typer
from typer.core import TyperGroup

from benchmarks.fortnight.document import Document as Fortnight
from benchmarks.fortnight.report import render as render_fortnight
from benchmarks.page import render
from hdrm.cli import app
from model.config import Frozen
from service.app import create_app
from service.events.schemas import EventRequest, EventsResponse
from service.requests import BatchRequest, Filter, NewItem, PopularParams, RankRequest, RecommendRequest
from service.responses import ItemState, RecommendResponse, UserState
from service.settings import PREFIX, Settings
from tests.service.conftest import ServeProcess, publish_model
from training.config import load_config

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def text(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def bash_lines(path: Path) -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", path.read_text("utf-8"), re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def flat(section: Frozen, prefix: str = "") -> dict[str, tuple[object, str | None]]:
    found: dict[str, tuple[object, str | None]] = {}
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, Frozen):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = (list(value) if isinstance(value, tuple) else value, field.description)
    return found


def test_the_first_command_stands_in_the_first_twenty_lines() -> None:
    assert "make demo" in "\n".join(text("README.md").splitlines()[:20])


def test_the_accuracy_in_the_readme_is_what_the_benchmark_measured() -> None:
    results = [r for r in json.loads(text("docs/accuracy.json"))["results"] if r["ablation"] is None]
    table = text("README.md").partition("## How good it is")[2].partition("\n## ")[0]
    shown = [line.strip("| ").split(" | ") for line in table.splitlines() if re.match(r"\| [a-z-]+ \| \d", line)]
    assert {row[0] for row in shown} == {r["model"] for r in results}
    for model, *figures in shown:
        mine = {mode: [r for r in results if (r["model"], r["mode"]) == (model, mode)] for mode in ("paper", "live")}
        expected = [
            f"{mean(r['metrics'][metric] for r in runs):.4f}"
            for runs in mine.values()
            for metric in ("recall@20", "ndcg@20")
        ]
        assert figures == [*expected, f"{mean(r['fit_cpu_seconds'] for r in mine['paper']):.0f}"]


def test_what_the_readme_says_of_sasrec_is_what_the_benchmark_measured() -> None:
    assert "of the four differences only that of live NDCG@20, in favour of `default`" in text("README.md")
    differences = [
        c
        for c in json.loads(text("docs/accuracy.json"))["comparisons"]
        if (c["model"], c["other"]) == ("default", "sasrec")
    ]
    assert len(differences) == 4
    (clear,) = [c for c in differences if c["excludes_zero"]]
    assert (clear["mode"], clear["metric"]) == ("live", "ndcg@20")
    assert clear["low"] > 0


def test_what_the_readme_says_of_data_without_an_order_is_what_the_benchmark_measured() -> None:
    measured = json.loads(text("docs/accuracy-unordered.json"))
    figures = [
        f"{mean(r['metrics'][metric] for r in measured['results'] if r['model'] == model):.4f}"
        for model in ("default", "ease")
        for metric in ("recall@20", "ndcg@20")
    ]
    sentence = text("README.md").partition("Without an order")[2].partition("accuracy-unordered")[0]
    assert re.findall(r"0\.\d{4}", sentence) == figures
    assert not any(
        c["excludes_zero"] for c in measured["comparisons"] if (c["model"], c["other"]) == ("default", "ease")
    )


def test_the_page_about_performance_is_what_was_measured() -> None:
    assert text("docs/performance.md") == render(ROOT / "docs")


def test_the_page_about_retraining_is_what_was_measured() -> None:
    measured, page = ROOT / "docs/fortnight.json", ROOT / "docs/retraining.md"
    assert page.read_text("utf-8") == render_fortnight(
        Fortnight.model_validate_json(measured.read_bytes()), "retraining.svg"
    )


def test_the_readme_says_what_retraining_brings() -> None:
    measured = Fortnight.model_validate_json(text("docs/fortnight.json"))
    table = text("README.md").partition("## Better every night")[2].partition("\n## ")[0]
    expected = [f"{means[metric]:.4f}" for means in measured.means.values() for metric in ("recall@20", "ndcg@20")]
    assert list(measured.means) == ["frozen", "live", "retrained"]
    assert re.findall(r"\b0\.\d{4}\b", table) == expected
    gained = {(d.better, d.other): d for d in measured.differences if d.metric == "recall@20"}
    assert gained["live", "frozen"].low > gained["retrained", "live"].high > gained["retrained", "live"].low > 0


def test_every_service_setting_is_documented_as_it_is() -> None:
    for name, field in Settings.model_fields.items():
        variable = field.validation_alias or PREFIX + name.upper()
        shown = json.dumps(field.default) if isinstance(field.default, dict | list) else field.default
        default = "not set" if field.default is None else f"`{shown}`"
        assert f"| `{variable}` | {default} | {field.description} |" in text("docs/configuration.md")


def test_every_training_setting_is_documented_as_it_is() -> None:
    settings, published = flat(load_config("default")), flat(load_config("paper"))
    for name, (value, description) in settings.items():
        other = published[name][0]
        shown = "" if other == value else f"`{other}`"
        assert f"| `{name}` | `{value}` | {shown} | {description} |" in text("docs/training.md")
    assert text("docs/training.md").count("\n| `") == len(settings)


def test_every_route_and_field_is_documented() -> None:
    api = text("docs/api.md")
    for path, operations in create_app(Settings()).framework.openapi()["paths"].items():
        for method in operations:
            assert f"`{method.upper()} {path}`" in api
    requests = (RecommendRequest, RankRequest, BatchRequest, Filter, NewItem, EventRequest, PopularParams)
    for model in (*requests, RecommendResponse, EventsResponse, ItemState, UserState):
        for name in model.model_fields:
            if model in (ItemState, UserState) and name in ("item_id", "user_id"):
                continue
            assert f"| `{name}` |" in api


def essence(value: object) -> object:
    """The names in a document, without what differs from call to call and from model to model."""
    if isinstance(value, dict):
        return {name: essence(part) for name, part in value.items() if name not in ("title", "year", "categories")}
    return [essence(part) for part in value] if isinstance(value, list) else type(value is None)


def test_every_call_in_the_description_of_the_api_is_answered_as_it_says(tmp_path: Path) -> None:
    """By a server over a socket, of a model that has the users and items that the examples name."""
    blocks = re.findall(r"```http\n([A-Z]+) (\S+)\n(.*?)```\n+```json\n(.*?)```", text("docs/api.md"), re.DOTALL)
    for seed in (1, 0):
        store = publish_model(
            tmp_path / "models",
            seed,
            users=250,
            user_id=lambda u: str(1 + u),
            item_id=lambda i: str(1 + i),
            categories=("Comedy", "Short"),
        )
    [other] = store.previous()
    server = ServeProcess(store.root, HDRM_LOG_LEVEL="warning")
    try:
        with httpx.Client(base_url=server.url, timeout=60) as client:
            recent = {"event_id": "0", "user_id": "a", "item_id": "50", "type": "view"}
            assert client.post("/v1/events", json=recent).status_code == 202
            for method, path, body, expected in blocks:
                sent = json.loads(body.replace("MODEL", other)) if body else None
                response = client.request(method, path.replace("MODEL", other), json=sent)
                shown, got = json.loads(expected), response.json()
                assert response.status_code == shown.get("status", response.status_code), path
                assert response.is_success == ("status" not in shown)
                assert trimmed(essence(got), essence(shown)) == essence(shown), (method, path)
    finally:
        server.end()
    document = json.loads(text("docs/openapi.json"))
    described = {(m.upper(), re.sub(r"\{\w+\}", "ID", path)) for path, of in document["paths"].items() for m in of}
    called = {(m, re.sub(r"(?<=items/|users/)[^/]+|MODEL", "ID", path.partition("?")[0])) for m, path, *_ in blocks}
    assert called == {(m, path) for m, path in described if path not in ("/livez", "/readyz", "/metrics")}


def trimmed(got: object, shown: object) -> object:
    """What was answered, with lists cut to the length of those shown: of histories, the document shows a few."""
    if isinstance(got, dict) and isinstance(shown, dict):
        return {name: trimmed(part, shown.get(name)) for name, part in got.items()}
    if isinstance(got, list) and isinstance(shown, list):
        return [trimmed(one, other) for one, other in zip(got, shown, strict=False)]
    return got


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_hdrm_command_in_a_document_exists(path: Path) -> None:
    root = typer.main.get_command(app)
    for line in bash_lines(path):
        words = shlex.split(line, comments=True)
        if words[0] != "hdrm":
            continue
        command, arguments = root, words[1:]
        while isinstance(command, TyperGroup):
            assert arguments[0] in command.commands, line
            command, arguments = command.commands[arguments[0]], arguments[1:]
        command.make_context("hdrm", arguments)  # raises on an unknown option or a missing argument


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_make_target_and_link_in_a_document_exists(path: Path) -> None:
    content = path.read_text("utf-8")
    for target in re.findall(r"`(?:make|\n)make ([a-z-]+)`|^make ([a-z-]+)$", content, re.MULTILINE):
        assert re.search(rf"^{''.join(target)}:", text("Makefile"), re.MULTILINE), target
    for link in re.findall(r"\]\(((?!http)[^)]+)\)", content):
        file, _, heading = link.partition("#")
        target = path.parent / file if file else path
        assert target.exists(), link
        assert not heading or heading in anchors(target), link


def anchors(path: Path) -> set[str]:
    """Of the headings in a document, as links name them."""
    headings = re.findall(r"^#+ (.*)$", path.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
