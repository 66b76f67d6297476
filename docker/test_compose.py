"""The compose file on a real Docker Engine: built, started, asked, disturbed, and removed again.

    make test-compose

Needs Docker with Compose v2 and the standard library only. It runs as a project of its own on free ports, so a
service that is up already is left alone. The last line counts the checks; exit status 0 only if none failed. Those of
images that are neither here nor can be pulled are skipped.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
USER: Final = "196"
OTHER: Final = "186"
LATE: Final = "900"  # asked for by one check alone
ACTIVE: Final = "901"  # does something, in one check
LEARNER: Final = "902"  # does something that is learned from
K: Final = 10
UP_SECONDS: Final = 1200  # the first build downloads and installs torch
TRAIN_SECONDS: Final = 1200
FOLLOW_SECONDS: Final = 10
PULL_SECONDS: Final = 300
RECOVERY_SECONDS: Final = 20
SCRAPE_SECONDS: Final = 60
DEGRADED_SECONDS: Final = 2

Answer = dict[str, Any]


class Failed(Exception):
    """A check did not hold."""


class Skipped(Exception):
    """A check cannot be made here."""


def expect(holds: bool, message: str) -> None:
    if not holds:
        raise Failed(message)


@dataclass
class Stack:
    """The services of the compose file under a project name and ports of their own.

    Attributes:
        folder: for files of this run; nobody else may look into it.
    """

    folder: Path
    project: str = field(default_factory=lambda: f"hdrm-test-{os.getpid()}")
    port: int = field(default_factory=lambda: free_port())
    prometheus_port: int = field(default_factory=lambda: free_port())
    grafana_port: int = field(default_factory=lambda: free_port())
    grafana_password: str = field(default_factory=lambda: secrets.token_hex(16))

    @property
    def variables(self) -> dict[str, str]:
        """What the compose file reads from the environment."""
        return {
            "HDRM_PORT": str(self.port),
            "HDRM_PROMETHEUS_PORT": str(self.prometheus_port),
            "HDRM_GRAFANA_PORT": str(self.grafana_port),
            "HDRM_GRAFANA_PASSWORD_FILE": str(self.folder / "grafana-password"),
        }

    def compose(self, *arguments: str, timeout: float = 120, show: bool = False, check: bool = True) -> str:
        """Run `docker compose` and return its stdout; `show` passes the output on instead."""
        command = ["docker", "compose", "--project-name", self.project, "--project-directory", str(ROOT), *arguments]
        return run(command, timeout=timeout, show=show, check=check, **self.variables)

    def start_monitor(self, service: str) -> None:
        """Start a service of the profile `monitoring`, and wait until it is healthy."""
        done = self.compose("--profile", "monitoring", "config", "--format", "json")
        image = json.loads(done)["services"][service]["image"]
        try:
            run(["docker", "image", "inspect", image])
        except Failed:
            try:
                run(["docker", "pull", "--quiet", image], timeout=PULL_SECONDS)
            except (Failed, subprocess.TimeoutExpired):
                raise Skipped(f"{image} cannot be pulled") from None
        self.compose("--profile", "monitoring", "up", "--detach", "--no-deps", "--wait", service)

    def python(self, service: str, code: str, *, user: str | None = None) -> str:
        """What Python code prints in a running container, as the container's user or as another one."""
        options = ["--user", user] if user else []
        return self.compose("exec", "-T", *options, service, "python", "-c", code).strip()

    def inspect(self, service: str) -> dict[str, Any]:
        """What the engine knows of a service's container, running or not."""
        identity = self.compose("ps", "--all", "--quiet", service).strip()
        expect(bool(identity), f"{service} has no container")
        return dict(json.loads(run(["docker", "inspect", identity]))[0])

    def recommend(self, user: str = USER) -> Answer:
        """POST /recommend for a user."""
        return self.post("/recommend", {"user_id": user, "k": K})

    def post(self, path: str, body: dict[str, Any]) -> Answer:
        """What a route answers."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            data=json.dumps(body).encode(),
            headers={"content-type": "application/json"},
        )
        return fetched(request)

    def scheduler(self, *command: str, timeout: float = 120, show: bool = False, check: bool = True) -> str:
        """Run an hdrm command in a container of the scheduler and return its stdout."""
        return self.compose("run", "--rm", "-T", "scheduler", *command, timeout=timeout, show=show, check=check)

    def wait_for_another(self, version: str) -> str:
        """The model that is served once it is another one."""
        deadline = time.monotonic() + FOLLOW_SECONDS
        while (now := fetched(f"http://127.0.0.1:{self.port}/readyz")["model_version"]) == version:
            expect(time.monotonic() < deadline, f"{version} is served still")
            time.sleep(0.2)
        return str(now)

    def wait_healthy(self, service: str, seconds: float = 90) -> None:
        deadline = time.monotonic() + seconds
        while (status := self.inspect(service)["State"]["Health"]["Status"]) != "healthy":
            expect(time.monotonic() < deadline, f"{service} is {status} after {seconds:.0f} s")
            time.sleep(0.5)


DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def fetched(request: str | urllib.request.Request) -> Answer:
    """The JSON object that is answered."""
    with DIRECT.open(request, timeout=10) as response:
        return dict(json.load(response))


def run(command: list[str], *, timeout: float = 120, show: bool = False, check: bool = True, **more: str) -> str:
    """Run a command and return its stdout.

    Args:
        command: program and arguments.
        timeout: seconds.
        show: let it write to the terminal; nothing is returned.
        check: whether another exit status than 0 is a failure.
        more: environment variables.
    """
    pipe = None if show else subprocess.PIPE
    done = subprocess.run(
        command, stdout=pipe, stderr=pipe, text=True, timeout=timeout, check=False, env={**os.environ, **more}
    )
    if check and done.returncode != 0:
        raise Failed(f"{' '.join(command)}: exit status {done.returncode}\n{done.stdout or ''}{done.stderr or ''}")
    return done.stdout or ""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def reachable(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=2).close()
    except OSError:
        return False
    return True


# --- the checks, in their order; each builds on the state the one before it leaves ---


def comes_up(stack: Stack) -> None:
    """`up --build --wait` alone ends with a trained model and a healthy api"""
    stack.compose("up", "--detach", "--build", "--wait", timeout=UP_SECONDS, show=True)
    expect(stack.inspect("trainer")["State"]["ExitCode"] == 0, "the trainer failed")
    expect(stack.inspect("api")["State"]["Health"]["Status"] == "healthy", "the api is not healthy")


def recommends(stack: Stack) -> None:
    """POST /recommend answers 10 titled items from the model"""
    answer = stack.recommend()
    expect(answer["strategy"] == "hdrm" and answer["user_known"], f"expected an answer of the model: {answer}")
    expect(len(answer["items"]) == K and all(item["title"] for item in answer["items"]), f"expected titles: {answer}")
    expect(answer["cached"] is False and answer["degraded"] == [], f"expected a fresh, whole answer: {answer}")
    for item in answer["items"][:3]:
        print(f"    {item['rank']}. {item['title']} ({item['year']}), distance {item['distance']:.3f}")


def caches(stack: Stack) -> None:
    """the same request again is answered from the cache"""
    first, second = stack.recommend(), stack.recommend()
    expect(first["cached"] and second["cached"], f"not cached: {second}")
    expect(first["items"] == second["items"], "the cached answers differ")


def goes_on_without_redis(stack: Stack) -> None:
    """with Redis stopped an answer is whole, quick and marked as degraded, and one that the process has is as before"""
    stack.compose("stop", "redis")
    started = time.monotonic()
    answer = stack.recommend(OTHER)
    took = time.monotonic() - started
    expect(answer["degraded"] == ["events", "cache"] and not answer["cached"], f"expected degraded: {answer}")
    expect(len(answer["items"]) == K and answer["user_known"], f"expected an answer of the model: {answer}")
    expect(stack.recommend()["cached"], "the process has forgotten its answer")
    expect(took < DEGRADED_SECONDS, f"it took {took:.1f} s")
    print(f"    answered in {took * 1000:.0f} ms")


def starts_without_redis(stack: Stack) -> None:
    """the api restarts, becomes healthy and answers while Redis is stopped"""
    before = stack.recommend()["items"]
    stack.compose("restart", "--no-deps", "api")
    stack.wait_healthy("api")
    answer = stack.recommend()
    expect(answer["degraded"] == ["events", "cache"] and not answer["cached"], f"expected a degraded answer: {answer}")
    expect(answer["items"] == before, "the items differ from those with Redis")


def recovers_redis(stack: Stack) -> None:
    """once Redis is back, answers are whole again within seconds"""
    stack.compose("start", "redis")
    started = time.monotonic()
    users = itertools.count(1)  # who has been asked for is answered by the process
    while (answer := stack.recommend(str(next(users))))["degraded"]:
        expect(time.monotonic() - started < RECOVERY_SECONDS, f"still degraded: {answer}")
        time.sleep(0.2)
    print(f"    whole again after {time.monotonic() - started:.1f} s")


def is_not_root(stack: Stack) -> None:
    """no process of the api is root's, and no container can gain privileges"""
    code = (
        "import pathlib\n"
        "for status in pathlib.Path('/proc').glob('[0-9]*/status'):\n"
        "    fields = dict(line.split(':', 1) for line in status.read_text().splitlines())\n"
        "    print(fields['Name'].strip(), *fields['Uid'].split(), int(fields['CapEff'], 16), fields['NoNewPrivs'])"
    )
    processes = [line.split() for line in stack.python("api", code).splitlines()]
    expect(any(name == "hdrm" for name, *_ in processes), f"hdrm is not among {processes}")
    for name, *uids, capabilities, no_new_privileges in processes:
        expect("0" not in uids, f"{name} runs as root")
        expect((capabilities, no_new_privileges) == ("0", "1"), f"{name} has privileges")
    for service in ("api", "redis", "trainer"):
        found = stack.inspect(service)
        expect(found["Config"]["User"] not in ("", "0", "root"), f"{service}: no user is set")
        expect(found["HostConfig"]["CapDrop"] == ["ALL"], f"{service}: capabilities are kept")


