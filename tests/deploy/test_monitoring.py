"""Prometheus, its alerts and the dashboard: what they name exists, and alerts fire when they should."""

import asyncio
import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from service.app import create_app
from service.settings import Settings
from tests.deploy.files import ROOT, compose, read
from tests.service.conftest import DEADLINE, converse, publish_model

MONITORING = ROOT / "docker" / "monitoring"
ALERTS = MONITORING / "prometheus" / "alerts.yml"
OPERATIONS = "docs/operations.md"

PROMETHEUS_OWN = {"up", "ALERTS"}
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
WORDS = {"and", "or", "unless", "by", "without", "on", "ignoring", "group_left", "group_right", "offset", "bool"}

Labels = dict[str, set[str]]


def rules() -> list[dict[str, Any]]:
    return [rule for group in read(ALERTS)["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    [path] = (MONITORING / "grafana" / "dashboards").glob("*.json")
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found


def expressions() -> dict[str, str]:
    """All of PromQL that there is, by where it stands."""
    alerts = {f"alert {rule['alert']}": rule["expr"] for rule in rules()}
    panels = {
        f"panel {panel['title']} {target['refId']}": target["expr"]
        for panel in dashboard()["panels"]
        for target in panel.get("targets", [])
    }
    return alerts | panels


def metrics_in(expression: str) -> set[str]:
    """Names of metrics in PromQL: what is left without strings, matchers, durations, groupings, functions and words."""
    left = re.sub(r'"[^"]*"', "", expression)
    left = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\b(by|without|on|ignoring)\s*\([^)]*\)", " ", left)
    return set(re.findall(r"[a-zA-Z_:][\w:]*\b(?!\s*\()", left)) - WORDS


def matchers_in(expression: str) -> Iterator[tuple[str, str, str, str]]:
    """Metric, label, operator and value of every matcher."""
    for metric, inside in re.findall(r"([a-zA-Z_:][\w:]*)\{([^}]*)\}", expression):
        for label, operator, value in re.findall(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"', inside):
            yield metric, label, operator, value


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[set[str], dict[str, Labels]]:
    """Names of the samples that a real service exports, and the values of their labels after a few requests, one of
    them beside a canary."""
    models = tmp_path_factory.mktemp("models")
    version = publish_model(models).current()
    store = publish_model(models, seed=1)
    assert version is not None
    store.set_canary(version, 0.5)
    app, texts = create_app(Settings(models=models)), list[str]()

    async def exchange(client: httpx.AsyncClient) -> None:
        event = {"event_id": "1", "user_id": "100", "item_id": "i1000", "type": "view"}
        for path, body in (
            ("/recommend", {"user_id": "100"}),
            ("/recommend", {"user_id": "100"}),
            ("/v1/recommend", {"user_id": "stranger"}),
            ("/v1/events", event),
            ("/v1/events", {**event, "type": "rejected"}),
        ):
            await client.post(path, json=body)
        deadline = time.monotonic() + DEADLINE
        while (await client.get("/readyz")).json()["canary"] is None:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        await client.post("/recommend", json={"user_id": "101"})
        for path in ("/livez", "/metrics", "/metrics"):
            texts.append((await client.get(path)).text)

    converse(app, exchange)
    names, labels = set[str](), dict[str, Labels]()
    for family in text_string_to_metric_families(texts[-1]):
        names |= {family.name + suffix for suffix in SUFFIXES[family.type]}
        for sample in family.samples:
            for label, value in sample.labels.items():
                labels.setdefault(sample.name, {}).setdefault(label, set()).add(value)
    return names, labels


@pytest.mark.parametrize("where", expressions())
def test_every_metric_that_is_asked_for_is_exported(where: str, exported: tuple[set[str], dict[str, Labels]]) -> None:
    wanted = metrics_in(expressions()[where])
    assert wanted
    assert wanted <= exported[0] | PROMETHEUS_OWN


@pytest.mark.parametrize("where", expressions())
def test_every_label_that_is_asked_for_is_exported(where: str, exported: tuple[set[str], dict[str, Labels]]) -> None:
    for metric, label, operator, value in matchers_in(expressions()[where]):
        if metric in PROMETHEUS_OWN or label in ("job", "instance"):
            continue
        assert label in exported[1][metric], (metric, label)
        if label == "route":  # of the others, some values are of what did not happen here
            known = exported[1][metric][label]
            assert set(value.split("|") if "~" in operator else [value]) <= known, (value, known)


def test_every_metric_of_the_service_is_on_the_dashboard(exported: tuple[set[str], dict[str, Labels]]) -> None:
    shown = set[str]().union(*map(metrics_in, expressions().values()))
    parts = r"_(bucket|sum|count)$"
    families = {re.sub(parts, "", name) for name in exported[0] if re.match(r"hdrm_.*(?<!_created)$", name)}
    assert families <= {re.sub(parts, "", name) for name in shown}


def test_every_alert_says_how_bad_it_is_and_what_to_do() -> None:
    sections = re.findall(r"^### (Hdrm\w+)$", (ROOT / OPERATIONS).read_text("utf-8"), re.MULTILINE)
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names))
    assert sections == names
    for rule in rules():
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["for"]
        assert set(rule["annotations"]) == {"summary", "description", "runbook"}
        assert rule["annotations"]["runbook"] == f"{OPERATIONS}#{rule['alert'].lower()}"


