"""A load generator that costs little beside the server: wrk, told by a Lua script what to ask."""

import shutil
import subprocess
from pathlib import Path

from pydantic import Field

from model.config import Frozen
from model.errors import HdrmError, UnavailableError

__all__ = ["Load", "find_wrk", "put_load"]

SCRIPT = Path(__file__).parent / "requests.lua"
SLACK_SECONDS = 30


class Load(Frozen):
    """What a run of wrk saw."""

    requests: int
    seconds: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    refused: int = Field(description="answers with a status of 400 or above")
    broken: int = Field(description="failures of sockets")

    @property
    def requests_per_second(self) -> float:
        return self.requests / self.seconds

    @property
    def errors(self) -> int:
        return self.refused + self.broken


def find_wrk() -> str:
    """Where wrk is.

    Raises:
        UnavailableError: it is not installed.
    """
    found = shutil.which("wrk")
    if found is None:
        raise UnavailableError(
            "wrk, the load generator, is not installed",
            hint="apt-get install wrk (Debian, Ubuntu), brew install wrk, or https://github.com/wg/wrk",
        )
    return found


def put_load(
    url: str, bodies: Path | None, *, connections: int, seconds: float, start: int = 0, think_ms: float = 0.0
) -> Load:
    """Ask for some seconds, each connection anew as soon as it has its answer and has thought.

    Args:
        url: of the service; with a path where there are no bodies.
        bodies: a file with one JSON body a line for POST /recommend, taken in turn; None asks GET.
        connections: how many ask at a time.
        seconds: for how long, in whole seconds at least 1.
        start: the line to begin with.
        think_ms: mean time between an answer and the next request.

    Raises:
        HdrmError: wrk failed.
    """
    bounds = ["-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s"]
    told = ["--", "-" if bodies is None else str(bodies), str(start), str(think_ms)]
    done = subprocess.run(
        [find_wrk(), *bounds, "-s", str(SCRIPT), url, *told],
        capture_output=True,
        text=True,
        timeout=seconds + SLACK_SECONDS,
        check=False,
    )
    last = done.stdout.strip().rpartition("\n")[2]
    if done.returncode or not last.startswith("{"):
        raise HdrmError(f"wrk failed: {(done.stderr or done.stdout).strip()[-300:]}")
    return Load.model_validate_json(last)