def is_read_only(stack: Stack) -> None:
    """root itself can not write to the root file systems"""
    code = (
        "import errno, pathlib\n"
        "for folder in ('/', '/opt/venv'):\n"
        "    try:\n"
        "        pathlib.Path(folder, 'written').write_text('x')\n"
        "    except OSError as error:\n"
        "        print(errno.errorcode[error.errno])\n"
        "    else:\n"
        "        print('written')"
    )
    for service in ("api", "scheduler"):
        found = stack.python(service, code, user="0").split()
        expect(found == ["EROFS"] * 2, f"{service}: writing to / and /opt/venv: {found}")
    for service in ("api", "redis", "trainer", "scheduler"):
        expect(stack.inspect(service)["HostConfig"]["ReadonlyRootfs"], f"{service}: the root file system is writable")


def carries_no_extras(stack: Stack) -> None:
    """the api's image has no training-only package, the trainer's no serving-only one"""
    code = "from importlib.util import find_spec; print([n for n in {} if find_spec(n)])"
    found = stack.python("api", code.format(["geoopt", "polars", "scipy", "pip", "pytest"]))
    expect(found == "[]", f"importable in the api: {found}")
    serving = code.format(["fastapi", "uvicorn", "opentelemetry", "pytest"])  # redis it has: deletions may lie there
    found = stack.compose("run", "--rm", "--no-deps", "-T", "--entrypoint", "python", "trainer", "-c", serving).strip()
    expect(found == "[]", f"importable in the trainer: {found}")


