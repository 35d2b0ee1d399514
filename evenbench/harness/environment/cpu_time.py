"""CPU time of the whole machine since boot, and of a process's descendants, read from `/proc`.

Measured processes read these counters around every block of laps. Their environment may lack
psutil, so the first line of `/proc/stat` is parsed here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from evenbench.harness.core import clock_tick

STAT = "/proc/stat"

PROCESSES = Path("/proc")


@dataclass(frozen=True)
class CpuTime:
    """Clock ticks of all cores together since boot."""

    busy_ticks: int = 0
    idle_ticks: int = 0
    steal_ticks: int = 0

    @property
    def busy_ns(self) -> int:
        """Busy time in ns, in steps of the clock tick."""
        return self.busy_ticks * clock_tick.tick_ns()


def read() -> CpuTime:
    """The counters now; zeros on a machine without a readable `/proc/stat`."""
    try:
        with open(STAT, encoding="ascii") as stream:
            fields = stream.readline().split()
        user, nice, system, idle, iowait, irq, softirq, steal = map(int, fields[1:9])
    except (OSError, ValueError):
        return CpuTime()
    return CpuTime(user + nice + system + irq + softirq, idle + iowait, steal)


def steal_share() -> float | None:
    """The hypervisor's share of all CPU time since boot; None on a machine without counters."""
    now = read()
    total = now.busy_ticks + now.idle_ticks + now.steal_ticks
    return now.steal_ticks / total if total else None


def descendants_ns(process: int, apart: int = 0, folder: Path = PROCESSES) -> int:
    """CPU time of the living descendants of a process, in steps of the clock tick.

    The process `apart` and its descendants do not count. 0 without a readable `/proc`.
    """
    children: dict[int, list[tuple[int, int]]] = {}
    for number, parent, ticks in _processes(folder):
        children.setdefault(parent, []).append((number, ticks))
    total, waiting = 0, [process]
    while waiting:
        counted = [child for child in children.pop(waiting.pop(), ()) if child[0] != apart]
        total += sum(ticks for _, ticks in counted)
        waiting += [number for number, _ in counted]
    return total * clock_tick.tick_ns()


def _processes(folder: Path) -> Iterator[tuple[int, int, int]]:
    """The number, the parent and the CPU ticks of all processes."""
    for file in folder.glob("[0-9]*/stat"):
        try:
            fields = file.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue  # the process has ended
        if len(fields) > 12:
            yield int(file.parent.name), int(fields[1]), int(fields[11]) + int(fields[12])
