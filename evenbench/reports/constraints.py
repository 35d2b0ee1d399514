"""Limits of a deployment, reasons for exclusion, and doubts about values nobody measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from evenbench.harness.statistics import estimates
from evenbench.reports import formatting
from evenbench.reports.deployment_facts import QUANTILE, Facts


@dataclass(frozen=True)
class Constraint:
    """A value with a limit.

    `value` reads a result, `words` formats the value, `unknown` explains a missing value and names
    a remedy. `bound` is a known value below the missing value, such as the median below a p99. With
    `least`, the limit is a minimum.
    """

    name: str
    value: Callable[[Facts], float | None]
    words: Callable[[float | None], str]
    unknown: Callable[[Facts], str]
    bound: Callable[[Facts], float | None] = lambda facts: None
    least: bool = False
    is_latency: bool = False

    def excludes(self, facts: Facts, limit: float) -> str:
        """Return the reason for exceeding the limit; empty within the limit and if unknown.

        An unknown value exceeds the limit if its bound does.
        """
        value = self.value(facts)
        if value is None:
            return self._excludes_unknown(facts, limit)
        if self._meets(value, limit):
            return ""
        side = "under" if self.least else "over"
        return f"{self.name} {self.words(value)} is {side} {self.words(limit)}{_by(value, limit)}"

    def doubts(self, facts: Facts, limit: float) -> str:
        """Return why nobody knows whether the limit is met, and what would measure the value."""
        if self.value(facts) is not None or self.excludes(facts, limit):
            return ""
        known = self.bound(facts)
        if not known:
            return self.unknown(facts)
        times = f"the median is {formatting.number(limit / known, 2)} times below the limit"
        return f"{self.unknown(facts)}; {times}"

    def _excludes_unknown(self, facts: Facts, limit: float) -> str:
        if self.is_latency and facts.in_flight:
            return self.unknown(facts)
        known = self.bound(facts)
        if known is None or self._meets(known, limit):
            return ""
        return (
            f"the median {self.words(known)} alone is over the {self.name} limit "
            f"{self.words(limit)}{_by(known, limit)}"
        )

    def _meets(self, value: float, limit: float) -> bool:
        return value >= limit if self.least else value <= limit


def _by(value: float, limit: float) -> str:
    return f" by {formatting.number(100 * abs(value - limit) / limit, 2)} %" if limit > 0 else ""


def share(value: float | None) -> str:
    """Format a share as a percentage: `0.83 %`."""
    return (
        formatting.DASH if value is None else f"{formatting.number(100 * value)}{formatting.SPACE}%"
    )


def _unsupported(name: str, q: float) -> Callable[[Facts], str]:
    def why(facts: Facts) -> str:
        if facts.in_flight:
            return (
                f"{name} is not stated with several requests in flight: laps are intervals between "
                "completions, which no caller waits for"
            )
        laps, needed = sum(map(len, facts.laps_ns)), estimates.needed_for_quantile(q)
        few = f"{name} not measured: {formatting.count(laps, 'lap')}, and {needed} are needed"
        return f"{few} (--plan thorough)"

    return why


def rate(value: float | None) -> str:
    """Format a rate: `212 samples/s`."""
    return formatting.DASH if value is None else f"{formatting.number(value)} samples/s"


def _unknown_drop(facts: Facts) -> str:
    if facts.accuracy is None:
        return (
            "accuracy was not measured: the model is declared without held-out data; "
            "evenbench run --dataset DIR measures accuracy on your data"
        )
    if facts.reference:
        return f"the reference accuracy of {facts.reference.cell} is 0, so a drop is undefined"
    return "no reference accuracy was recorded"


CONSTRAINTS: tuple[Constraint, ...] = (
    Constraint(
        "p99",
        lambda facts: facts.p99_ns,
        formatting.duration,
        _unsupported("p99", QUANTILE),
        bound=lambda facts: facts.p50_ns,
        is_latency=True,
    ),
    Constraint(
        "memory",
        lambda facts: facts.memory_bytes,
        formatting.size,
        lambda facts: "memory was not recorded",
    ),
    Constraint("accuracy drop", lambda facts: facts.accuracy_drop, share, _unknown_drop),
    Constraint(
        "size",
        lambda facts: facts.size_bytes,
        formatting.size,
        lambda facts: "the artifact's size was not recorded",
    ),
)
"""The constraints of the page, in display order.

