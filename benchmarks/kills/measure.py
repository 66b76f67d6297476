"""Retrainings are killed again and again, while a server follows their store."""

import contextlib
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple

from benchmarks.environment import environment
from benchmarks.events.client import Client, event
from benchmarks.kills.data import write_generated
from benchmarks.kills.document import Document, Phases
from benchmarks.kills.runs import Phase, Retrain
from benchmarks.quick import QUICK
from benchmarks.serving.benchmark import Progress
from benchmarks.serving.servers import serving
from model.artifact import load_artifact
from model.errors import ConfigError, HdrmError
from model.folder import STAGING
from model.probe import run_probe
from model.report import read_reports
from model.store import ModelStore
from training.data.datasets import read_dataset
from training.retrain.lease import LASTS_SECONDS

__all__ = ["measure_kills"]

LENIENT = ("data.least_users=10", "data.least_interactions=100", "data.new_drift=1", "gate.ndcg_loss=1")
EVENTS = 20  # that are new to each run
ASK_SECONDS = 0.02  # between an answer and the next request
FOLLOW_SECONDS = 30.0
RUN_SECONDS = 1800.0
POLL_SECONDS = 0.002
SEED = 0


class Pace(NamedTuple):
    """Of a run that nobody killed, in seconds from its start.

    Attributes:
        writes: it began to write its model.
        serves: the model was current.
        ends: it was over.
    """

    writes: float
    serves: float
    ends: float


class Next(NamedTuple):
    """The run after a kill.

    Attributes:
        outcome: of its report; None where it failed.
        lease_seconds: from its start until it held the lease.
        seconds: from its start to its end.
    """

    outcome: str | None
    lease_seconds: float
    seconds: float


def measure_kills(
    data: Path | None,
    parent: Path | None,
    *,
    kills: int,
    settings: Sequence[str],
    limits: Sequence[str],
    command: str,
    on_run: Progress,
) -> Document:
    """Kill that many runs, and look at everything after each of them.

    Args:
        data: a folder of `hdrm data`; None generates one.
        parent: where a folder for the store is made, and removed; None takes one for temporary files.
        kills: how many; every second one is aimed at what comes after the training.
        settings, limits: changes of those of the runs, beside those that make them quick.
        command: what was typed, for the document.
        on_run: told what runs, how much is done and how much there is.

    Raises:
        ConfigError: the first runs publish nothing.
        HdrmError: the data cannot be read.
        UnavailableError: the service did not start.
    """
    options = [word for change in (*QUICK, *settings) for word in ("--set", change)]
    options += [word for change in (*LENIENT, *limits) for word in ("--limit", change)]
    with tempfile.TemporaryDirectory(prefix="hdrm-kills-", dir=parent) as folder:
        data = write_generated(Path(folder) / "data") if data is None else data
        known = read_dataset(data).interactions
        users, items = (known[name].unique().sort().to_list() for name in ("user_id", "item_id"))
        with contextlib.closing(
            _Bench(ModelStore(Path(folder) / "models"), data, options, Path(folder), users, items)
        ) as bench:
            on_run("the first run", 0, kills)
            bench.uninterrupted()
            with serving(bench.store.root, HDRM_LOG_LEVEL="error") as server, _asking(server.url, users) as asked:
                bench.tell(server.url)
                on_run("a second one", 0, kills)
                pace = bench.uninterrupted()
                while (done := sum(bench.phases.values())) < kills:
                    on_run("kills", done, kills)
                    bench.tell(server.url)
                    if bench.killed(pace, aimed=done % 2 == 1):
                        bench.look()
                        bench.go_on()
                        bench.followed(server.url)
                bench.tell(server.url)
                on_run("the last run", kills, kills)
                before = bench.store.current()
                bench.uninterrupted()
                bench.followed(server.url)
                if bench.store.current() == before:
                    bench.broken.append("the last run published nothing")
            return bench.document(environment_of=command, run_seconds=pace.ends, kills=kills, asked=asked)


