"""Memory available to new processes: of the machine, and of this process's control group."""

from __future__ import annotations

from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
"""The mount of cgroup v2; in a container, the container's own group."""


def available_bytes(cgroup: Path = CGROUP) -> int:
    """Bytes that can be used without swapping, within the control group's limit.

    File pages that the group can drop count as available.
    """
    import psutil

    machine = int(psutil.virtual_memory().available)
    limit, used = _read(cgroup / "memory.max"), _read(cgroup / "memory.current")
    if limit is None or used is None:
        return machine
    return min(machine, max(0, limit - used + _inactive_file(cgroup / "memory.stat")))


def total_bytes(cgroup: Path = CGROUP) -> int:
    """All bytes of the machine, or of the control group if fewer."""
    import psutil

    machine = int(psutil.virtual_memory().total)
    limit = _read(cgroup / "memory.max")
    return machine if limit is None else min(machine, limit)


def _read(file: Path) -> int | None:
    """The number in a file; None without a file, and for `max`."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def _inactive_file(file: Path) -> int:
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return 0
    values = dict(line.split(maxsplit=1) for line in lines if " " in line)
    return int(values.get("inactive_file", 0))