def compiles_nothing(stack: Stack) -> None:
    """the api runs the machine code of its image"""
    code = (
        "import os, pathlib\n"
        "def files(root):\n"
        "    return {(str(p.relative_to(root)), p.read_bytes()) for p in pathlib.Path(root).rglob('*.nb?')}\n"
        "made = files('/opt/kernels')\n"
        "assert made and files(os.environ['NUMBA_CACHE_DIR']) == made\n"
        "from model import kernels\n"
        "stats = [kernel.stats for kernel in vars(kernels).values() if hasattr(kernel, 'stats')]\n"
        "print(sum(sum(s.cache_hits.values()) for s in stats) > 0, sum(sum(s.cache_misses.values()) for s in stats))"
    )
    found = stack.python("api", code)
    expect(found == "True 0", f"code from the image, compiled: {found}")


def hides_redis(stack: Stack) -> None:
    """Redis publishes no port, and is in no network but the internal one"""
    found = stack.inspect("redis")["NetworkSettings"]
    expect(not any(found["Ports"].values()), f"published: {found['Ports']}")
    networks = list(found["Networks"])
    expect(networks == [f"{stack.project}_back"], f"networks: {networks}")
    expect(run(["docker", "network", "inspect", "-f", "{{.Internal}}", *networks]).strip() == "true", "not internal")
    bindings = run(["docker", "ps", "--filter", f"label=com.docker.compose.project={stack.project}"])
    expect("->6379" not in bindings, f"published:\n{bindings}")