class _Bench:
    """A store and what is done with it."""

    def __init__(
        self,
        store: ModelStore,
        data: Path,
        options: Sequence[str],
        folder: Path,
        users: Sequence[str],
        items: Sequence[str],
    ) -> None:
        self.store = store
        self.phases = Counter[Phase]()
        self.broken: list[str] = []
        self._data = data
        self._options = options
        self._said = folder / "said.txt"
        self._users, self._items = users, items
        self._random = random.Random(SEED)
        self._told = 0
        self._too_late = self._checkpoints = self._verified = 0
        self._next: list[Next] = []
        self._run: Retrain | None = None

    def close(self) -> None:
        """Kill what runs still, where something else went wrong."""
        if self._run is not None:
            self._run.kill()

    def tell(self, url: str) -> None:
        """Something new has happened."""
        first = self._told
        self._told += EVENTS
        with Client(url) as client:
            client.report(
                [
                    event(str(number), self._random.choice(self._users), self._random.choice(self._items))
                    for number in range(first, self._told)
                ]
            )

    def uninterrupted(self) -> Pace:
        """A run that has to publish."""
        run, begun = self._start(), dict[Phase, float]()
        while not run.has_ended:
            begun.setdefault(run.phase, run.seconds)
            time.sleep(POLL_SECONDS)
        seconds = run.seconds
        if run.process.returncode or read_reports(self.store)[0].outcome != "published":
            raise ConfigError(
                f"a run that was not killed published nothing:\n{run.said}",
                hint="train it longer or ask less of it: --set and --limit, as of `hdrm retrain`",
            )
        serves = begun.get("ending", seconds)
        return Pace(begun.get("writing", serves), serves, seconds)

    def killed(self, pace: Pace, *, aimed: bool) -> bool:
        """Begin a run and kill it at a random moment; whether it was still running."""
        run = self._start()
        # where it is aimed, half of the time before the model is current
        moment = self._random.uniform(0, 2 * (pace.serves - pace.writes) if aimed else pace.ends)
        while aimed and not run.has_ended and run.phase in ("starting", "training"):
            time.sleep(POLL_SECONDS)
        deadline = time.monotonic() + moment if aimed else run.started + moment
        while time.monotonic() < deadline and not run.has_ended:
            time.sleep(POLL_SECONDS)
        if run.has_ended:
            self._too_late += 1
            return False
        self.phases[run.kill()] += 1
        self._checkpoints += any(self.store.root.glob(".checkpoints/*.pt"))
        return True

    def look(self) -> None:
        """Is all that lies there whole?"""
        command = [sys.executable, "-m", "hdrm", "models", "verify", "--all", "--json", "--models"]
        done = subprocess.run([*command, str(self.store.root)], capture_output=True, text=True, check=False)
        if done.returncode:
            self.broken.append(f"hdrm models verify --all: {(done.stdout + done.stderr).strip()[-500:]}")
        else:
            self._verified += len(json.loads(done.stdout)["problems"])
        try:
            artifact = load_artifact(self.store.path())
            run_probe(artifact.recommender, artifact.probe)
        except HdrmError as error:
            self.broken.append(f"the current model: {error.message}")

    def go_on(self) -> None:
        """The next run."""
        run, leased_after, before = self._start(), 0.0, {report.run_id for report in read_reports(self.store)}
        while not run.has_ended and run.seconds < RUN_SECONDS:
            if not leased_after and run.leased:
                leased_after = run.seconds
            time.sleep(POLL_SECONDS)
        seconds = run.seconds
        new = [report for report in read_reports(self.store) if report.run_id not in before]
        outcome = new[0].outcome if new and run.process.poll() == 0 else None
        if outcome not in ("published", "unchanged"):
            run.kill()
            self.broken.append(f"the next run: status {run.process.returncode}, {run.said}")
        self._next.append(Next(outcome, leased_after, seconds))

    def followed(self, url: str) -> None:
        """Does the server answer with what is current, soon?"""
        deadline, served = time.monotonic() + FOLLOW_SECONDS, ""
        while served != self.store.current():
            if time.monotonic() > deadline:
                self.broken.append(f"{self.store.current()} is current, {served or 'nothing'} is served")
                return
            with contextlib.suppress(OSError, HTTPException, HdrmError), Client(url) as client:
                served = client.version(self._users[0])
            time.sleep(ASK_SECONDS)

    def document(self, *, environment_of: str, run_seconds: float, kills: int, asked: "_Asked") -> Document:
        """What was found."""
        lease_seconds = max(following.lease_seconds for following in self._next)
        if lease_seconds > LASTS_SECONDS + run_seconds:
            self.broken.append(f"a run waited {lease_seconds:.1f} s for the lease")
        if asked.failed:
            self.broken.append(f"{asked.failed} requests to the server failed: {asked.failure}")
        outcomes = Counter(following.outcome for following in self._next)
        left = list((self.store.root / STAGING).iterdir())
        manifest = self.store.manifest()
        return Document(
            environment=environment(environment_of, trained=True),
            data=manifest.data.name,
            interactions=manifest.data.interactions,
            run_seconds=run_seconds,
            kills=kills,
            aimed=kills // 2,
            too_late=self._too_late,
            phases=Phases(**{str(phase): count for phase, count in self.phases.items()}),
            checkpoints=self._checkpoints,
            verified=self._verified,
            published=outcomes["published"],
            unchanged=outcomes["unchanged"],
            lease_seconds=lease_seconds,
            next_seconds=max(following.seconds for following in self._next),
            answers=asked.answers,
            failed=asked.failed,
            versions=len(self.store.versions()),
            leftovers=len(left),
            leftover_bytes=sum(
                path.stat().st_size for top in left for path in (top, *top.rglob("*")) if path.is_file()
            ),
            broken=self.broken,
        )

    def _start(self) -> Retrain:
        self._run = Retrain(self.store, self._data, self._options, self._said)
        return self._run


class _Asked(threading.Thread):
    """Asks a server again and again until it is told to end."""

    def __init__(self, url: str, users: Sequence[str], ended: threading.Event) -> None:
        super().__init__(name="hdrm-asking", daemon=True)
        self.answers = self.failed = 0
        self.failure = ""
        self._url, self._users, self._ended = url, users, ended

    def run(self) -> None:
        while not self._ended.is_set():
            try:
                with Client(self._url) as client:
                    while not self._ended.wait(ASK_SECONDS):
                        client.recommend(self._users[self.answers % len(self._users)], 10)
                        self.answers += 1
            except (OSError, HTTPException, HdrmError) as error:
                self.failed += 1
                self.failure = str(error) or type(error).__name__


@contextlib.contextmanager
def _asking(url: str, users: Sequence[str]) -> Iterator[_Asked]:
    """Requests while the body runs."""
    ended = threading.Event()
    asked = _Asked(url, users, ended)
    asked.start()
    try:
        yield asked
    finally:
        ended.set()
        asked.join()
