"""Pareto front of latency, accuracy and memory, and cells whose latencies are not told apart.

Two cells differ by their latency ratio within the rounds of one run, corrected for the number of
pairs of their model and batch size.
"""

from __future__ import annotations

from collections.abc import Iterable

from evenbench.harness.statistics.ratios import Ratio
from evenbench.reports.deployment_facts import Facts
from evenbench.reports.verdict import NOT_APART


def latency_ns(facts: Facts) -> float:
    """Return the level host to host in nanoseconds; infinite without one."""
    return facts.result.host_to_host.value if facts.result.host_to_host else float("inf")


def ratio(slower: Facts, faster: Facts) -> Ratio | None:
    """Return how many times faster the second is; None across runs."""
    return slower.comparisons.ratio(slower.result, faster.result)


def not_apart(slower: Facts, faster: Facts) -> str:
    """Return why two cells do not differ; empty for a clear difference."""
    known = ratio(slower, faster)
    if known is None:
        return "measured in another run"
    if known.sweeps < 2:
        return "measured in one process"
    return "" if slower.comparisons.differ(slower.result, faster.result) else NOT_APART


def _faster(one: Facts, other: Facts) -> bool:
    """Whether the first has the lower latency, by their corrected comparison if known."""
    why, known = not_apart(other, one), ratio(other, one)
    if known is not None and not why:
        return known.log > 0
    return latency_ns(one) < latency_ns(other) and why != NOT_APART


def tied(facts: Facts, scope: Iterable[Facts]) -> list[int]:
    """Return the `id`s of faster results not told apart."""
    others = (
        other
        for other in scope
        if other.runs and not other.in_flight and latency_ns(other) < latency_ns(facts)
    )
    return (
        [id(other.result) for other in others if not_apart(facts, other) == NOT_APART]
        if facts.runs and not facts.in_flight
        else []
    )


def front(candidates: Iterable[Facts]) -> tuple[Facts, ...]:
    """Return the results not dominated in latency, accuracy and memory, fastest first.

    Another result dominates if no value is worse and a value is better. Latencies not told apart
    are equal; latencies of different runs compare by level. The parity error replaces the accuracy
    unless all results have an accuracy. Results without a value are left out.
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
