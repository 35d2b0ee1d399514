"""Types of the records of laps: blocks, turns and warm-up."""

from __future__ import annotations

from typing import TypedDict


class BlockRecord(TypedDict):
    """`measurements.Block`: counters around consecutive laps."""

    laps: int
    wall_ns: int
    cpu_ns: int
    preemptions: int
    minor_faults: int
    major_faults: int
    steal_ticks: int
    machine_cpu_ns: int


class InterleavingRecord(TypedDict):
    """A process measured in turn with the other members of a group.

    `sweep` names the set of resident processes, `members` their cells. `rounds` has the round of
    each turn, `untimed_laps` the laps before the turn's block of each boundary.
    """

    sweep: str
    members: list[str]
    rounds: list[int]
    untimed_laps: list[int]


class WarmUpRecord(TypedDict):
    """The medians of the warm-up's windows, and whether the last windows agreed."""

    windows_ns: list[float]
    laps: int
    stable: bool
