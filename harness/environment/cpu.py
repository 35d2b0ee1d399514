"""The number of cores usable by this process. Part of a cell's identity, and cheap to read."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

CPU_MAX = Path("/sys/fs/cgroup/cpu.max")


@cache
def cores() -> int:
    """Cores by affinity mask and cgroup quota, at least 1. A quota of 1.5 cores counts as 1."""
    allowed = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    granted = quota()
    return max(1, min(allowed, int(granted)) if granted else allowed)


def quota(file: Path = CPU_MAX) -> float:
    """Cores granted by a cgroup v2 `cpu.max` file, such as `150000 100000`; 0 without a limit."""
    try:
        granted, period = file.read_text().split()
        return 0.0 if granted == "max" else int(granted) / int(period)
    except (OSError, ValueError):
        return 0.0
