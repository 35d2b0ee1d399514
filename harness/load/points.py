"""From the laps of processes to the points of a scenario, each with percentiles and rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.load.scenarios import CONCURRENT, GAPS, SERVER, SHAPES, Scenario
from harness.statistics import estimates
from harness.statistics.estimates import Estimate

PERCENTILES = {"p50_ns": 0.50, "p90_ns": 0.90, "p99_ns": 0.99}


def latencies(laps_ns: Sequence[Sequence[int]]) -> dict[str, Any]:
    """The percentiles of one point that its processes support, each the level over processes; None
    and a word in `refused` for others.

    `laps_ns` has one sequence of laps, in nanoseconds, per process. Percentiles of pooled laps
    would hide that processes differ.
    """
    fewest = min((len(laps) for laps in laps_ns), default=0)
    told: dict[str, Any] = {"laps": [len(laps) for laps in laps_ns]}
    refused = []
    for name, q in PERCENTILES.items():
        each = [estimates.supported_quantile(laps, q) for laps in laps_ns]
        known = [value for value in each if value is not None]
        whole = bool(each) and len(known) == len(each)
        told[name] = estimate(known) if whole else None
        if not whole:
            refused.append(
                f"{name.removesuffix('_ns')} needs {estimates.needed_for_quantile(q)} laps of each process, there are {fewest}"
            )
    return {**told, "refused": refused}


def estimate(values: Sequence[float]) -> dict[str, Any]:
    """The level of one value per process, as JSON."""
    found: Estimate = estimates.level(values)
    return {
        "value": found.value,
        "low": found.low,
        "high": found.high,
        "processes": found.processes,
    }


def value_of(told: Mapping[str, Any] | None) -> float | None:
    """The value of an estimate as JSON, or None where there is none."""
    return None if told is None else float(told["value"])


def per_second(samples_per_call: int, calls: int, wall_ns: float) -> float:
    """Samples answered in a second."""
    return samples_per_call * calls / wall_ns * 1e9


def merge_points(
    scenario: Scenario, batch: int, processes: Sequence[Sequence[Mapping[str, Any]]]
) -> list[dict[str, Any]]:
    """What the processes found at each point: their raw laps, and what those support. Every process
    has the same points in order.
    """
    gathered = [list(at) for at in zip(*processes, strict=True)]
    if scenario.name == SERVER:
        return [_served([process[0] for process in processes])] if processes else []
    made = [_point(scenario, batch, at) for at in gathered]
    if scenario.name == GAPS:
        base = next(at for at in gathered if at[0]["gap_ms"] == 0)
        for point, at in zip(made, gathered, strict=True):
            pairs = [
                _paired(after["laps_ns"], before["laps_ns"])
                for after, before in zip(at, base, strict=True)
            ]
            point["wake_up"] = estimate(pairs)
    if scenario.name == CONCURRENT:
        for point in made:
            point["scaling"] = estimate(
                [
                    mine / alone
                    for mine, alone in zip(
                        point["per_second_each"], made[0]["per_second_each"], strict=True
                    )
                ]
            )
    return made


def _point(scenario: Scenario, batch: int, at: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One point over its processes."""
    named = {
        name: at[0][name]
        for name in ("batch", "size", "callers", "requests", "gap_ms")
        if name in at[0]
    }
    laps = [process["laps_ns"] for process in at]
    told = latencies(laps)
    if "requests" in named:
        told["refused"] = [f"no single latency is seen of {named['requests']} requests in flight"]
    made: dict[str, Any] = {**named, "laps_ns": laps, "latency": told}
    if scenario.name != GAPS:
        size = int(named.get("batch", batch))
        each = [per_second(size, process["calls"], process["wall_ns"]) for process in at]
        made |= {
            "calls": [process["calls"] for process in at],
            "per_second_each": each,
            "per_second": estimate(each),
        }
    else:
        made["waited_ns"] = [process["waited_ns"] for process in at]
    if scenario.name == SHAPES:
        firsts = [process["first_ns"] for process in at]
        made |= {"first_ns": firsts, "builds": [process.get("builds") for process in at]}
        new = all(value is not None for value in firsts)
        made["first"] = estimate(firsts) if new else None
        pairs = (
            [first / estimates.median(its) for first, its in zip(firsts, laps, strict=True)]
            if new
            else []
        )
        made["first_seen"] = estimate(pairs) if pairs else None
    return made


def _paired(after: Sequence[int], before: Sequence[int]) -> float:
    """The median ratio of laps of the same round."""
    return estimates.median([one / other for one, other in zip(after, before, strict=True)])


def _served(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The server scenario over its processes: what every run of the load generator said, and the
    highest rate that each found valid.
    """
    rates = [process["rate_per_second"] for process in found]
    known = [rate for rate in rates if rate]
    return {
        "runs": [process["runs"] for process in found],
        "rate_each": rates,
        "rate": estimate(known) if rates and len(known) == len(rates) else None,
        "reasons": [process["reason"] for process in found],
    }
