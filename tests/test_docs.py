"""The documents say what is so: every setting, route, field and command in them exists, and none is missing."""

import json
import re
import shlex
from pathlib import Path
from statistics import mean

import pytest
import typer
from typer.core import TyperGroup

from benchmarks.page import render
from hdrm.cli import app
from model.config import Frozen
from service.app import create_app
from service.events.schemas import EventRequest, EventsResponse
from service.schemas import RecommendRequest, RecommendResponse
from service.settings import PREFIX, Settings
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


def test_every_service_setting_is_documented_as_it_is() -> None:
    for name, field in Settings.model_fields.items():
        variable = field.validation_alias or PREFIX + name.upper()
        default = "not set" if field.default is None else f"`{field.default}`"
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
    for model in (RecommendRequest, RecommendResponse, EventRequest, EventsResponse):
        for name in model.model_fields:
            assert f"| `{name}` |" in api


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
        assert (path.parent / link).exists(), link
