"""Facts that decide a deployment: latency, memory, size, accuracy and parity of each result.

Latency is host to host everywhere: inputs in, one inference, outputs out, as seen by a caller.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

from evenbench.harness.core.types import HOST_TO_HOST
from evenbench.harness.statistics import estimates
from evenbench.harness.statistics.estimates import Estimate
from evenbench.reports import input_shapes, machine_state, result_groups
from evenbench.reports.latency_comparisons import LatencyComparisons
from evenbench.reports.result_groups import BASELINE, Result

QUANTILE = 0.99
NATIVE = "fp32"


@dataclass(frozen=True)
class Reference:
    """The accuracy as reference for drops: value, id of the cell, samples, metric."""

    value: float
    cell: str
    count: int
    metric: str = ""


@dataclass(frozen=True, eq=False)
class Facts:
    """Facts of a result for limits of a deployment; None if unknown, or if the output is wrong."""

    result: Result
    reference: Reference | None
    comparisons: LatencyComparisons
    eager: Result | None = None
    """The correct fp32 eager result of the same run and place; None without one."""
    installed_bytes: int | None = None
    installed_reason: str = "sizes of installed packages were not looked up"

    @cached_property
    def id(self) -> str:
        """The id of the cell, for people."""
        return str(self.result.cell.get("id", ""))

    @cached_property
    def runs(self) -> bool:
        """Whether the result is eligible: a correct output of a real runtime, with both times."""
        return self.result.ranks and self.result.host_to_host is not None

    @cached_property
    def in_flight(self) -> bool:
        """Whether several requests were in flight.

        Laps are then intervals between completions, which no caller waits for.
        """
        return str(self.result.cell.get("group", "")).endswith("-throughput")

    @cached_property
    def laps_ns(self) -> list[list[int]]:
        """Host-to-host laps of each process, in nanoseconds."""
        return result_groups.laps_of(self.result.record, HOST_TO_HOST)

    @cached_property
    def p50_ns(self) -> float | None:
        """The median of all laps."""
        return self._quantile(0.5)

    @cached_property
    def p90_ns(self) -> float | None:
        """The 90th percentile of all laps, if the number of laps supports a p90."""
        return self._quantile(0.9)

    @cached_property
    def p99_ns(self) -> float | None:
        """The 99th percentile of all laps, if the number of laps supports a p99."""
        return self._quantile(QUANTILE)

    def _quantile(self, q: float) -> float | None:
        laps = list(chain.from_iterable(self.laps_ns))
        if not self.runs or not laps or self.in_flight:
            return None
        return estimates.supported_quantile(laps, q)

    @cached_property
    def cold_start_ns(self) -> float | None:
        """A fresh process from import to the first output."""
        seconds = self.result.cold_start_seconds
        return None if seconds is None or not self.runs else seconds * 1e9

    @cached_property
    def throughput_per_second(self) -> float | None:
        """Samples per second as timed: one step after another, or several requests in flight."""
        level = self.result.host_to_host
        batch = int(self.result.cell.get("batch") or 1)
        return batch * 1e9 / level.value if self.runs and level and level.value else None

    @cached_property
    def over_eager(self) -> Estimate | None:
        """How many times faster than fp32 eager, host to host, in the same run; None if withheld.

        The result may have another precision than fp32.
        """
        if self.eager is None or not self.runs or self.in_flight or self.eager is self.result:
            return None
        estimate = result_groups.ratio(self.eager, self.result, HOST_TO_HOST)
        return None if machine_state.withheld(self.eager, self.result, estimate) else estimate

    @cached_property
    def memory_bytes(self) -> int | None:
        """The largest resident set of any process."""
        peaks: Sequence[int] = (self.result.record.get("memory") or {}).get("peak_rss_bytes") or ()
        return max(peaks, default=None) if self.runs else None

    @cached_property
    def size_bytes(self) -> int | None:
        """The size of the artifact, without the runtime."""
        known: int | None = (self.result.record.get("artifact") or {}).get("bytes")
        return known if self.runs else None

    @cached_property
    def accuracy(self) -> float | None:
        """The accuracy on held-out data, if the model has any."""
        known: float | None = (self.result.record.get("accuracy") or {}).get("value")
        return known if self.runs else None

    @cached_property
    def accuracy_drop(self) -> float | None:
        """The lost share of the reference accuracy; negative for a gain."""
        if self.accuracy is None or self.reference is None or not self.reference.value:
            return None
        return (self.reference.value - self.accuracy) / self.reference.value

    @cached_property
    def error(self) -> float | None:
        """The error of the worst output: RMSE over the largest magnitude of the golden.

        The same unit at every precision.
        """
        outputs = (self.result.record.get("parity") or {}).get("outputs") or []
        errors = [
            output["rmse"] / output["scale"]
            for output in outputs
            if output.get("scale") and output.get("rmse") is not None
        ]
        return max(errors, default=None) if self.runs else None


def gather(
    members: Iterable[Result], installed: Mapping[str, tuple[int | None, str]] | None = None
) -> list[Facts]:
    """Return the facts of each result, in order.

    `installed` maps backends to installed bytes, or None with the reason.
    """
    sizes = installed or {}
    listed = list(members)
    references = _references(listed)
    scopes: dict[tuple[str, ...], list[Result]] = {}
    for result in listed:
        if result.ranks:
            scopes.setdefault(_scope(result), []).append(result)
    shared = {scope: LatencyComparisons(ranked) for scope, ranked in scopes.items()}
    return [
        Facts(
            result,
            references.get(_scored_on(result)),
            shared.get(_scope(result)) or LatencyComparisons(()),
            _eager(result, scopes.get(_scope(result), ())),
            *sizes.get(str(result.cell.get("backend", "")), ()),
        )
        for result in listed
    ]


def _eager(result: Result, scope: Sequence[Result]) -> Result | None:
    """The fp32 eager result of the same run, device and threads, with the fewest options."""
    place = result.cell.get("device"), result.cell.get("threads")
    eager = [
        other
        for other in scope
        if other.cell.get("backend") == BASELINE
        and other.cell.get("precision") == NATIVE
        and not other.is_emulated
        and (other.cell.get("device"), other.cell.get("threads")) == place
    ]
    return min(eager, key=lambda other: len(other.cell.get("options") or {}), default=None)


def _scope(result: Result) -> tuple[str, ...]:
    """The run, model, batch size and input shapes of a result."""
    cell = result.cell
    place = str(cell.get("model", "")), str(cell.get("batch", ""))
    return result.run, *place, input_shapes.of(cell)


def _scored_on(result: Result) -> tuple[str, ...]:
    """The scope of comparable accuracies: model, batch, shapes, metric and labelled data."""
    metric, data = (
        str((result.record.get(part) or {}).get(key) or "")
        for part, key in (("accuracy", "metric"), ("dataset", "sha256"))
    )
    place = str(result.cell.get("model", "")), str(result.cell.get("batch", ""))
    return *place, input_shapes.of(result.cell), metric, data


def _references(members: Sequence[Result]) -> dict[tuple[str, ...], Reference]:
    """The accuracy of correct eager fp32 cells by scope; otherwise of the best fp32 cell."""
    best: dict[tuple[str, ...], tuple[tuple[bool, float], Reference]] = {}
    for result in members:
        accuracy = result.record.get("accuracy") or {}
        if (
            result.ranks
            and accuracy.get("value") is not None
            and result.cell.get("precision") == NATIVE
        ):
            scope, value = _scored_on(result), float(accuracy["value"])
            rank = result.cell.get("backend") == BASELINE, value
            reference = Reference(
                value, str(result.cell.get("id", "")), int(accuracy.get("count") or 0), scope[3]
            )
            if scope not in best or rank > best[scope][0]:
                best[scope] = rank, reference
    return {scope: reference for scope, (_, reference) in best.items()}


def plain(facts: Facts) -> dict[str, Any]:
    """Return the facts of a result as JSON values, with the identity of the cell."""
    names = ("backend", "precision", "device", "batch", "threads", "options")
    latency = facts.result.host_to_host if facts.runs else None
    return {
        "id": facts.id,
        "run": facts.result.run,
        "outcome": facts.result.outcome,
        **{name: facts.result.cell.get(name) for name in names},
        "latency_ns": {"value": latency.value, "low": latency.low, "high": latency.high}
        if latency
        else None,
        "p50_ns": facts.p50_ns,
        "p90_ns": facts.p90_ns,
        "p99_ns": facts.p99_ns,
        "cold_start_ns": facts.cold_start_ns,
        "throughput_per_second": facts.throughput_per_second,
        "installed_bytes": facts.installed_bytes,
        "over_fp32_eager": facts.over_eager.value if facts.over_eager else None,
        "labels": list(facts.result.record.get("labels") or ()),
        "memory_bytes": facts.memory_bytes,
        "size_bytes": facts.size_bytes,
        "accuracy": facts.accuracy,
        "accuracy_drop": facts.accuracy_drop,
        "parity_error": facts.error,
    }
