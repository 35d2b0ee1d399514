"""From laps to estimates with intervals, independent of benchmarks.

The unit of replication is the process: laps of a process share memory layout, clocks and
neighbours, so intervals over pooled laps are far too narrow. Every interval here uses a single
value per process.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95
"""The confidence of reported intervals. `evenbench compare` has a stricter confidence."""


@dataclass(frozen=True)
class Estimate:
    """A value and its interval. `low` and `high` are None for a single process."""

    value: float
    low: float | None
    high: float | None
    processes: int

    def overlaps(self, other: float) -> bool | None:
        """Whether `other` lies inside the interval; None without an interval."""
        return None if self.low is None or self.high is None else self.low <= other <= self.high


def median(values: Sequence[float]) -> float:
    """The middle value, or the mean of the two middle values. Raises ValueError if empty."""
    ordered = sorted(values)
    if not ordered:
        raise ValueError("median of no values; expected one or more")
    half = len(ordered) // 2
    return float(ordered[half]) if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def process_values(laps: Sequence[Sequence[float]]) -> list[float]:
    """The median lap of each process: the only aggregation of laps in this project."""
    return [median(process) for process in laps if process]


def level(values: Sequence[float], confidence: float = CONFIDENCE) -> Estimate:
    """The geometric mean over processes, with Student's t interval of the logarithms.

    Logarithms, because times are positive and errors multiply. Raises ValueError on an empty or
    non-positive input.
    """
    if not values or min(values) <= 0:
        raise ValueError(f"level of {list(values)!r}; expected one or more positive values")
    logs = [math.log(value) for value in values]
    centre = math.fsum(logs) / len(logs)
    if len(logs) < 2:
        return Estimate(math.exp(centre), None, None, len(logs))
    spread = math.sqrt(math.fsum((value - centre) ** 2 for value in logs) / (len(logs) - 1))
    half = _t_quantile(confidence, len(logs) - 1) * spread / math.sqrt(len(logs))
    return Estimate(math.exp(centre), math.exp(centre - half), math.exp(centre + half), len(logs))


def quantile(values: Sequence[float], q: float) -> float:
    """The q-quantile by linear interpolation of order statistics (Hyndman and Fan's type 7)."""
    ordered = sorted(values)
    if not ordered or not 0 <= q <= 1:
        raise ValueError(
            f"quantile {q} of {len(ordered)} values; expected one or more values and 0 <= q <= 1"
        )
    position = (len(ordered) - 1) * q
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return float(ordered[below] + (ordered[above] - ordered[below]) * (position - below))


def needed_for_quantile(q: float, confidence: float = 0.99) -> int:
    """The fewest samples for a maximum above the q-quantile with `confidence`: ceil(ln(1-c)/ln(q)).

    44 for p90 and 459 for p99 at 99 %: the zero-failure case of MLPerf's early-stopping rule.
    Percentiles of fewer samples are not reported.
    """
    return math.ceil(math.log(1 - confidence) / math.log(q))


def supported_quantile(values: Sequence[float], q: float) -> float | None:
    """The q-quantile, or None for too few values."""
    return quantile(values, q) if len(values) >= needed_for_quantile(max(q, 1 - q)) else None


def _t_quantile(confidence: float, freedom: int) -> float:
    from scipy.special import stdtrit  # scipy.special alone: scipy.stats takes a second to import

    return float(stdtrit(freedom, 0.5 + confidence / 2))
