"""Memory available to new processes: of the machine, and of this process's control groups."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from evenbench.harness.environment import cgroup


@dataclass(frozen=True)
class _Files:
    """The names of a cgroup version: limit, use, and the key of droppable file pages."""

    limit: str
    used: str
    droppable: str


VERSIONS = (
    _Files("memory.max", "memory.current", "inactive_file"),
    _Files("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
"""cgroup v2 and v1. Without a limit, v2 has `max` and v1 a number above any machine's memory."""


def available_bytes(groups: Iterable[Path] | None = None) -> int:
    """Bytes that can be used without swapping, within the limits of the control groups.

    File pages that a group can drop count as available.
    """
    import psutil

    left = [int(psutil.virtual_memory().available)]
    for folder in _groups(groups):
        for files in VERSIONS:
            limit, used = (cgroup.number(folder / name) for name in (files.limit, files.used))
            if limit is not None and used is not None:
                droppable = _droppable(folder / "memory.stat", files.droppable)
                left.append(max(0, limit - used + droppable))
    return min(left)


def total_bytes(groups: Iterable[Path] | None = None) -> int:
    """All bytes of the machine, or of the tightest control group if fewer."""
    import psutil

    limits = [
        limit
        for folder in _groups(groups)
        for files in VERSIONS
        if (limit := cgroup.number(folder / files.limit)) is not None
    ]
    return min([int(psutil.virtual_memory().total), *limits])


def _groups(groups: Iterable[Path] | None) -> Iterable[Path]:
    return cgroup.groups("memory") if groups is None else groups


def _droppable(file: Path, key: str) -> int:
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return 0
    values = dict(line.split(maxsplit=1) for line in lines if " " in line)
    return int(values.get(key, 0))