Limits use these names, in nanoseconds, bytes, and shares of the accuracy.
"""

MORE: tuple[Constraint, ...] = (
    Constraint(
        "p50",
        lambda facts: facts.p50_ns,
        formatting.duration,
        _unsupported("p50", 0.5),
        is_latency=True,
    ),
    Constraint(
        "p90",
        lambda facts: facts.p90_ns,
        formatting.duration,
        _unsupported("p90", 0.9),
        bound=lambda facts: facts.p50_ns,
        is_latency=True,
    ),
    Constraint(
        "cold start",
        lambda facts: facts.cold_start_ns,
        formatting.duration,
        lambda facts: "cold start was not recorded; measure the cell again",
    ),
    Constraint(
        "installed size",
        lambda facts: facts.installed_bytes,
        formatting.size,
        lambda facts: f"installed size is not known: {facts.installed_reason}",
    ),
    Constraint(
        "throughput",
        lambda facts: facts.throughput_per_second,
        rate,
        lambda facts: "throughput was not recorded; measure the cell again",
        least=True,
    ),
)
"""Constraints of the command line alone: in nanoseconds, bytes, and samples per second."""

ALL: tuple[Constraint, ...] = (*MORE[:2], *CONSTRAINTS, *MORE[2:])
"""Every constraint, in display order."""

Limits = Mapping[str, float]


def excluded_by(facts: Facts, limits: Limits) -> list[str]:
    """Return every reason against a result; empty for a recommended result."""
    if facts.result.is_control:
        return ["a control: there is nothing to ship"]
    if facts.result.outcome != "ok":
        record = facts.result.record
        causes = [str(record.get(key)) for key in ("reason", "hint") if record.get(key)]
        return [
            ": ".join([facts.result.outcome, "; ".join(dict.fromkeys(causes))])
            if causes
            else facts.result.outcome
        ]
    if not facts.runs:
        return ["no time was recorded"]
    reasons = [
        constraint.excludes(facts, limits[constraint.name])
        for constraint in ALL
        if constraint.name in limits
    ]
    return [reason for reason in reasons if reason]


def doubts_about(facts: Facts, limits: Limits) -> list[str]:
    """Return why limits of a result that is not excluded are in doubt: values nobody measured."""
    doubts = [
        constraint.doubts(facts, limits[constraint.name])
        for constraint in ALL
        if constraint.name in limits
    ]
    return [doubt for doubt in doubts if doubt]


@dataclass(frozen=True)
class Field:
    """An input of the page for one limit: name in the address, label, size of its unit."""

    name: str
    label: str
    unit: float


FIELDS = (
    Field("p99", "p99 at most, ms", 1e6),
    Field("memory", "Memory at most, MB", 1e6),
    Field("drop", "Accuracy drop at most, %", 0.01),
    Field("size", "Artifact at most, MB", 1e6),
)
"""Inputs in the order of `CONSTRAINTS`."""

FIELDS_HELP = (
    "A limit keeps cells within the limit, and hides cells with an unknown value. p99 is host to "
    f"host, and is stated from {estimates.needed_for_quantile(QUANTILE)} laps on. Memory is the "
    "peak of a process with one runtime. An accuracy drop is relative to eager PyTorch at fp32. "
    "A cell is on the Pareto front if no other cell of the model and batch is better in latency, "
    "accuracy (or parity error) and memory at once. The column Limits names exceeded limits, or "
    "faster cells that it is not told apart from."
)
"""Explanation of the inputs on the page."""
