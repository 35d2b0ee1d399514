"""How many cores this process may use: the one fact about the machine that a cell's identity needs, and cheap to ask."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from harness.types import UsageError


@cache
def cores() -> int:
    """Cores by affinity mask and cgroup quota, at least 1. A quota of 1.5 cores counts as 1, so that nothing is throttled."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(Path("/sys/fs/cgroup/cpu.max"))
    return max(1, min(allowed, int(quota)) if quota else allowed)


@contextmanager
def alone() -> Iterator[None]:
    """Hold this user's one lock for measuring. Raises UsageError where another process has it: two would disturb each other."""
    import fcntl

    name = Path(tempfile.gettempdir()) / f"evenbench-{os.getuid()}.lock"
    with name.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            raise UsageError(
                f"another evenbench (process {lock.read().strip() or 'unknown'}) is measuring on this machine; wait until it is done, "
                "since two at a time would time each other"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _quota(file: Path) -> float:
    """Cores granted by a cgroup v2 `cpu.max` file ("max 100000" or "150000 100000"); 0 where there is no limit."""
    try:
        granted, period = file.read_text().split()
        return 0.0 if granted == "max" else int(granted) / int(period)
    except (OSError, ValueError):
        return 0.0
