"""How much memory a process has used at most."""

import resource
import sys
from pathlib import Path

__all__ = ["peak_rss"]

STATUS = Path("/proc/self/status")


def peak_rss() -> int:
    """Greatest resident memory of this process so far, in bytes.

    On Linux this is VmHWM: getrusage's ru_maxrss also counts what the parent held when this process was spawned.
    """
    if STATUS.exists():
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
