"""Limits of a deployment: p99, memory, accuracy drop and size, and reasons for exclusion."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from evenbench.harness.statistics import estimates
from evenbench.reports import formatting
from evenbench.reports.deployment_facts import QUANTILE, Facts


@dataclass(frozen=True)
class Constraint:
    """A value with a limit.

    `value` reads a result, `words` formats the value, `unknown` explains a missing value.
    """

    name: str
    value: Callable[[Facts], float | None]
    words: Callable[[float | None], str]
    unknown: Callable[[Facts], str]

    def excludes(self, facts: Facts, limit: float) -> str:
        """Return the reason for exceeding the limit; empty within the limit."""
        value = self.value(facts)
        if value is None:
            return self.unknown(facts)
        if value <= limit:
            return ""
        return f"{self.name} {self.words(value)} is over {self.words(limit)}{_over(value, limit)}"


def _over(value: float, limit: float) -> str:
    return f" by {formatting.number(100 * (value - limit) / limit, 2)} %" if limit > 0 else ""


def share(value: float | None) -> str:
    """Format a share as a percentage: `0.83 %`."""
    return (
        formatting.DASH if value is None else f"{formatting.number(100 * value)}{formatting.SPACE}%"
    )


def _unsupported_p99(facts: Facts) -> str:
    if facts.in_flight:
        return (
            "p99 is not stated with several requests in flight: laps are intervals between "
            "completions, which no caller waits for"
        )
    laps, needed = sum(map(len, facts.laps_ns)), estimates.needed_for_quantile(QUANTILE)
    supported = f"p99 not supported by {formatting.count(laps, 'lap')}: {needed} are needed"
    return f"{supported}; measure with --plan thorough"


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
    Constraint("p99", lambda facts: facts.p99_ns, formatting.duration, _unsupported_p99),
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
"""All constraints, in display order.

Limits use these names, in nanoseconds, bytes, and shares of the accuracy.
"""

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
        for constraint in CONSTRAINTS
        if constraint.name in limits
    ]
    return [reason for reason in reasons if reason]


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
