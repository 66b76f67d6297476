"""`hdrm retrain`: from events to a better model, once or every night."""

import signal
import subprocess
import sys
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hdrm.console import err, out
from hdrm.happened import read_happened
from hdrm.models import print_report
from hdrm.store import open_store
from hdrm.tracking import track
from hdrm.train import training_progress
from model.errors import ArtifactError, ConfigError

if TYPE_CHECKING:
    from model.report import RunReport
    from model.store import ModelStore
    from training.data.datasets import Dataset

__all__ = ["retrain"]

REFUSED = 3  # exit status: nothing broke, and somebody should look
DEFAULT_KEEP = 7
HEARTBEAT_SECONDS = 20


def retrain(
    models: Annotated[
        str | None,
        typer.Option(
            help="Model store: a folder, or a URL such as s3://bucket/models; needed unless --limits is given.",
            envvar="HDRM_MODELS",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the data of before the events; without it there are events alone.", envvar="HDRM_DATA"
        ),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Now, and end.")] = False,
    schedule: Annotated[
        str | None, typer.Option(metavar="CRON", help='Again and again, such as "0 3 * * *": every night at three.')
    ] = None,
    timezone: Annotated[str, typer.Option(help="Of the schedule, such as Europe/Berlin.")] = "UTC",
    jitter: Annotated[int, typer.Option(min=0, max=86400, help="Seconds, at most and at random, to begin later.")] = 0,
    heartbeat: Annotated[
        Path | None,
        typer.Option(help=f"With --schedule: a file that is touched every {HEARTBEAT_SECONDS} s, for health checks."),
    ] = None,
    preset: Annotated[
        str, typer.Option(help="Settings to start from: the name of a preset, or a .toml file.")
    ] = "default",
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of all randomness.")] = 0,
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Change a setting of the training.")
    ] = None,
    limits: Annotated[
        list[str] | None,
        typer.Option("--limit", metavar="SECTION.KEY=VALUE", help="Change a limit, such as gate.ndcg_loss=0.05."),
    ] = None,
    keep: Annotated[int, typer.Option(min=1, help="How many of the newest versions stay in the store.")] = DEFAULT_KEEP,
    force: Annotated[bool, typer.Option("--force", help="Train also if nothing has happened since.")] = False,
    drill: Annotated[
        bool,
        typer.Option("--drill", help="Learn from items under each other's names, to see that the gate refuses."),
    ] = False,
    show_limits: Annotated[
        bool, typer.Option("--limits", help="Print all limits with their meaning, as changed by --limit, and stop.")
    ] = False,
) -> None:
    """Train anew on the data and all events since, and let the result serve if it is good enough.

    Reads the log of events where the service keeps it (HDRM_REDIS_URL, HDRM_EVENTS_FILE or the store), leaves out
    deleted users, checks the data against those of the last run, holds out the newest tenth (cut by time, or as it was
    for the current model), trains, and compares the candidate with the current model, EASE and popularity on it. A
    candidate that is worse is kept, with the reasons, and not served: `hdrm models show VERSION` tells them. Running
    services follow within seconds.

    Where MLFLOW_TRACKING_URI names a server, each run is logged there (pip install 'hdrm[mlflow]').

    One run at a time is made for a store, on whichever machine. A run that was killed changes nothing that is served,
    and the next one goes on where it was. Exit status 3: refused, or the data were not fit.

    Examples:

        hdrm retrain --once --data data/ml-100k --models models

        hdrm retrain --schedule "0 3 * * *" --timezone Europe/Berlin --data data/ml-100k --models s3://bucket/models
    """
    if show_limits:
        print_limits(limits or [])
        return
    if models is None:
        raise typer.BadParameter("missing; needed unless --limits is given", param_hint="--models")
    if once == (schedule is not None):
        raise typer.BadParameter("give --once, or --schedule CRON", param_hint="--once")
    if schedule is None:
        report = retrain_once(
            models,
            data,
            preset=preset,
            seed=seed,
            changes=changes or [],
            limits=limits or [],
            keep=keep,
            force=force,
            drill=drill,
        )
        print_report(report)
        track(report, {"preset": preset, "seed": str(seed), "set": " ".join(changes or []), "data": str(data)})
        raise typer.Exit(REFUSED if report.outcome in ("refused", "invalid") else 0)
    follow_schedule(models, schedule, timezone, jitter, _arguments(), heartbeat=heartbeat)


def retrain_once(
    models: str,
    data: Path | None,
    *,
    preset: str,
    seed: int,
    changes: list[str],
    limits: list[str],
    keep: int,
    force: bool,
    drill: bool,
) -> "RunReport":
    """One run, with a progress display on stderr; raises HdrmError."""
    from training.config import load_config
    from training.data.datasets import read_dataset
    from training.retrain.lease import held_lease
    from training.retrain.limits import load_limits
    from training.retrain.retraining import Retraining

    store = open_store(models)
    store.prepare()
    base = None if data is None else read_dataset(data)
    config = load_config(preset, [f"split.by={_cut(store, base)}", *changes])
    checked = load_limits(limits)
    with held_lease(store.folder) as lease, training_progress() as (display, observer):
        read_at = time.time()
        retraining = Retraining(
            store=store,
            base=base,
            happened=read_happened(models, base),
            read_at=read_at,
            config=config,
            preset=Path(preset).stem,
            seed=seed,
            limits=checked,
            keep=keep,
            force=force or drill,
            observer=observer,
            drill=drill,
        )
        try:
            return retraining.run(lease)
        except KeyboardInterrupt:
            display.stop()
            err.print("interrupted; nothing was changed, and the next run goes on where this one was")
            raise typer.Exit(130) from None


