"""Pareto front of latency, accuracy and memory, and differences beyond noise.

Two cells differ if the interval of their latency ratio, paired over the sweeps of one run, excludes
1.
"""

from __future__ import annotations

from collections.abc import Iterable

from harness.statistics import estimates
from harness.statistics.estimates import Estimate
from reports.deployment_facts import Facts

WITHIN_NOISE = "within noise"


def latency_ns(facts: Facts) -> float:
    return facts.result.host_to_host.value if facts.result.host_to_host else float("inf")


def ratio(slower: Facts, faster: Facts) -> Estimate | None:
    """Return how many times faster the second is, paired by sweep; None across runs."""
    if slower.result.run != faster.result.run or not slower.process_ns or not faster.process_ns:
        return None
    if faster not in slower.ratios:
        slower.ratios[faster] = estimates.speedup(slower.process_ns, faster.process_ns)
    return slower.ratios[faster]


def not_apart(slower: Facts, faster: Facts) -> str:
    """Return why two cells do not differ; empty for a clear difference."""
    estimate = ratio(slower, faster)
    if estimate is None:
        return "measured in another run"
    overlaps = estimate.overlaps(1.0)
    if overlaps is None:
        return "measured in one process"
    return WITHIN_NOISE if overlaps else ""


def _faster(one: Facts, other: Facts) -> bool:
    """Whether the first has the lower latency, beyond noise if known."""
    return latency_ns(one) < latency_ns(other) and not_apart(other, one) != WITHIN_NOISE


def tied(facts: Facts, scope: Iterable[Facts]) -> list[int]:
    """Return the `id`s of faster results within noise."""
    others = (
        other
        for other in scope
        if other.runs and not other.in_flight and latency_ns(other) < latency_ns(facts)
    )
    return (
        [id(other.result) for other in others if not_apart(facts, other) == WITHIN_NOISE]
        if facts.runs and not facts.in_flight
        else []
    )


def front(candidates: Iterable[Facts]) -> tuple[Facts, ...]:
    """Return the results not dominated in latency, accuracy and memory, fastest first.

    Another result dominates if no value is worse and a value is better. Latencies within noise are
    equal; unpaired latencies compare by level. The parity error replaces the accuracy unless all
    results have an accuracy. Results without a value are left out.
    """
    running = [facts for facts in candidates if facts.runs and not facts.in_flight]
    by_accuracy = all(facts.accuracy is not None for facts in running)
    wrong = {
        id(facts): (-facts.accuracy if by_accuracy and facts.accuracy is not None else facts.error)
        for facts in running
    }
    complete = [
        facts
        for facts in running
        if wrong[id(facts)] is not None and facts.memory_bytes is not None
    ]

    def costs(facts: Facts) -> tuple[float, float]:
        return wrong[id(facts)] or 0.0, float(facts.memory_bytes or 0)

    def dominates(one: Facts, other: Facts) -> bool:
        own_costs, other_costs = costs(one), costs(other)
        worse = any(own > its for own, its in zip(own_costs, other_costs, strict=True))
        if worse or _faster(other, one):
            return False
        return own_costs != other_costs or _faster(one, other)

    undominated = [
        facts
        for facts in complete
        if not any(dominates(other, facts) for other in complete if other is not facts)
    ]
    return tuple(sorted(undominated, key=latency_ns))