def listens_on_loopback_only(stack: Stack) -> None:
    """the api can be reached at 127.0.0.1 and at no other address of this machine"""
    found = stack.compose("port", "api", "8000").strip()
    expect(found == f"127.0.0.1:{stack.port}", f"published on {found}")
    expect(reachable("127.0.0.1", stack.port), "not at 127.0.0.1")
    network = stack.inspect("api")["NetworkSettings"]["Networks"][f"{stack.project}_front"]
    addresses = {network["Gateway"], *addresses_of_this_machine()}  # the gateway is this machine's in that network
    for address in addresses:
        expect(not reachable(address, stack.port), f"reachable at {address}")
    print(f"    refused at {', '.join(sorted(addresses))}")


def addresses_of_this_machine() -> set[str]:
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    except OSError:
        return set()
    return {address for address in found if not address.startswith("127.")}


def trains_once(stack: Stack) -> None:
    """a second `up` keeps the model instead of training again"""
    before, model = stack.inspect("trainer")["State"]["StartedAt"], stack.recommend()["model_version"]
    stack.compose("up", "--detach", "--wait", timeout=180)
    state = stack.inspect("trainer")["State"]
    expect(state["StartedAt"] != before and state["ExitCode"] == 0, f"the trainer did not run again: {state}")
    log = stack.compose("logs", "--no-log-prefix", "--no-color", "--since", state["StartedAt"], "trainer")
    expect(f"model {model} is in /models already" in log, f"the trainer's log does not say that it kept it:\n{log}")
    expect(stack.recommend()["model_version"] == model, "another model is served")


def restarts(stack: Stack) -> None:
    """the api ends in time, comes back and finds its answer in Redis"""
    first = stack.recommend(LATE)
    expect(not first["cached"], f"expected an answer that nobody has asked for: {first}")
    started = time.monotonic()
    stack.compose("stop", "api")
    took = time.monotonic() - started
    code = stack.inspect("api")["State"]["ExitCode"]
    expect(code == 0 and took < 10, f"it ended with status {code} after {took:.1f} s")
    stack.compose("start", "api")
    stack.wait_healthy("api")
    answer = stack.recommend(LATE)
    expect(answer["items"] == first["items"] and answer["cached"], f"another answer than before: {answer}")


def keeps_events(stack: Stack) -> None:
    """an event changes the next answer, and is there after `down` and `up`"""
    before = stack.recommend(ACTIVE)
    best = before["items"][0]["item_id"]
    event = {"event_id": "compose", "user_id": ACTIVE, "item_id": best, "type": "view"}
    response = stack.post("/v1/events", event)
    expect((response["accepted"], response["repeated"]) == (1, 0), f"not accepted: {response}")
    after = stack.recommend(ACTIVE)
    expect(best not in {item["item_id"] for item in after["items"]}, f"{best} is recommended still: {after}")
    stack.compose("down")
    stack.compose("up", "--detach", "--wait", timeout=180)
    response = stack.post("/v1/events", event)
    expect((response["accepted"], response["repeated"]) == (1, 1), f"it was forgotten: {response}")
    expect(stack.recommend(ACTIVE)["items"] == after["items"], "another answer than before")


def retrains(stack: Stack) -> None:
    """events, `retrain --once` in the scheduler, and the api serves another model without a restart"""
    before, started = stack.recommend(LEARNER), stack.inspect("api")["State"]["StartedAt"]
    taken = [item["item_id"] for item in before["items"][:5]]
    events = [
        {"event_id": f"learn{n}", "user_id": LEARNER, "item_id": item, "type": "view"} for n, item in enumerate(taken)
    ]
    expect(stack.post("/v1/events", {"events": events})["accepted"] == 5, "the events were not accepted")
    stack.scheduler("retrain", "--once", timeout=TRAIN_SECONDS, show=True)
    version = stack.wait_for_another(before["model_version"])
    after = stack.recommend(LEARNER)
    expect(after["model_version"] == version and not after["cached"], f"not by the new model: {after}")
    expect(after["items"] != before["items"], "the answer is as before")
    expect(not {*taken} & {item["item_id"] for item in after["items"]}, "what was taken is recommended")
    expect(stack.inspect("api")["State"]["StartedAt"] == started, "the api was restarted")
    print(f"    {before['model_version']} -> {version}")


