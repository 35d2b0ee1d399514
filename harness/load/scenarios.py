"""Scenarios of load as values, and what is made of their laps: percentiles, the best batch under a
limit, the highest valid rate.

A percentile is stated where the laps of every process support it, and refused in words where they
do not.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.core.dynamic_axes import SIZE
from harness.core.errors import UsageError
from harness.core.types import BATCH, Plan
from harness.statistics import estimates
from harness.statistics.estimates import Estimate

SINGLE, SWEEP, CONCURRENT, SERVER, GAPS, SHAPES = (
    "single-stream",
    "batch-sweep",
    "concurrent",
    "server",
    "idle-gaps",
    "shapes",
)
NAMES = (SINGLE, SWEEP, CONCURRENT, SERVER, GAPS, SHAPES)

VARIED = ((BATCH,), (SIZE,), (BATCH, SIZE), (SIZE, BATCH))
"""What may change from call to call."""

PERCENTILES = {"p50_ns": 0.50, "p90_ns": 0.90, "p99_ns": 0.99}

QUERIES = 662
"""Of one run of the server scenario at least: the fewest from which a p99 may be judged where one
answer was too late, by the rule of MLPerf's early stopping at 99 % confidence."""


@dataclass(frozen=True)
class Scenario:
    """What one process is to do with a loaded session. A field that the scenario does not know is
    left as it is.
    """

    name: str
    seconds: float = 3.0
    """Of calls for every point: a batch size, a number of callers, a shape, a run of the load
    generator.
    """
    bound_ns: int = 0
    """The latency that 99 % of the calls must keep; 0 for none."""
    batches: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    callers: tuple[int, ...] = (1, 2, 4)
    gaps_ms: tuple[float, ...] = (0.0, 10.0, 100.0, 1000.0)
    vary: tuple[str, ...] = (BATCH,)
    """What changes from call to call where shapes do: the batch, the size of the inputs, or both.
    """
    rounds: int = 15
    rate_per_second: float = 0.0
    """Of arrivals, to be judged alone; 0 searches for the highest valid one."""
    seed: int = 0

    def __post_init__(self) -> None:
        for what, wrong, expected in (
            ("--scenario", "" if self.name in NAMES else self.name, f"one of {', '.join(NAMES)}"),
            (
                "--seconds",
                "" if 0 < self.seconds < math.inf else self.seconds,
                "a number of seconds above 0",
            ),
            (
                "--batches",
                _not_counts(self.batches),
                "different whole numbers of 1 or more, such as 1,2,4,8",
            ),
            (
                "--callers",
                _not_counts(self.callers),
                "different whole numbers of 1 or more, such as 1,2,4",
            ),
            (
                "--gaps",
                "" if _are_gaps(self.gaps_ms) else _listed(self.gaps_ms),
                "0 and other times in ms, such as 0,10,100",
            ),
            (
                "--vary",
                "" if self.vary in VARIED else ",".join(self.vary) or "(nothing)",
                "batch, size, or batch,size",
            ),
            ("--rounds", "" if self.rounds >= 1 else self.rounds, "a whole number of 1 or more"),
            (
                "--rate",
                "" if 0 <= self.rate_per_second < math.inf else self.rate_per_second,
                "a number of arrivals per second above 0",
            ),
        ):
            if wrong != "":
                raise UsageError(f"{what} {wrong}: expected {expected}")
        if self.name == SERVER and not self.bound_ns:
            raise UsageError(
                "--scenario server judges arrivals by a latency bound; give it with --p99, such as --p99 20ms"
            )

    @property
    def has_batches(self) -> bool:
        """Whether the batch sizes are the scenario's, and not each cell's own."""
        return self.name == SWEEP or (self.name == SHAPES and BATCH in self.vary)

    @property
    def has_sizes(self) -> bool:
        """Whether models are fed at all sizes that they declare."""
        return self.name == SHAPES and SIZE in self.vary


@dataclass(frozen=True)
class LoadRequest:
    """Payload of the worker task `load`."""

    plan: Plan
    scenario: Scenario


def _not_counts(values: Sequence[int]) -> str:
    """The values as they were given where they are no list of different counts, or an empty string."""
    right = bool(values) and min(values) >= 1 and len(set(values)) == len(values)
    return "" if right else _listed(values) or "(nothing)"


def _are_gaps(values: Sequence[float]) -> bool:
    return (
        0 in values
        and all(0 <= value < math.inf for value in values)
        and len(set(values)) == len(values) > 1
    )


def _listed(values: Sequence[float]) -> str:
    return ",".join(f"{value:g}" for value in values) or "(nothing)"


# -- percentiles -----------------------------------------------------------------------------------


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


# -- from processes to points ----------------------------------------------------------------------


def points(
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


# -- answers ---------------------------------------------------------------------------------------


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
class Search:
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


def highest(
    judge: Callable[[float, int], bool], guess: float, how: Search = Search()
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


# -- what MLCommons' load generator says -----------------------------------------------------------

MARK = ":::MLLOG "


def read_log(text: str) -> dict[str, Any]:
    """The entries of a load generator's detail log by key; the last one of a key counts. `errors`
    has those that it marked as errors.
    """
    found: dict[str, Any] = {"errors": []}
    for line in text.splitlines():
        if line.startswith(MARK):
            entry = json.loads(line.removeprefix(MARK))
            found[entry["key"]] = entry["value"]
            if entry.get("metadata", {}).get("is_error"):
                found["errors"].append(f"{entry['key']}: {entry['value']}")
    return found


def verdict(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Its verdict with its own reason, and the percentiles that the number of its queries supports.
    Raises ValueError where it has none.
    """
    if "result_validity" not in entries:
        raise ValueError(
            "the load generator left no verdict in its log, where one was expected; run it again, and longer with --seconds"
        )
    queries = int(entries["result_query_count"])
    valid = entries["result_validity"] == "VALID"
    words = [
        str(entries.get(name, "")) for name in ("result_invalid_reason", "early_stopping_result")
    ] + entries["errors"]
    reason = "" if valid else " ".join(" ".join(words).replace("*", " ").split())
    told: dict[str, Any] = {
        "scenario": entries.get("effective_scenario", ""),
        "verdict": entries["result_validity"],
        "reason": reason,
    }
    told |= {"queries": queries, "too_late": entries.get("result_overlatency_query_count")}
    rates = (
        "result_completed_samples_per_sec",
        "result_samples_per_second",
        "result_qps_with_loadgen_overhead",
    )
    told["queries_per_second"] = next(
        (float(entries[name]) for name in rates if name in entries), None
    )
    told["offered_per_second"] = entries.get("result_scheduled_samples_per_sec")
    for name, q in PERCENTILES.items():
        supported = queries >= estimates.needed_for_quantile(max(q, 1 - q))
        told[name] = (
            entries.get(f"result_{q * 100:.2f}_percentile_latency_ns") if supported else None
        )
    return {
        **told,
        "max_ns": entries.get("result_max_latency_ns"),
        "version": entries.get("loadgen_version", ""),
    }
