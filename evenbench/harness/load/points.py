"""Points of a load scenario: laps of several processes become percentiles, rates and ratios.

A percentile needs enough laps of every process; otherwise the value is None, with a reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evenbench.harness.load.scenarios import CONCURRENT, GAPS, SERVER, SHAPES, Scenario
from evenbench.harness.statistics import estimates, ratios
from evenbench.harness.statistics.estimates import Estimate

PERCENTILES = {"p50_ns": 0.50, "p90_ns": 0.90, "p99_ns": 0.99}

NAMED = ("batch", "size", "callers", "requests", "gap_ms")
"""Keys that identify a point."""

Measured = Mapping[str, Any]
"""One process's raw measurements of a point."""


def latencies(laps_ns: Sequence[Sequence[int]]) -> dict[str, Any]:
    """The percentiles of a point, each the level over processes, as JSON.

    `laps_ns` has a sequence of laps, in nanoseconds, per process; pooled laps would hide
    differences between processes. A percentile without enough laps is None, with a reason in
    `refused`.
    """
    fewest = min((len(laps) for laps in laps_ns), default=0)
    summary: dict[str, Any] = {"laps": [len(laps) for laps in laps_ns]}
    refused = []
    for name, q in PERCENTILES.items():
        values = [estimates.supported_quantile(laps, q) for laps in laps_ns]
        supported = [value for value in values if value is not None]
        is_complete = bool(values) and len(supported) == len(values)
        summary[name] = estimate(supported) if is_complete else None
        if not is_complete:
            needed = estimates.needed_for_quantile(q)
            percentile = name.removesuffix("_ns")
            refused.append(f"{percentile} needs {needed} laps of each process, there are {fewest}")
    return {**summary, "refused": refused}


def estimate(values: Sequence[float]) -> dict[str, Any]:
    """The level of one value per process, without stalled processes, as JSON."""
    level: Estimate = ratios.process_level(values)
    return {
        "value": level.value,
        "low": level.low,
        "high": level.high,
        "processes": level.processes,
    }


def value_of(estimated: Mapping[str, Any] | None) -> float | None:
    """The value of an estimate given as JSON, or None without an estimate."""
    return None if estimated is None else float(estimated["value"])


def per_second(samples_per_call: int, calls: int, wall_ns: float) -> float:
    """Samples per second."""
    return samples_per_call * calls / wall_ns * 1e9


def merge_points(
    scenario: Scenario, batch: int, processes: Sequence[Sequence[Measured]]
) -> list[dict[str, Any]]:
    """Merge the points of all processes: raw laps, with percentiles, rates and ratios.

    Every process has the same points in the same order. `batch` is the cell's own.
    """
    if scenario.name == SERVER:
        return [_server_point([process[0] for process in processes])] if processes else []
    columns = [list(column) for column in zip(*processes, strict=True)]
    points = [_point(scenario, batch, column) for column in columns]
    if scenario.name == GAPS:
        _add_wake_up(points, columns)
    if scenario.name == CONCURRENT:
        _add_scaling(points)
    return points


def _point(scenario: Scenario, batch: int, column: Sequence[Measured]) -> dict[str, Any]:
    """A point over all processes."""
    named = {name: column[0][name] for name in NAMED if name in column[0]}
    laps = [process["laps_ns"] for process in column]
    latency = latencies(laps)
    if "requests" in named:
        in_flight = named["requests"]
        latency["refused"] = [f"no single latency is seen of {in_flight} requests in flight"]
    point: dict[str, Any] = {**named, "laps_ns": laps, "latency": latency}
    if scenario.name == GAPS:
        point["waited_ns"] = [process["waited_ns"] for process in column]
    else:
        point |= _throughput(int(named.get("batch", batch)), column)
    if scenario.name == SHAPES:
        point |= _first_calls(laps, column)
    return point


def _throughput(batch: int, column: Sequence[Measured]) -> dict[str, Any]:
    rates = [per_second(batch, process["calls"], process["wall_ns"]) for process in column]
    return {
        "calls": [process["calls"] for process in column],
        "per_second_each": rates,
        "per_second": estimate(rates),
    }


def _first_calls(laps: Sequence[Sequence[int]], column: Sequence[Measured]) -> dict[str, Any]:
    """First calls of a shape, and the ratio to later calls.

    Both estimates are None for the cell's own shape, because loading has called the shape before.
    """
    firsts = [process["first_ns"] for process in column]
    is_new = all(first is not None for first in firsts)
    ratios = (
        [first / estimates.median(later) for first, later in zip(firsts, laps, strict=True)]
        if is_new
        else []
    )
    return {
        "first_ns": firsts,
        "builds": [process.get("builds") for process in column],
        "first": estimate(firsts) if is_new else None,
        "first_seen": estimate(ratios) if ratios else None,
    }


def _add_wake_up(points: Sequence[dict[str, Any]], columns: Sequence[Sequence[Measured]]) -> None:
    """Add the ratio of calls after a gap to calls without a gap, paired by round."""
    base = next(column for column in columns if column[0]["gap_ms"] == 0)
    for point, column in zip(points, columns, strict=True):
        ratios = [
            _median_ratio(process["laps_ns"], without["laps_ns"])
            for process, without in zip(column, base, strict=True)
        ]
        point["wake_up"] = estimate(ratios)


def _median_ratio(numerators: Sequence[int], denominators: Sequence[int]) -> float:
    """The median ratio of laps of the same round."""
    pairs = zip(numerators, denominators, strict=True)
    return estimates.median([numerator / denominator for numerator, denominator in pairs])


def _add_scaling(points: Sequence[dict[str, Any]]) -> None:
    """Add the throughput relative to the first number of callers, paired by process."""
    base = points[0]["per_second_each"] if points else []
    for point in points:
        pairs = zip(point["per_second_each"], base, strict=True)
        point["scaling"] = estimate([rate / first for rate, first in pairs])


def _server_point(processes: Sequence[Measured]) -> dict[str, Any]:
    """The server scenario over processes: all runs of the load generator and the valid rates."""
    rates = [process["rate_per_second"] for process in processes]
    valid = [rate for rate in rates if rate]
    return {
        "runs": [process["runs"] for process in processes],
        "rate_each": rates,
        "rate": estimate(valid) if rates and len(valid) == len(rates) else None,
        "reasons": [process["reason"] for process in processes],
    }
