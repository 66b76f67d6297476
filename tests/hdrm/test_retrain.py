"""`hdrm retrain`, as a scheduler or an operator calls it."""

import asyncio
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from model.artifact import load_artifact
from model.manifest import MANIFEST, canonical, seal
from model.report import RunReport, keep_report, read_reports
from model.store import ModelStore
from service.events.event import Event
from service.events.record import Record, deletion_of, item_change
from service.events.sqlite import SqliteLog
from tests.conftest import QUICK

SMALL = ["data.least_users=10", "data.least_interactions=100"]
OPTIONS = [
    *(argument for change in QUICK for argument in ("--set", change)),
    *(argument for limit in SMALL for argument in ("--limit", limit)),
]
NEWEST = 1.0e10  # after all that is planted, and long ago


def hdrm(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "hdrm", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def retrain(models: Path, data: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    return hdrm("retrain", "--once", "--data", data, "--models", models, *OPTIONS, *options)


def tell(models: Path, *records: Record) -> None:
    """What the service of the store would have kept."""

    async def append() -> None:
        log = SqliteLog(models / "events.sqlite")
        await log.append(records)
        await log.close()

    asyncio.run(append())


def views(*what: tuple[str, str], name: str = "e") -> list[Event]:
    return [Event(f"{name}{n}", user, item, "view", NEWEST / 1e1 + n) for n, (user, item) in enumerate(what)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Path:
    """A store after its first run."""
    models = tmp_path_factory.mktemp("retrain") / "models"
    done = retrain(models, data_dir)
    assert done.returncode == 0, done.stderr
    assert "published" in done.stdout
    assert "candidate: " in done.stdout
    return models


@pytest.fixture
def models(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "models"))


def newest(models: Path) -> RunReport:
    return read_reports(ModelStore(models))[0]


def test_runs_are_told_to_mlflow_where_there_is_one(
    models: Path, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
    assert retrain(models, data_dir, "--drill").returncode == 3
    report = newest(models)
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        assert database.execute("SELECT name FROM runs").fetchall() == [(report.run_id,)]
        logged = dict(database.execute("SELECT key, value FROM metrics").fetchall())
        tags = dict(database.execute("SELECT key, value FROM tags").fetchall())
    database.close()
    assert logged["candidate/ndcg at 20"] == report.comparison[-1].values["ndcg@20"]
    assert tags["outcome"] == "refused"
    assert tags["rule.ndcg_loss"].startswith("failed: NDCG@20")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nonsense://nowhere")
    done = retrain(models, data_dir)
    assert done.returncode == 0
    assert "the run was not told to MLflow" in done.stderr


def test_where_nothing_happened_nothing_is_trained(models: Path, data_dir: Path) -> None:
    before = ModelStore(models).current()
    done = retrain(models, data_dir)
    assert done.returncode == 0, done.stderr
    assert "unchanged" in done.stdout
    assert (newest(models).outcome, newest(models).before) == ("unchanged", before)
    assert ModelStore(models).versions() == [before]


def test_what_happened_is_in_the_next_model(models: Path, data_dir: Path) -> None:
    store, before = ModelStore(models), ModelStore(models).current()
    old = load_artifact(store.path())
    user = old.catalogue.users.ids()[0]
    had = [old.catalogue.items.id(int(item)) for item in old.catalogue.histories[0]]
    facts = {"title": "A new one", "year": 2026, "categories": [], "hidden": False}
    news = item_change("new", facts, creates=True, timestamp=1e9)
    tell(
        models,
        news,
        item_change("i1", {"hidden": True}, creates=False, timestamp=1e9),
        *views(*((f"stranger{n}", "new") for n in range(12)), ("stranger0", "i3"), (user, "new"), name="a"),
        Event("r", user, had[0], "remove", NEWEST / 10),
        Event("w", user, had[1], "wave", NEWEST / 10),  # of no type that there is
    )

    async def forget() -> None:
        log = SqliteLog(models / "events.sqlite")
        await log.delete_user(deletion_of("u7", timestamp=time.time()))
        await log.close()

    asyncio.run(forget())
    done = retrain(models, data_dir, "--limit", "data.new_on_item=1.0", "--limit", "gate.ndcg_loss=0.9")
    assert done.returncode == 0, done.stdout + done.stderr
    report = newest(models)
    assert (report.outcome, report.before, report.candidate) == ("published", before, store.current())
    assert report.events == 15
    assert store.current() != before
    new = load_artifact(store.path())
    catalogue = new.catalogue

    def history(name: str) -> list[str]:
        index = catalogue.users.index(name)
        assert index is not None
        return [catalogue.items.id(int(item)) for item in catalogue.histories[index]]

    assert history("stranger0") == ["new", "i3"]
    assert history(user) == [*had[1:], "new"]
    assert catalogue.users.index("u7") is None
    index = catalogue.items.index("new")
    assert index is not None
    assert catalogue.fragments.facts(index).title == "A new one"
    one = catalogue.items.index("i1")
    assert one is not None
    assert catalogue.fragments.facts(one).title == "Item 1"
    assert "search: " not in done.stderr  # what the last search found is used again
    assert new.manifest.diagnostics["searches_saved"] == 1
    assert any(row.model == f"current: {before}" for row in report.comparison)
    assert store.rollback() == before


def test_a_candidate_that_learned_nothing_is_refused_with_reasons(models: Path, data_dir: Path) -> None:
    store, before = ModelStore(models), ModelStore(models).current()
    done = retrain(models, data_dir, "--drill")
    assert done.returncode == 3, done.stdout + done.stderr
    assert "refused" in done.stdout
    assert store.current() == before
    candidate = newest(models).candidate
    assert candidate in store.versions()
    shown = hdrm("models", "show", str(candidate), "--models", models)
    assert "NDCG@20" in shown.stdout
    assert " no " in shown.stdout
    told = json.loads(hdrm("models", "show", str(candidate), "--models", models, "--json").stdout)
    assert told["retraining"]["outcome"] == "refused"
    rows = json.loads(hdrm("models", "list", "--models", models, "--json").stdout)["models"]
    assert {row["version"]: row["gate"] for row in rows} == {before: "published", candidate: "refused"}
    activated = hdrm("models", "activate", str(candidate), "--models", models)
    assert activated.returncode == 1
    assert "refused by the gate" in activated.stderr
    assert store.current() == before
    forced = hdrm("models", "activate", str(candidate), "--models", models, "--force")
    assert forced.returncode == 0, forced.stderr
    assert store.current() == candidate
    assert hdrm("models", "rollback", "--models", models).returncode == 0
    assert store.current() == before


def test_a_drill_serves_nobody_even_where_nothing_serves(tmp_path: Path, data_dir: Path) -> None:
    done = retrain(tmp_path, data_dir, "--drill", "--seed", "1")
    assert done.returncode == 3, done.stdout + done.stderr
    assert "it was a drill" in done.stdout
    assert ModelStore(tmp_path).current() is None


def test_events_of_before_the_data_are_left_out(models: Path, data_dir: Path) -> None:
    tell(models, *[Event(f"old{n}", f"u{n}", "i9", "view", -1.0) for n in range(30)])
    done = retrain(models, data_dir)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "unchanged" in done.stdout


def test_data_that_are_not_fit_are_not_trained_on(models: Path, data_dir: Path, tmp_path: Path) -> None:
    store, before = ModelStore(models), ModelStore(models).current()
    tell(models, *views(*((f"robot{n}", "i3") for n in range(400))))
    done = retrain(models, data_dir)
    assert done.returncode == 3
    report = newest(models)
    assert (report.outcome, report.candidate) == ("invalid", None)
    assert any("new" in sentence for sentence in report.failed), report.failed
    assert "no " in done.stdout
    assert store.versions() == [before]


def test_versions_are_compared_told_tried_out_and_pruned_by_command(models: Path, data_dir: Path) -> None:
    store, before = ModelStore(models), ModelStore(models).current()
    assert retrain(models, data_dir, "--drill").returncode == 3
    candidate = str(newest(models).candidate)
    tried = hdrm("models", "canary", candidate, "--share", "0.2", "--models", models)
    assert tried.returncode == 0, tried.stderr
    assert f"canary: {candidate} for 0.2 of the users" in tried.stdout
    refused = hdrm("models", "canary", "--promote", "--models", models)
    assert refused.returncode == 1
    assert "refused by the gate" in refused.stderr
    assert hdrm("models", "canary", "--promote", "--force", "--models", models).returncode == 0
    assert (store.current(), store.canary()) == (candidate, None)
    assert hdrm("models", "canary", "--promote", "--models", models).returncode == 1
    assert hdrm("models", "canary", candidate, "--models", models).returncode == 2
    assert hdrm("models", "rollback", "--models", models).stdout.strip() == f"current: {before}"
    assert hdrm("models", "prune", "--keep", "1", "--models", models).returncode == 0
    assert str(before) in store.versions()
    (models / str(before) / "probe.json").write_bytes(b"{}")
    damaged = hdrm("models", "activate", str(before), "--models", models)
    assert damaged.returncode == 1
    assert "probe.json" in damaged.stderr


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (["--once"], 2, "--models"),
        (["--models", "m"], 2, "--once"),
        (["--models", "m", "--once", "--schedule", "0 3 * * *"], 2, "--once"),
        (["--models", "m", "--schedule", "every night"], 1, "--schedule"),
        (["--models", "m", "--schedule", "0 3 30 2 *"], 1, "it never comes"),
        (["--models", "m", "--schedule", "0 3 * * *", "--timezone", "Mars/Olympus"], 1, "--timezone Mars/Olympus"),
        (["--models", "m", "--once", "--limit", "gate.ndcg=1"], 1, "gate.ndcg"),
        (["--models", "m", "--once", "--limit", "gate.ndcg_loss=7"], 1, "gate.ndcg_loss"),
        (["--models", "m", "--once", "--data", "nowhere"], 1, "nowhere"),
        (["--models", "m", "--once"], 1, "no interactions are left"),
        (["--models", "/dev/null/m", "--once"], 1, "/dev/null/m"),
    ],
)
def test_a_mistake_is_one_message(tmp_path: Path, options: list[str], status: int, message: str) -> None:
    arguments = [str(tmp_path / "m") if option == "m" else option for option in options]
    done = hdrm("retrain", *arguments)
    assert done.returncode == status, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_the_limits_are_printed_with_their_meaning() -> None:
    done = hdrm("retrain", "--limits", "--limit", "gate.ndcg_loss=0.05")
    assert done.returncode == 0
    assert "gate.ndcg_loss" in done.stdout
    assert "0.05" in done.stdout


class Scheduled:
    """`hdrm retrain --schedule` as a process, whose messages are read as they come."""

    def __init__(self, models: Path, data: Path, *options: str) -> None:
        command = [sys.executable, "-m", "hdrm", "retrain", "--data", str(data), "--models", str(models), *OPTIONS]
        self.process = subprocess.Popen([*command, *options], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def says(self, what: str) -> str:
        """The next line that has this."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if what in line:
                return line
        raise AssertionError(f"it ended without saying {what!r}")

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=60)
        return self.process.returncode


def seal_again(models: Path, *, created_at: str) -> None:
    """Let the current model have been made then."""
    store = ModelStore(models)
    manifest = store.manifest()
    run = manifest.run.model_copy(update={"created_at": created_at})
    sealed = seal(manifest.model_copy(update={"run": run}))
    (store.path() / MANIFEST).write_bytes(canonical(sealed.model_dump(mode="json")))


@pytest.mark.parametrize("reports", [True, False])
def test_a_run_that_was_missed_is_made_up_for_at_once(models: Path, data_dir: Path, reports: bool) -> None:
    store = ModelStore(models)
    if reports:
        keep_report(store, newest(models).model_copy(update={"run_id": "99990101T000000-0", "read_at": 1.0}))
    else:  # the model is of another command, and a day old
        shutil.rmtree(models / ".reports")
        seal_again(models, created_at="2020-01-01T00:00:00+00:00")
    known = len(read_reports(store))
    beat = ["--jitter", "5", "--heartbeat", str(models / "beat")]
    scheduled = Scheduled(models, data_dir, "--schedule", "0 3 * * *", "--timezone", "Europe/Berlin", *beat)
    try:
        scheduled.says("retraining by '0 3 * * *' (Europe/Berlin); the next run:")
        scheduled.says("retraining done")
        assert len(read_reports(store)) == known + 1
        assert (models / "beat").exists()
    finally:
        assert scheduled.end() == 0


def test_the_end_of_a_schedule_ends_its_run(models: Path, data_dir: Path) -> None:
    store, before = ModelStore(models), ModelStore(models).current()
    keep_report(store, newest(models).model_copy(update={"run_id": "99990101T000000-0", "read_at": 1.0}))
    long = ["--set", "encoder_fit.budget.updates=100000", "--force", "--set", "encoder_fit.patience=1.0"]
    scheduled = Scheduled(models, data_dir, "--schedule", "0 3 * * *", *long)
    scheduled.says("the next run:")
    lease = models / "lease.json"
    deadline = time.monotonic() + 60
    while not lease.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert scheduled.end() == 0
    assert not lease.exists()
    assert store.current() == before


def test_events_alone_are_enough(tmp_path: Path, data_dir: Path) -> None:
    import polars as pl

    models = tmp_path / "models"
    models.mkdir()
    rows = pl.read_parquet(data_dir / "interactions.parquet")
    events: list[Any] = [
        Event(str(n), row["user_id"], row["item_id"], "view", row["timestamp"].timestamp())
        for n, row in enumerate(rows.iter_rows(named=True))
    ]
    tell(models, *events)
    done = hdrm("retrain", "--once", "--models", models, *OPTIONS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert newest(models).outcome == "published"