def refuses(stack: Stack) -> None:
    """a candidate that learned from items under each other's names is refused, with reasons, and not served"""
    before = stack.recommend(LEARNER)["model_version"]
    told = stack.scheduler("retrain", "--once", "--drill", timeout=TRAIN_SECONDS, check=False)
    expect("refused" in told and "NDCG@20" in told, f"not refused:\n{told}")
    rows = json.loads(stack.scheduler("models", "list", "--json"))["models"]
    [refused] = [row["version"] for row in rows if row["gate"] == "refused"]
    shown = stack.scheduler("models", "show", refused)
    reasons = [line.strip() for line in shown.splitlines() if line.strip().startswith("no ")]
    expect(bool(reasons), f"no reasons:\n{shown}")
    print("\n".join(f"    {reason}" for reason in reasons))
    expect(stack.recommend(LEARNER)["model_version"] == before, "another model is served")


def rolls_back(stack: Stack) -> None:
    """`models rollback` returns to the model before, and an operator over HTTP to the one after, without a restart"""
    new, started = stack.recommend(LEARNER)["model_version"], stack.inspect("api")["State"]["StartedAt"]
    stack.scheduler("models", "rollback")
    old = stack.wait_for_another(new)
    expect(stack.recommend(LEARNER)["model_version"] == old, "the old model does not answer")
    stack.post(f"/v1/models/{new}/activate", {})
    expect(stack.wait_for_another(old) == new, "the new model is not back")
    expect(stack.inspect("api")["State"]["StartedAt"] == started, "the api was restarted")


def keeps_models(stack: Stack) -> None:
    """after `down` and `up` the same model answers the same, and its events are known"""
    before = stack.recommend(LEARNER)
    stack.compose("down")
    stack.compose("up", "--detach", "--wait", timeout=180)
    after = stack.recommend(LEARNER)
    expect(after["model_version"] == before["model_version"], "another model is served")
    expect(after["items"] == before["items"], "another answer than before")
    again = {"event_id": "learn0", "user_id": LEARNER, "item_id": before["items"][0]["item_id"], "type": "view"}
    expect(stack.post("/v1/events", again)["repeated"] == 1, "an event was forgotten")


def survives_kills(stack: Stack) -> None:
    """a server that is killed comes back by itself, and after `kill api` by `up`, with the same answers"""
    before = stack.recommend(LEARNER)["items"]
    died = stack.inspect("api")["State"]["StartedAt"]
    kill = "import os, pathlib\nfor p in pathlib.Path('/proc').glob('[0-9]*/cmdline'):\n"
    kill += "    if b'serve' in p.read_bytes().split(b'\\0') and p.parent.name != '1': os.kill(int(p.parent.name), 9)"
    stack.compose("exec", "-T", "api", "python", "-c", kill, check=False)
    deadline = time.monotonic() + 90
    while stack.inspect("api")["State"]["StartedAt"] == died:
        expect(time.monotonic() < deadline, "it was not started again")
        time.sleep(0.5)
    stack.wait_healthy("api")
    expect(stack.recommend(LEARNER)["items"] == before, "another answer than before")
    stack.compose("kill", "api")
    stack.compose("up", "--detach", "--wait", timeout=180)
    expect(stack.recommend(LEARNER)["items"] == before, "another answer than before")


def is_scraped(stack: Stack) -> None:
    """with --profile monitoring Prometheus has the api's metrics, all rules work, and it is in no network with Redis"""
    stack.start_monitor("prometheus")
    address = f"http://127.0.0.1:{stack.prometheus_port}/api/v1"
    query = urllib.parse.urlencode({"query": 'up{job="hdrm"} * on (instance) hdrm_worker_starts_total'})
    started = time.monotonic()
    while not (result := fetched(f"{address}/query?{query}")["data"]["result"]):
        expect(time.monotonic() - started < SCRAPE_SECONDS, "no metrics of the api")
        time.sleep(1)
    expect([sample["value"][1] for sample in result] == ["1"], f"the api is not up: {result}")
    while "unknown" in (health := [rule["health"] for rule in rules_at(address)]):
        expect(time.monotonic() - started < SCRAPE_SECONDS, "rules are not evaluated")
        time.sleep(1)
    expect(bool(health) and set(health) == {"ok"}, f"rules: {health}")
    networks = list(stack.inspect("prometheus")["NetworkSettings"]["Networks"])
    expect(networks == [f"{stack.project}_monitoring"], f"networks: {networks}")


def rules_at(address: str) -> list[dict[str, Any]]:
    groups = fetched(f"{address}/rules")["data"]["groups"]
    return [rule for group in groups for rule in group["rules"]]


