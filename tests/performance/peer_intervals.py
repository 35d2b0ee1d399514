"""Intervals of a speed-up from repeated processes, as scripts around other tools compute them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

EAGER, ORT = RUNTIMES = ("torch-eager", "ort")


@dataclass(frozen=True)
class Interval:
    """A log ratio of times, eager over ORT, with half its 95 % interval."""

    log: float
    half: float
    repetitions: int


@dataclass
class Samples:
    """The mean times of processes by runtime, in the order taken."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in RUNTIMES})

    def paired(self) -> Interval:
        """Student's t over the log ratios of repetitions."""
        pairs = zip(self.seconds[EAGER], self.seconds[ORT], strict=True)
        logs = [math.log(eager / ort) for eager, ort in pairs]
        centre, error = _mean(logs)
        return Interval(centre, _t(len(logs) - 1) * error, len(logs))

    def welch(self) -> Interval:
        """Welch's t for the difference of mean logs: both runtimes apart, as measured in blocks."""
        (eager, first), (ort, second) = (
            _mean([math.log(value) for value in self.seconds[name]]) for name in RUNTIMES
        )
        error = math.hypot(first, second)
        runs = [len(self.seconds[name]) for name in RUNTIMES]
        if not math.isfinite(error):
            return Interval(eager - ort, math.inf, min(runs))
        parts = [first**4 / (runs[0] - 1), second**4 / (runs[1] - 1)]
        freedom = error**4 / sum(parts) if sum(parts) else float(sum(runs) - 2)
        return Interval(eager - ort, _t(freedom) * error, min(runs))


def _mean(values: Sequence[float]) -> tuple[float, float]:
    """The mean and its standard error; infinite for a single value."""
    centre = math.fsum(values) / len(values)
    if len(values) < 2:
        return centre, math.inf
    variance = math.fsum((value - centre) ** 2 for value in values) / (len(values) - 1)
    return centre, math.sqrt(variance / len(values))


def _t(freedom: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.975)) if freedom > 0 else math.inf


@dataclass(frozen=True)
class Trial:
    """One way of measuring, until precise or out of time."""

    way: str
    seconds: float
    interval: Interval
    is_precise: bool
