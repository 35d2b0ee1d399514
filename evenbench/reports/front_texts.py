"""Times and speed-ups of several tied results as one range."""

from __future__ import annotations

from collections.abc import Sequence

from evenbench.harness.statistics.estimates import Estimate
from evenbench.reports import formatting


def latency_range(estimates: Sequence[Estimate]) -> str:
    """Format estimates in nanoseconds as a range in one unit: `15.9 to 16.7 ms`.

    Only of judged estimates; a single estimate as by `latency`.
    """
    known = sorted(estimate.value for estimate in estimates if formatting.judged(estimate))
    if len(known) < 2:
        return formatting.latency(estimates[0] if estimates else None)
    per, name = formatting.duration_unit(known[-1])
    return _range(known[0] / per, known[-1] / per, f"{formatting.SPACE}{name}")


def latency_hull(estimates: Sequence[Estimate]) -> str:
    """Format the smallest interval around all intervals of `latency_range`."""
    hull = _hull(estimates)
    return formatting.latency_interval(hull or (estimates[0] if estimates else None))


def ratio_range(estimates: Sequence[Estimate]) -> str:
    """Format speed-ups as a range: `2.75 to 2.89×`; a single speed-up as by `ratio`."""
    known = sorted(estimate.value for estimate in estimates if formatting.judged(estimate))
    if len(known) < 2:
        return formatting.ratio(estimates[0] if estimates else None)
    return _range(known[0], known[-1], "×")


def ratio_hull(estimates: Sequence[Estimate]) -> str:
    """Format the smallest interval around all intervals of `ratio_range`."""
    hull = _hull(estimates)
    return formatting.ratio_interval(hull or (estimates[0] if estimates else None))


def _hull(estimates: Sequence[Estimate]) -> Estimate | None:
    known = [
        (estimate.low, estimate.value, estimate.high)
        for estimate in estimates
        if formatting.judged(estimate) and estimate.low is not None and estimate.high is not None
    ]
    if len(known) < 2:
        return None
    lows, values, highs = zip(*known, strict=True)
    least = min(estimate.processes for estimate in estimates)
    return Estimate(max(values), min(lows), max(highs), least)


def _range(low: float, high: float, unit: str) -> str:
    ends = formatting.number(low), formatting.number(high)
    return f"{ends[0]}{unit}" if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}{unit}"