def has_a_dashboard(stack: Stack) -> None:
    """with --profile monitoring Grafana has the dashboard and its data, for who has the password in the file"""
    password = stack.folder / "grafana-password"
    password.write_text(stack.grafana_password)
    password.chmod(0o444)  # Grafana's user is another one
    stack.start_monitor("grafana")
    address = f"http://127.0.0.1:{stack.grafana_port}/api"
    login = base64.b64encode(f"admin:{stack.grafana_password}".encode()).decode()
    board, source = (
        fetched(urllib.request.Request(f"{address}/{path}", headers={"Authorization": f"Basic {login}"}))
        for path in ("dashboards/uid/hdrm", "datasources/uid/hdrm-prometheus/health")
    )
    expect(board["dashboard"]["title"] == "HDRM" and bool(board["dashboard"]["panels"]), f"dashboard: {board}")
    expect(source["status"] == "OK", f"datasource: {source}")
    try:
        fetched(f"{address}/dashboards/uid/hdrm")
    except urllib.error.HTTPError as error:
        expect(error.code == 401, f"without a password: {error.code}")
    else:
        raise Failed("no password is needed")


CHECKS: Final[list[Callable[[Stack], None]]] = [
    comes_up,
    recommends,
    caches,
    goes_on_without_redis,
    starts_without_redis,
    recovers_redis,
    is_not_root,
    is_read_only,
    carries_no_extras,
    compiles_nothing,
    hides_redis,
    listens_on_loopback_only,
    trains_once,
    restarts,
    keeps_events,
    retrains,
    refuses,
    rolls_back,
    keeps_models,
    survives_kills,
    is_scraped,
    has_a_dashboard,
]


def run_checks(stack: Stack) -> tuple[int, int, int]:
    """Checks passed, failed and, if they cannot be made here or the services do not come up, skipped."""
    passed = failed = 0
    for check in CHECKS:
        title, started = (check.__doc__ or check.__name__).strip(), time.monotonic()
        print(f"--- {title}", flush=True)
        try:
            check(stack)
        except Skipped as reason:
            print(f"    skipped: {reason}", flush=True)
        except (Failed, OSError, KeyError, ValueError, subprocess.TimeoutExpired) as error:
            failed += 1
            print(f"    FAILED after {time.monotonic() - started:.1f} s: {error}", flush=True)
            if check is comes_up:
                break
        else:
            passed += 1
            print(f"    passed in {time.monotonic() - started:.1f} s", flush=True)
    return passed, failed, len(CHECKS) - passed - failed


def removed(stack: Stack) -> bool:
    """Remove containers, networks, volumes and images; whether nothing is left of them."""
    print("--- `down --volumes` leaves nothing behind", flush=True)
    try:
        everything = ["--profile", "monitoring", "down", "--volumes", "--rmi", "local", "--remove-orphans"]
        stack.compose(*everything, "--timeout", "10", timeout=180)
        label = f"label=com.docker.compose.project={stack.project}"
        for kind in (["ps", "--all"], ["volume", "ls"], ["network", "ls"], ["image", "ls"]):
            left = run(["docker", *kind, "--quiet", "--filter", label])
            expect(not left, f"docker {kind[0]}: left {left}")
    except (Failed, OSError, subprocess.TimeoutExpired) as error:
        print(f"    FAILED: {error}", flush=True)
        return False
    print("    passed", flush=True)
    return True


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the services are removed then too
    started = time.monotonic()
    try:
        print(run(["docker", "compose", "version"]).strip())
    except (Failed, OSError) as error:
        print(f"Docker with Compose v2 is needed here: {error}")
        return 1
    with tempfile.TemporaryDirectory(prefix="hdrm-test-") as folder:
        return test(Stack(Path(folder)), started)


def test(stack: Stack, started: float) -> int:
    """Exit status of all checks."""
    print(f"project {stack.project}, port {stack.port}", flush=True)
    passed, failed, skipped = 0, len(CHECKS), 0
    try:
        passed, failed, skipped = run_checks(stack)
        if failed:
            stack.compose("ps", "--all", show=True, check=False)
            stack.compose("logs", "--no-color", "--tail", "100", show=True, check=False)
    finally:
        gone = removed(stack)
    passed, failed = passed + gone, failed + (not gone)
    print(f"finished in {time.monotonic() - started:.0f} s")
    print(f"compose: {passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
