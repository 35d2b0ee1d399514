"""Capacity of a cell under a latency bound: the best batch size and the highest valid rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evenbench.harness.load.points import value_of


def best_batch(points: Sequence[Mapping[str, Any]], bound_ns: int) -> dict[str, Any]:
    """The batch size of the highest throughput with a p99 within the bound, as JSON.

    A `bound_ns` of 0 is no bound. `batch` is None without a valid batch size; `excluded` has the
    reasons against the others. A batch size without enough laps for a p99 is excluded.
    """
    excluded = {str(point["batch"]): _excess(point, bound_ns) for point in points}
    valid = [point for point in points if not excluded[str(point["batch"])]]
    best = max(valid, key=lambda point: float(point["per_second"]["value"]), default=None)
    return {
        "bound_ns": bound_ns or None,
        "batch": best and best["batch"],
        "excluded": {batch: reason for batch, reason in excluded.items() if reason},
    }


def _excess(point: Mapping[str, Any], bound_ns: int) -> str:
    """The reason why a point exceeds the bound, or an empty string."""
    if not bound_ns:
        return ""
    p99 = value_of(point["latency"]["p99_ns"])
    if p99 is None:
        reasons = point["latency"]["refused"]
        return str(next(reason for reason in reasons if reason.startswith("p99")))
    return f"p99 is {p99 / bound_ns:.3g} times the bound" if p99 > bound_ns else ""


@dataclass(frozen=True)
class RateSearch:
    """Settings of the search for the highest valid rate, relative to a guess of the capacity."""

    first: float = 0.7
    """First rate, as a share of the guess."""
    wider: float = 1.4
    floor: float = 1 / 128
    """Lowest rate to try, as a share of the guess."""
    resolution: float = 1.05
    """Ratio of the lowest invalid to the highest valid rate at the end."""
    most: int = 12
    confirmations: int = 3
    step_down: float = 0.9


def highest_rate(
    judge: Callable[[float, int], bool], guess: float, search: RateSearch = RateSearch()
) -> tuple[float | None, str]:
    """Search for the highest valid rate per second; None with a reason without a valid rate.

    `judge(rate, number)` runs one trial with the `number`-th schedule of arrivals. Verdicts of a
    single run are noisy, so a further run with other arrivals confirms the rate; an invalid
    confirmation lowers the rate.
    """
    low, high, trials, rate = None, None, 0, guess * search.first
    while trials < search.most and rate >= guess * search.floor:
        is_valid = judge(rate, trials)
        trials += 1
        low, high = (rate, high) if is_valid else (low, rate)
        if low and high and high / low <= search.resolution:
            break
        rate = math.sqrt(low * high) if low and high else rate * search.wider if low else rate / 2
    if low is None:
        return None, (
            f"no rate was valid, down to {high or rate:.3g} per second; "
            "raise the bound, or measure on a machine with less other work"
        )
    for _ in range(search.confirmations):
        if judge(low, trials):
            return low, ""
        trials += 1
        low *= search.step_down
    return None, (
        f"no rate was valid twice, down to {low / search.step_down:.3g} per second; "
        "the machine is too unsteady for a result"
    )
