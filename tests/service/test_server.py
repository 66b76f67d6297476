"""`hdrm serve` as a process: sockets, signals, workers, Redis going and coming, refusals."""

import concurrent.futures
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from model.artifact import Artifact
from model.errors import ConfigError
from model.store import ModelStore
from service.app import create_app
from service.settings import Settings
from tests.service.conftest import (
    DEADLINE,
    SERVE,
    RedisServer,
    ServeProcess,
    converse,
    eventually,
    publish_model,
    seen_by,
)

Serve = Callable[..., ServeProcess]


def refused(*options: str) -> str:
    """What `hdrm serve` says when it refuses to start."""
    done = subprocess.run([*SERVE, *options], capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_it_answers_until_sigterm_and_ends_with_status_zero(serve: Serve, artifact: Artifact) -> None:
    server = serve()
    assert server.version == artifact.manifest.version
    with httpx.Client(base_url=server.url) as client:
        answer = client.post("/recommend", json={"user_id": "100", "k": 10}).json()
        assert len(answer["items"]) == 10
        assert not {item["item_id"] for item in answer["items"]} & seen_by(artifact, "100")
        assert client.post("/recommend", json={"user_id": "100", "k": 10}).json()["cached"] is True
        assert client.get("/readyz").json()["cache"] == {"backend": "memory", "state": "ok"}
        assert client.get("/docs").status_code == 200
        assert "server" not in client.get("/livez").headers
    assert server.end() == 0
    assert "Traceback" not in server.log
    assert '"route": "/recommend"' in server.log


def test_ctrl_c_ends_it_too(serve: Serve) -> None:
    server = serve()
    assert server.end(signal.SIGINT) == 0
    assert "Traceback" not in server.log


def test_probes_are_answered_while_requests_run(serve: Serve) -> None:
    server = serve(HDRM_CACHE_MAX_BYTES="0")
    working = threading.Event()

    def load(worker: int) -> set[int]:
        with httpx.Client(base_url=server.url) as client:
            statuses = set()
            while not working.is_set():
                statuses.add(client.post("/recommend", json={"user_id": str(100 + worker), "k": 100}).status_code)
            return statuses

    with concurrent.futures.ThreadPoolExecutor(4) as pool, httpx.Client(base_url=server.url) as client:
        loads = [pool.submit(load, worker) for worker in range(4)]
        try:
            assert {client.get("/livez").status_code for _ in range(50)} == {200}
            assert not any(load.done() for load in loads)
        finally:
            working.set()
        assert [load.result() for load in loads] == [{200}] * 4
    assert server.end() == 0


def test_redis_goes_and_comes_back(serve: Serve, redis: RedisServer) -> None:
    server = serve(HDRM_REDIS_URL=redis.url, HDRM_REDIS_TIMEOUT_SECONDS="1", HDRM_CACHE_MAX_BYTES="0")
    with httpx.Client(base_url=server.url) as client:

        def answer() -> tuple[bool, list[str]]:
            document = client.post("/recommend", json={"user_id": "100", "k": 10}).json()
            assert len(document["items"]) == 10
            return document["cached"], document["degraded"]

        assert answer() == (False, [])
        assert answer() == (True, [])
        redis.stop()
        for _ in range(20):
            assert answer() == (False, ["events", "cache"])
        assert {client.get("/readyz").json()[part]["state"] for part in ("cache", "events")} == {"degraded"}
        redis.start()
        eventually(lambda: answer() == (True, []))
        redis.hang()
        assert answer() == (False, ["events", "cache"])
        redis.wake()
        eventually(lambda: client.get("/readyz").json()["cache"]["state"] == "ok")
        assert answer() == (True, [])
    assert server.end() == 0
    assert redis.url not in server.log


def test_it_starts_while_redis_is_gone(serve: Serve, redis: RedisServer) -> None:
    redis.stop()
    server = serve(HDRM_REDIS_URL=redis.url)
    assert httpx.post(f"{server.url}/recommend", json={"user_id": "100"}).json()["degraded"] == ["events", "cache"]
    assert server.end() == 0


def test_several_workers_answer_the_same_and_share_their_metrics(serve: Serve, tmp_path: Path) -> None:
    server = serve("--workers", "2", TMPDIR=str(tmp_path))
    answers = set()

    def one_more_answer() -> bool:
        """From a new connection each, so from either worker."""
        answers.add(str(httpx.post(f"{server.url}/recommend", json={"user_id": "100"}).json()["items"]))
        text = httpx.get(f"{server.url}/metrics").text
        (count,) = re.findall(r'^hdrm_answers_total\{strategy="hdrm",\S+\} (\S+)$', text, re.MULTILINE)
        counts.append(float(count))
        return len(counts) >= 30

    counts: list[float] = []
    eventually(one_more_answer)
    assert counts == [float(n) for n in range(1, 31)]  # whichever worker is asked knows of all answers
    assert len(answers) == 1
    assert [path.name.startswith("hdrm-metrics-") for path in tmp_path.iterdir()] == [True]
    assert server.end() == 0
    assert len(set(re.findall(r"Started server process \[(\d+)\]", server.log))) == 2
    assert "Traceback" not in server.log
    assert not list(tmp_path.iterdir())


def test_a_port_in_use_is_named(store: ModelStore) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        message = refused("--models", str(store.root), "--port", str(port))
    assert f"127.0.0.1:{port}" in message
    assert "next:" in message


def test_an_address_others_can_reach_needs_a_word(store: ModelStore, serve: Serve) -> None:
    message = refused("--models", str(store.root), "--port", "0", "--host", "0.0.0.0")
    assert "--allow-unauthenticated" in message
    server = serve("--host", "0.0.0.0", "--allow-unauthenticated")
    assert httpx.get(f"{server.url}/livez").status_code == 200
    assert server.end() == 0


def test_an_address_that_is_none_is_named(store: ModelStore) -> None:
    assert "no-such-host.invalid" in refused("--models", str(store.root), "--host", "no-such-host.invalid")


def test_a_wrong_setting_is_named(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HDRM_STEPS", "99")
    assert "HDRM_STEPS: got 99, allowed: 0 to 10" in refused("--models", str(store.root), "--port", "0")


def test_a_store_without_a_model_is_refused(tmp_path: Path) -> None:
    message = refused("--models", str(tmp_path / "none"), "--port", "0")
    assert "no model has been published" in message
    assert "next: train one" in message


def files_of(store: ModelStore) -> list[str]:
    return sorted(path.name for path in store.path().iterdir())


def test_a_flipped_byte_in_any_file_is_refused_by_name(store: ModelStore, tmp_path: Path) -> None:
    """The process for one file, the application's lifespan for all."""
    copied = tmp_path / "models"
    shutil.copytree(store.root, copied)
    damaged = ModelStore(copied)
    assert len(files_of(damaged)) > 8
    for name in files_of(damaged):
        path = damaged.path() / name
        content = path.read_bytes()
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
        try:

            async def nothing(client: httpx.AsyncClient) -> None:
                raise AssertionError("it started")

            with pytest.raises(Exception, match=re.escape(name)) as raised:
                converse(create_app(Settings(models=copied)), nothing)
            assert type(raised.value).__name__ == "ArtifactError"
            if name == "weights.safetensors":
                assert name in refused("--models", str(copied), "--port", "0")
        finally:
            path.write_bytes(content)


def test_the_application_refuses_settings_the_model_cannot_meet(store: ModelStore) -> None:
    async def nothing(client: httpx.AsyncClient) -> None:
        raise AssertionError("it started")

    with pytest.raises(ConfigError, match="HDRM_STEPS"):
        converse(create_app(Settings(models=store.root, steps=11)), nothing)


def workers_of(server: ServeProcess) -> list[int]:
    """Process ids of the workers, as the system lists them."""
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    return [int(p) for p in children if "spawn_main" in of_process(int(p), "cmdline")]


def of_process(pid: int, name: str) -> str:
    """What the system says of a process; nothing of one that is gone."""
    try:
        return Path(f"/proc/{pid}/{name}").read_text()
    except OSError:
        return ""


def test_a_worker_that_dies_is_replaced(serve: Serve, tmp_path: Path) -> None:
    server = serve("--workers", "2", TMPDIR=str(tmp_path))
    eventually(lambda: len(workers_of(server)) == 2)
    before = workers_of(server)
    os.kill(before[0], signal.SIGKILL)
    eventually(lambda: len(set(workers_of(server)) - set(before)) == 1)
    for _ in range(10):
        assert httpx.post(f"{server.url}/recommend", json={"user_id": "100"}, timeout=DEADLINE).status_code == 200
    assert server.end() == 0


def test_workers_end_with_a_parent_that_is_killed(serve: Serve, tmp_path: Path) -> None:
    server = serve("--workers", "2", TMPDIR=str(tmp_path))
    eventually(lambda: len(workers_of(server)) == 2)
    workers = workers_of(server)
    # its log ends when nobody can write to it any more, and until then this waits
    assert server.end(signal.SIGKILL) == -signal.SIGKILL
    assert not any("spawn_main" in of_process(worker, "cmdline") for worker in workers)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.url}/livez", timeout=DEADLINE)


def test_a_worker_that_is_replaced_answers_as_the_others_and_takes_none_of_them_with_it(
    store: ModelStore, tmp_path: Path
) -> None:
    root = tmp_path / "models"
    shutil.copytree(store.root, root)
    server = ServeProcess(
        root, "--workers", "2", TMPDIR=str(tmp_path), HDRM_CACHE_MAX_BYTES="0", HDRM_LOG_LEVEL="warning"
    )
    try:
        eventually(lambda: len(workers_of(server)) == 2)

        def replace_one() -> None:
            before = workers_of(server)
            os.kill(before[0], signal.SIGKILL)
            eventually(lambda: len(set(workers_of(server)) - set(before)) == 1)

        def loaded() -> int:
            """Workers that have the model in memory."""
            return sum("vectors.npy" in of_process(worker, "maps") for worker in workers_of(server))

        def versions() -> set[str]:
            """Of the models that answer, each time over a new connection."""
            asked = [
                httpx.post(f"{server.url}/recommend", json={"user_id": "100"}, timeout=DEADLINE) for _ in range(20)
            ]
            return {answer.json()["model_version"] for answer in asked}

        publish_model(root, seed=1)
        new = ModelStore(root).current()
        assert new != server.version
        replace_one()
        eventually(lambda: loaded() == 2 and versions() == {new})
        probe = root / str(new) / "probe.json"
        whole = probe.read_bytes()
        probe.write_bytes(whole[:-1])
        replace_one()
        # the new worker goes back to the model before, and says so; the other serves on
        eventually(lambda: loaded() == 2 and versions() == {new, server.version})
        assert "hdrm_model_refused 1.0" in httpx.get(f"{server.url}/metrics").text
        probe.write_bytes(whole)
        eventually(lambda: versions() == {new})
        eventually(lambda: "hdrm_model_refused 0.0" in httpx.get(f"{server.url}/metrics").text)
    finally:
        for process in (server.process.pid, *workers_of(server)):  # workers go on without their parent
            os.kill(process, signal.SIGKILL)
        server.process.communicate()


def test_the_docs_page_needs_nothing_from_elsewhere(settings: Settings) -> None:
    async def exchange(client: httpx.AsyncClient) -> None:
        page = await client.get("/docs")
        assert page.status_code == 200
        links = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        assert len(links) >= 2
        for link in links:
            assert link.startswith("/docs/assets/"), link
            assert (await client.get(link)).status_code == 200, link
        assert "/openapi.json" in page.text

    converse(create_app(settings), exchange)
