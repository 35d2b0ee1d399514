"""How long this machine, just now, takes for a piece of Python, so that goals in seconds hold on
any machine.

A second is no unit of work: the same commit takes three times as long on a slow virtual machine as
on the one that the goals were set on, and half as long again while a neighbour is busy. So a goal
is stretched by what the yardstick, laid beside each try, took then.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable

UNIT_SECONDS = 0.007
"""The yardstick where the goals were set: the AMD EPYC of docs/results/harness-cost.md."""

LAID = 15
"""How often it is laid before a try, and how often after: the middle one counts, since a try meets
what else runs as well.
"""

ROWS = [
    {"name": f"cell-{number * 7919 % 10007}", "laps": [number % 17 * 0.5 + lap for lap in range(8)]}
    for number in range(2000)
]


def work() -> int:
    """What evenbench's own commands do all day: JSON both ways, sorting, formatting."""
    rows = sorted(json.loads(json.dumps(ROWS)), key=lambda row: row["name"])
    texts = {
        row["name"]: f"{sum(row['laps']) / len(row['laps']):.3f}"
        + "".join(c for c in row["name"] if c != "-")
        for row in rows
    }
    return len(texts)


def seconds() -> float:
    """The middle one of a few."""
    return statistics.median(timed(work) for _ in range(LAID))


def timed(action: Callable[[], object]) -> float:
    """The seconds that a call takes."""
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def slowness(before: float, after: float) -> float:
    """How many times slower than where the goals were set, by the yardstick before and after; never
    below 1.
    """
    return max(1.0, (before + after) / 2 / UNIT_SECONDS)


def kept(goal_seconds: float, taken: Callable[[], float], tries: int) -> tuple[bool, str]:
    """Whether one of a few tries, each of which returns its seconds, keeps a goal on this machine;
    and the tries in words.
    """
    told = []
    before = seconds()
    for _ in range(tries):
        spent, after = taken(), seconds()
        slower = slowness(before, after)
        told.append(
            f"{spent:.2f} s where {goal_seconds * slower:.2f} s are allowed on a machine that is "
            f"{slower:.2f} times slower"
        )
        if spent <= goal_seconds * slower:
            return True, told[-1]
        before = after
    return False, "; ".join(told)
