"""What a benchmark was measured with, which stands in its document."""

import os
import platform
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from pydantic import Field

from model.config import Frozen

__all__ = ["Environment", "Measured", "environment"]

CPUINFO = Path("/proc/cpuinfo")
SOFTWARE = ("hdrm", "torch", "geoopt", "numpy", "numba", "faiss-cpu", "implicit", "torch-geometric")


class Environment(Frozen):
    """What was measured with."""

    command: str = Field(description="the command line")
    date: str = Field(description="end of the benchmark, ISO 8601, UTC")
    device: str = Field(description="where it computed: cpu, or the name of a GPU")
    processor: str = Field(description="the CPU")
    cores: int = Field(description="CPUs that the process may use")
    threads: int = Field(description="threads that torch computes with")
    load: float = Field(
        description="load of the machine in the last minute; above the cores, other work was in the way"
    )
    software: dict[str, str] = Field(description="versions")


class Measured(Frozen):
    """A document of a benchmark."""

    environment: Environment


def environment(command: str, *, trained: bool) -> Environment:
    """This moment on this machine; what is `trained` was on a GPU if there is one, all else is on the CPU."""
    names = [line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")]
    return Environment(
        command=command,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        device=torch.cuda.get_device_name() if trained and torch.cuda.is_available() else "cpu",
        processor=names[0] if names else platform.processor() or platform.machine(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        load=os.getloadavg()[0],
        software={"python": platform.python_version(), **_versions()},
    )


def _versions() -> dict[str, str]:
    installed = {}
    for name in SOFTWARE:
        with suppress(PackageNotFoundError):  # a service has no library that only trains
            installed[name] = version(name)
    return installed


def _cpuinfo() -> list[str]:
    return CPUINFO.read_text("utf-8").splitlines() if CPUINFO.exists() else []
