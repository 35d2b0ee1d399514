"""The cores usable by this process; their number is part of a cell's identity."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from evenbench.harness.environment import cgroup

if TYPE_CHECKING:
    import random


@cache
def cores() -> int:
    """Cores by affinity mask and cgroup quota, at least 1. A quota of 1.5 cores counts as 1."""
    count = len(allowed()) or os.cpu_count() or 1
    granted = quota()
    return max(1, min(count, int(granted)) if granted else count)


def allowed() -> list[int]:
    """The numbers of the cores in the affinity mask of this process; empty where unknown."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def random_cores(threads: int, shuffle: random.Random) -> list[int]:
    """Random cores for a number of threads, in order; empty if the threads need all cores.

    Processes that are compared are kept to the same cores, so that a busy core slows all equally.
    """
    known = allowed()
    return sorted(shuffle.sample(known, threads)) if threads < len(known) else []


def quota(groups: Iterable[Path] | None = None) -> float:
    """Cores granted by the tightest control group around this process; 0 without a limit.

    The limits are `cpu.max` of cgroup v2, such as `150000 100000`, and `cpu.cfs_quota_us` over
    `cpu.cfs_period_us` of cgroup v1.
    """
    known = cgroup.groups("cpu") if groups is None else groups
    return min(filter(None, map(_quota_of, known)), default=0.0)


def _quota_of(group: Path) -> float:
    try:
        granted, period = (group / "cpu.max").read_text().split()
        return 0.0 if granted == "max" else int(granted) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        pass
    limit = cgroup.number(group / "cpu.cfs_quota_us") or 0
    window = cgroup.number(group / "cpu.cfs_period_us") or 0
    return limit / window if limit > 0 and window > 0 else 0.0  # v1 has -1 for no limit