def _cut(store: "ModelStore", base: "Dataset | None") -> str:
    """How to hold out: as it was done for the current model, so that it has learned from none of it; else by time."""
    current = store.current()
    if current is not None:
        with suppress(ArtifactError):
            return str(store.manifest(current).training.get("split", {}).get("by", "user"))
    # rows without times have no order across users
    return "time" if base is None or base.info.order == "timestamp" else "user"


def follow_schedule(
    models: str, cron: str, timezone: str, jitter: int, command: list[str], *, heartbeat: Path | None
) -> None:
    """Run a command at the times of a schedule, until a signal; one that was missed is made up for at once.

    Each run is a process of its own: what it takes is given back, and where it is killed for want of memory the
    schedule goes on.

    Raises:
        ConfigError: it is no schedule, or there is no such time zone.
    """
    from apscheduler.executors.pool import ThreadPoolExecutor
    from apscheduler.schedulers.blocking import BlockingScheduler

    trigger = trigger_of(cron, timezone, jitter)
    runs = _Runs(command)
    scheduler = BlockingScheduler(timezone=timezone, executors={"default": ThreadPoolExecutor(1)})
    first = datetime.now(trigger.timezone) if _missed(models, trigger) else None
    when = {} if first is None else {"next_run_time": first}
    # runs that could not begin in time, because the one before took so long, are made up for by one
    scheduler.add_job(runs.run, trigger, max_instances=1, coalesce=True, misfire_grace_time=None, **when)

    def end(signum: int, frame: object) -> None:
        runs.end()
        scheduler.shutdown(wait=False)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    if heartbeat is not None:
        scheduler.add_executor(ThreadPoolExecutor(1), "heartbeat")
        now = datetime.now(trigger.timezone)
        scheduler.add_job(
            heartbeat.touch, "interval", seconds=HEARTBEAT_SECONDS, executor="heartbeat", next_run_time=now
        )
    following = first or trigger.get_next_fire_time(None, datetime.now(trigger.timezone))
    err.print(f"retraining by {cron!r} ({timezone}); the next run: {following:%Y-%m-%d %H:%M:%S %Z}", highlight=False)
    scheduler.start()


def trigger_of(cron: str, timezone: str, jitter: int) -> Any:
    """The times of a schedule.

    Raises:
        ConfigError: it is no schedule, or there is no such time zone.
    """
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    from apscheduler.triggers.cron import CronTrigger

    try:
        zone = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigError(
            f"--timezone {timezone}: there is none such", hint="UTC, or one like Europe/Berlin"
        ) from error
    try:
        trigger = CronTrigger.from_crontab(cron, timezone=zone)
    except ValueError as error:
        raise ConfigError(
            f"--schedule {cron!r}: {error}",
            hint='minute hour day month weekday, such as "0 3 * * *": at three',
        ) from error
    trigger.jitter = jitter or None
    if trigger.get_next_fire_time(None, datetime.now(zone)) is None:
        raise ConfigError(f"--schedule {cron!r}: it never comes")
    return trigger


class _Runs:
    """Runs the command, and passes an end on to it."""

    def __init__(self, command: list[str]) -> None:
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = False

    def run(self) -> None:
        if self._ended:
            return
        started = time.monotonic()
        self._process = subprocess.Popen(self._command)
        status = self._process.wait()
        told = {0: "done", REFUSED: "REFUSED, the model before it serves on"}.get(
            status, f"FAILED with status {status}"
        )
        err.print(f"retraining {told}, after {time.monotonic() - started:.0f} s", highlight=False)

    def end(self) -> None:
        self._ended = True
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)


def _missed(models: str, trigger: Any) -> bool:
    """Whether a run should have begun since the last one did, or since the current model was made, if none was."""
    from model.report import read_reports

    store = open_store(models)
    reports = read_reports(store)
    if reports:
        last = datetime.fromtimestamp(reports[0].read_at, trigger.timezone)
    else:
        try:
            made = store.manifest().run.created_at
        except ArtifactError:  # there is none, or none that can be read: the next run makes one
            return False
        last = datetime.fromisoformat(made).astimezone(trigger.timezone)
    due = trigger.get_next_fire_time(last, last)
    return due is not None and due < datetime.now(trigger.timezone)


def _arguments() -> list[str]:
    """What was typed, to be run once."""
    given, kept, skip = sys.argv[1:], list[str](), False
    for argument in given:
        name, _, value = argument.partition("=")
        if skip:
            skip = False
        elif name in ("--schedule", "--timezone", "--jitter", "--heartbeat"):
            skip = not value
        else:
            kept.append(argument)
    return [sys.executable, "-m", "hdrm", *kept, "--once"]


def print_limits(changes: list[str]) -> None:
    """All limits, one line each: name, value, meaning."""
    from hdrm.train import settings_table
    from training.retrain.limits import load_limits

    out.print(settings_table("limits of a retraining", load_limits(changes)))
