"""Facts that decide a deployment: latency, memory, size, accuracy and parity of each result.

Latency is host to host everywhere: inputs in, one inference, outputs out, as seen by a caller.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

from evenbench.harness.core.types import HOST_TO_HOST
from evenbench.harness.statistics import estimates
from evenbench.reports import input_shapes, result_groups
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
    def p99_ns(self) -> float | None:
        """The 99th percentile of all laps, if the number of laps supports a p99."""
        laps = list(chain.from_iterable(self.laps_ns))
        return (
            estimates.supported_quantile(laps, QUANTILE)
            if self.runs and laps and not self.in_flight
            else None
        )

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


def gather(members: Iterable[Result]) -> list[Facts]:
    """Return the facts of each result, in order."""
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
        )
        for result in listed
    ]


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
        "p99_ns": facts.p99_ns,
        "memory_bytes": facts.memory_bytes,
        "size_bytes": facts.size_bytes,
        "accuracy": facts.accuracy,
        "accuracy_drop": facts.accuracy_drop,
        "parity_error": facts.error,
    }
