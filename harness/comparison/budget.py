"""Spends a time budget where it buys most: how many pairs each cell of a comparison gets, and what
it can then see.

What earlier comparisons recorded says how much a cell's pairs spread and what a pair costs. Pure:
dicts in, numbers out.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, TypeVar

from harness.core.errors import UsageError
from harness.statistics import paired_test
from harness.statistics.estimates import median
from harness.statistics.paired_test import Rule

Name = TypeVar("Name", bound=Hashable)

FEWEST_SAMPLES, MOST_SAMPLES = 8, 48
"""Paired samples within one pair of processes."""

UNKNOWN_SPREAD, UNKNOWN_SECONDS = 0.03, 4.0
"""What a cell without a history is taken to have: the standard deviation of a pair's log ratio, and
the cost of a pair.
"""

CONFIRMING = 0.25
"""The share of a budget that is kept for confirming what is flagged."""

NULLS_REMEMBERED = 20


@dataclass(frozen=True)
class Past:
    """What is known of a cell. Spreads are standard deviations of log ratios: between pairs, and of
    samples within a pair.
    """

    between: float
    within: float
    pair_seconds: float
    sample_seconds: float
    nulls: tuple[float, ...] = ()
    """Log ratios that base against base came to, oldest first."""


@dataclass(frozen=True)
class Allotment:
    """What a cell gets. `detectable` is the smallest slowdown found with 80 % power: 0.04 is 4 %."""

    pairs: int
    samples: int
    seconds: float
    detectable: float
    known: bool


def pasts(comparisons: Iterable[Mapping[str, Any]]) -> dict[str, Past]:
    """What recorded comparisons (the JSON of `evenbench compare`, oldest first) say of each cell
    that they measured.
    """
    sets: dict[str, list[Sequence[Mapping[str, Any]]]] = {}
    nulls: dict[str, list[float]] = {}
    for comparison in comparisons:
        for result in comparison["cells"]:
            if result["pairs"]:
                sets.setdefault(result["cell"], []).append(result["pairs"])
            if result["control"] and "latency" in result["metrics"]:
                nulls.setdefault(result["cell"], []).append(
                    math.log(result["metrics"]["latency"]["screen"]["ratio"])
                )
    enough = {
        cell: taken
        for cell, taken in sets.items()
        if sum(map(len, taken)) >= paired_test.FEWEST_PAIRS
    }
    return {
        cell: _past(taken, nulls.get(cell, [])[-NULLS_REMEMBERED:])
        for cell, taken in enough.items()
    }


def _past(sets: Sequence[Sequence[Mapping[str, Any]]], nulls: Sequence[float]) -> Past:
    """Each set of pairs spreads around a centre of its own: another session, or other sides."""
    taken = [pair for pairs in sets for pair in pairs]
    deviations = [
        pair["log_ratios"]["latency"] - median([each["log_ratios"]["latency"] for each in pairs])
        for pairs in sets
        for pair in pairs
    ]
    within = [
        robust_spread([math.log(head / base) for base, head in zip(*pair["times_ns"], strict=True)])
        for pair in taken
    ]
    sampled = [
        sum(map(sum, pair["times_ns"])) * pair["number"] / 1e9 / len(pair["times_ns"][0])
        for pair in taken
    ]
    return Past(
        between=max(robust_spread(deviations), 1e-4),
        within=max(median(within), 1e-4),
        pair_seconds=median([pair["seconds"] for pair in taken]),
        sample_seconds=median(sampled),
        nulls=tuple(nulls),
    )


def robust_spread(values: Sequence[float]) -> float:
    """The standard deviation that a normal sample with this median absolute deviation has: 1.4826
    MAD.
    """
    centre = median(values)
    return 1.4826 * median([abs(value - centre) for value in values])


def margin_for(past: Past | None, rule: Rule) -> float:
    """The rule's margin, or three times what base against base was seen to differ from itself,
    whichever is larger.
    """
    if past is None or len(past.nulls) < paired_test.FEWEST_PAIRS:
        return rule.margin
    return max(rule.margin, math.expm1(3 * robust_spread(past.nulls)))


def samples_for(past: Past) -> int:
    """Paired samples per pair of processes: sqrt(c_process / c_sample * var_within / var_between),
    from 8 to 48, even.

    T. Kalibera and R. Jones, "Rigorous Benchmarking in Reasonable Time", ISMM 2013, for two levels.
    A pair's spread holds a share of the samples' own, which is taken off.
    """
    fixed = max(past.pair_seconds - 12 * past.sample_seconds, past.sample_seconds)
    between = max(past.between**2 - past.within**2 / 12, 1e-8)
    best = math.sqrt(fixed / max(past.sample_seconds, 1e-6) * past.within**2 / between)
    return 2 * round(min(max(best, FEWEST_SAMPLES), MOST_SAMPLES) / 2)


def allot(
    cells: Sequence[Name], known: Mapping[Name, Past], seconds: float, rule: Rule
) -> dict[Name, Allotment]:
    """Pairs for every cell within a budget of seconds: one at a time, to the cell whose detectable
    slowdown shrinks most per second.

    Every cell has the fewest pairs that can be judged. Raises UsageError where even those are too
    expensive.
    """
    unknown = Past(UNKNOWN_SPREAD, UNKNOWN_SPREAD, UNKNOWN_SECONDS, 0.05)
    facts = {cell: known.get(cell, unknown) for cell in cells}
    given = dict.fromkeys(cells, rule.least)
    budget = seconds * (1 - CONFIRMING)
    spent = sum(facts[cell].pair_seconds * rule.least for cell in cells)
    if spent > budget:
        needed = spent / (1 - CONFIRMING)
        raise UsageError(
            f"--budget of {seconds:.0f} s is too short for {len(cells)} cells: {rule.least} pairs each, and a quarter for confirming, "
            f"take about {needed:.0f} s; raise it, or choose fewer cells with -k"
        )
    while True:
        open_ = [
            cell
            for cell in cells
            if given[cell] < rule.most and spent + facts[cell].pair_seconds <= budget
        ]
        if not open_:
            break
        cell = max(open_, key=lambda name: _gain(facts[name], given[name], rule))
        given[cell] += 1
        spent += facts[cell].pair_seconds
    return {cell: allotment(facts[cell], given[cell], rule, cell in known) for cell in cells}


def allotment(past: Past, pairs: int, rule: Rule, known: bool) -> Allotment:
    """What so many pairs cost and see."""
    own = replace(rule, margin=margin_for(past, rule))
    seen = math.expm1(own.log_margin + _factor(pairs) * past.between)
    return Allotment(pairs, samples_for(past), pairs * past.pair_seconds, seen, known)


def _gain(past: Past, pairs: int, rule: Rule) -> float:
    return (_factor(pairs) - _factor(pairs + 1)) * past.between / past.pair_seconds


@cache
def _factor(pairs: int) -> float:
    """How many standard deviations beyond the margin a slowdown must lie to be found; it does not
    depend on their size.
    """
    rule, spread = Rule(most=max(pairs, 30)), 0.02
    return (math.log1p(paired_test.detectable(spread, pairs, rule)) - rule.log_margin) / spread