def test_the_dashboard_asks_what_provisioning_defines() -> None:
    board = dashboard()
    panels = board["panels"]
    ids = [panel["id"] for panel in panels]
    assert len(ids) == len(set(ids))
    defined = {
        source["uid"] for source in read(MONITORING / "grafana/provisioning/datasources/prometheus.yml")["datasources"]
    }
    used = re.findall(r'"datasource": (\{[^}]*\}|"[^"]*")', json.dumps(board))
    assert used
    assert {json.loads(source)["uid"] for source in used} <= defined
    [provider] = read(MONITORING / "grafana/provisioning/dashboards/hdrm.yml")["providers"]
    mounted = compose()["services"]["grafana"]["volumes"]
    assert f"./docker/monitoring/grafana/dashboards:{provider['options']['path']}:ro" in mounted
    places = [tuple(panel["gridPos"].values()) for panel in panels]
    assert len(set(places)) == len(places)


def test_prometheus_asks_the_service_where_it_is() -> None:
    config, services = read(MONITORING / "prometheus/prometheus.yml"), compose()["services"]
    [job] = config["scrape_configs"]
    assert job["job_name"] == "hdrm"
    [target] = [target for group in job["static_configs"] for target in group["targets"]]
    host, _, port = target.partition(":")
    assert any(published.endswith(f":{port}") for published in services[host]["ports"])
    assert set(services[host]["networks"]) & set(services["prometheus"]["networks"])
    secret = Path(job["authorization"]["credentials_file"])
    assert secret.parent == Path("/run/secrets")
    assert secret.name in services["prometheus"]["secrets"]
    assert [ALERTS.parent / name for name in config["rule_files"]] == [ALERTS]


PROMTOOL = pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool, of Debian's package prometheus")


def promtool(*arguments: str | Path) -> None:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@PROMTOOL
def test_prometheus_accepts_its_files() -> None:
    promtool("check", "config", "--syntax-only", MONITORING / "prometheus" / "prometheus.yml")
    promtool("check", "rules", ALERTS)


@PROMTOOL
def test_prometheus_accepts_what_the_dashboard_asks(tmp_path: Path) -> None:
    asked = [expression.replace("$__rate_interval", "1m") for expression in expressions().values()]
    records = [{"record": f"panel:{number}", "expr": expression} for number, expression in enumerate(asked)]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": records}]}))
    promtool("check", "rules", file)


@PROMTOOL
def test_alerts_fire_when_they_should_and_not_before() -> None:
    cases = Path(__file__).with_name("alerts.yml")
    names = {name.split()[0] for name in (test["name"] for test in read(cases)["tests"])}
    assert {rule["alert"] for rule in rules()} <= names
    promtool("test", "rules", cases)
