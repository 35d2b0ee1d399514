"""The most that a cell can take under a latency bound: the best batch, the highest valid rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.load.points import value_of


def best_batch(measured: Sequence[Mapping[str, Any]], bound_ns: int) -> dict[str, Any]:
    """The batch of the highest throughput whose p99 keeps the bound (0: none), or None; `excluded`
    says in words why not the others.

    A batch whose p99 the laps do not support cannot be said to keep a bound.
    """
    kept, excluded = [], {}
    for point in measured:
        p99 = value_of(point["latency"]["p99_ns"])
        if bound_ns and p99 is None:
            excluded[str(point["batch"])] = next(
                word for word in point["latency"]["refused"] if word.startswith("p99")
            )
        elif bound_ns and p99 is not None and p99 > bound_ns:
            excluded[str(point["batch"])] = f"p99 is {p99 / bound_ns:.3g} times the bound"
        else:
            kept.append(point)
    best = max(kept, key=lambda point: float(point["per_second"]["value"]), default=None)
    return {"bound_ns": bound_ns or None, "batch": best and best["batch"], "excluded": excluded}


@dataclass(frozen=True)
class RateSearch:
    """How the highest valid rate is looked for, from a guess of what the session can do at most."""

    first: float = 0.7
    """The first rate, as a share of the guess."""
    wider: float = 1.4
    floor: float = 1 / 128
    """Where everything is invalid down to this share of the guess, nothing is found."""
    resolution: float = 1.05
    """The highest valid and the lowest invalid rate at the end, as a ratio."""
    most: int = 12
    confirmations: int = 3
    step_down: float = 0.9


def highest_rate(
    judge: Callable[[float, int], bool], guess: float, how: RateSearch = RateSearch()
) -> tuple[float | None, str]:
    """The highest rate per second that was valid, and valid again with other arrivals; or None, and
    why in words.

    `judge(rate, number)` runs one trial with the `number`-th schedule of arrivals. Verdicts of one
    run are noisy: the rate at which the search ended is confirmed by a run of its own, and lowered
    where that one says no.
    """
    low, high, trials, rate = None, None, 0, guess * how.first
    while trials < how.most and rate >= guess * how.floor:
        valid = judge(rate, trials)
        trials += 1
        low, high = (rate, high) if valid else (low, rate)
        if low and high and high / low <= how.resolution:
            break
        rate = math.sqrt(low * high) if low and high else rate * how.wider if low else rate / 2
    if low is None:
        tried = f"no rate was valid, down to {high or rate:.3g} per second"
        return None, f"{tried}; the bound cannot be kept, or the machine is too busy for it"
    for _ in range(how.confirmations):
        if judge(low, trials):
            return low, ""
        trials += 1
        low *= how.step_down
    return (
        None,
        f"no rate was valid twice, down to {low / how.step_down:.3g} per second; the machine is too unsteady for an answer",
    )
