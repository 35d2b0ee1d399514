"""CPU time of the whole machine since boot, read from `/proc/stat`.

Measured processes read these counters around every block of laps. Their environment may lack
psutil, so the first line of `/proc/stat` is parsed here.
"""

from __future__ import annotations

from dataclasses import dataclass

from evenbench.harness.core import clock_tick

STAT = "/proc/stat"


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
