"""Pareto front of latency, accuracy and memory, and cells whose latencies are not told apart.

Two cells differ by their latency ratio within the rounds of one run, corrected for the number of
pairs of their model and batch size.
"""

from __future__ import annotations

from collections.abc import Iterable

from evenbench.harness.statistics.ratios import Ratio
from evenbench.reports import machine_state
from evenbench.reports.deployment_facts import Facts
from evenbench.reports.verdict import NOT_APART

BUSY = "measured on a busy machine"
"""The reason against a latency ratio that other processes may have changed."""

MEMORY_NOISE = 0.05
"""The share of memory within which two cells are equal: peaks vary between processes."""


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
    if machine_state.withheld(slower.result, faster.result, known.estimate()):
        return BUSY
    return "" if slower.comparisons.differ(slower.result, faster.result) else NOT_APART


def _faster(one: Facts, other: Facts) -> bool:
    """Whether the first has the lower latency, by their corrected comparison if known."""
    why, known = not_apart(other, one), ratio(other, one)
    if known is not None and not why:
        return known.log > 0
    return latency_ns(one) < latency_ns(other) and why not in (NOT_APART, BUSY)


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
    """Return the results not dominated in latency, memory and accuracy, fastest first.

    Another result dominates if no value is worse and a value is better. Differences that nobody
    could see in a deployment are none: latencies not told apart, memory within `MEMORY_NOISE`, and
    an accuracy within a single sample. Parity errors do not count, because every ranked output is
    within its tolerance. The accuracy counts if all results have one. Latencies of different runs
    compare by level.
    """
    running = [facts for facts in candidates if facts.runs and not facts.in_flight]
    complete = [facts for facts in running if facts.memory_bytes is not None]
    by_accuracy = all(facts.accuracy is not None for facts in running)
    undominated = [
        facts
        for facts in complete
        if not any(
            _dominates(other, facts, by_accuracy) for other in complete if other is not facts
        )
    ]
    return tuple(sorted(undominated or complete, key=latency_ns))


def _dominates(one: Facts, other: Facts, by_accuracy: bool) -> bool:
    if _faster(other, one) or _lighter(other, one) or (by_accuracy and _righter(other, one)):
        return False
    return _faster(one, other) or _lighter(one, other) or (by_accuracy and _righter(one, other))


def _lighter(one: Facts, other: Facts) -> bool:
    own, its = one.memory_bytes or 0, other.memory_bytes or 0
    return own * (1 + MEMORY_NOISE) < its


def _righter(one: Facts, other: Facts) -> bool:
    """Whether the first has the higher accuracy, by more than one sample."""
    count = (one.result.record.get("accuracy") or {}).get("count") or 0
    sample = 1.5 / count if count else 0.0
    return (one.accuracy or 0.0) - (other.accuracy or 0.0) > sample
