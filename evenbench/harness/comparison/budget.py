"""The time budget of a comparison: the number of pairs for each cell, and the detectable slowdown.

Spread and cost of a cell's pairs come from earlier recorded comparisons. Pure functions from dicts
to numbers.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, TypeVar

from evenbench.harness.core.errors import UsageError
from evenbench.harness.statistics import paired_test
from evenbench.harness.statistics.estimates import median
from evenbench.harness.statistics.paired_test import Rule

Name = TypeVar("Name", bound=Hashable)

FEWEST_SAMPLES, MOST_SAMPLES = 8, 48
"""Paired samples within one pair of processes."""

UNKNOWN_SPREAD, UNKNOWN_SECONDS = 0.03, 4.0
"""For a cell without history: standard deviation of a pair's log ratio, and seconds per pair."""

CONFIRMING = 0.25
"""The share of a budget reserved for confirming flagged cells."""

NULLS_REMEMBERED = 20
"""Latest base-against-base ratios of a cell that widen its margin."""


@dataclass(frozen=True)
class Past:
    """A cell in earlier comparisons.

    `between` is the standard deviation of log ratios between pairs, `within` of samples within a
    pair. `pair_seconds` is the wall time of a pair, with loading and warm-up; `sample_seconds` is
    the time of a paired sample, both sides together.
    """

    between: float
    within: float
    pair_seconds: float
    sample_seconds: float
    nulls: tuple[float, ...] = ()
    """Log ratios of base against base, oldest first."""


@dataclass(frozen=True)
class Allotment:
    """The pairs of one cell, the paired samples per pair, and the cost in seconds.

    `detectable` is the smallest slowdown found with 80 % power: 0.04 is 4 %. `known` cells have a
    history.
    """

    pairs: int
    samples: int
    seconds: float
    detectable: float
    known: bool


def pasts(comparisons: Iterable[Mapping[str, Any]]) -> dict[str, Past]:
    """The history of each cell with at least `paired_test.FEWEST_PAIRS` recorded pairs.

    `comparisons` are JSON values of `evenbench compare`, oldest first.
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
    return {
        cell: _past(sessions, nulls.get(cell, [])[-NULLS_REMEMBERED:])
        for cell, sessions in sets.items()
        if sum(map(len, sessions)) >= paired_test.FEWEST_PAIRS
    }


def _past(sets: Sequence[Sequence[Mapping[str, Any]]], nulls: Sequence[float]) -> Past:
    """The spreads and costs over several sets of pairs.

    Deviations are from the median of each set, because sets differ in session and sides.
    """
    all_pairs = [pair for pairs in sets for pair in pairs]
    deviations = [
        pair["log_ratios"]["latency"] - median([other["log_ratios"]["latency"] for other in pairs])
        for pairs in sets
        for pair in pairs
    ]
    within = [
        robust_spread([math.log(head / base) for base, head in zip(*pair["times_ns"], strict=True)])
        for pair in all_pairs
    ]
    sample_seconds = [
        sum(map(sum, pair["times_ns"])) * pair["number"] / 1e9 / len(pair["times_ns"][0])
        for pair in all_pairs
    ]
    return Past(
        between=max(robust_spread(deviations), 1e-4),
        within=max(median(within), 1e-4),
        pair_seconds=median([pair["seconds"] for pair in all_pairs]),
        sample_seconds=median(sample_seconds),
        nulls=tuple(nulls),
    )


def robust_spread(values: Sequence[float]) -> float:
    """The standard deviation estimated from the median absolute deviation: 1.4826 MAD.

    1 / 1.4826 = Phi^-1(3/4), the MAD of a standard normal distribution.
    """
    centre = median(values)
    return 1.4826 * median([abs(value - centre) for value in values])


def margin_for(past: Past | None, rule: Rule) -> float:
    """The margin for latency: the wider of the rule's margin and exp(3 s) - 1.

    s is the robust spread of the cell's log ratios of base against base, if at least
    `paired_test.FEWEST_PAIRS` are recorded. So a cell with noisy controls needs a larger slowdown.
    """
    if past is None or len(past.nulls) < paired_test.FEWEST_PAIRS:
        return rule.margin
    return max(rule.margin, math.expm1(3 * robust_spread(past.nulls)))


def samples_for(past: Past) -> int:
    """The best number of paired samples per pair of processes, even and from 8 to 48.

    sqrt(c_process / c_sample * var_within / var_between), with costs c in seconds (T. Kalibera and
    R. Jones, "Rigorous Benchmarking in Reasonable Time", ISMM 2013, for two levels). The recorded
    spread between pairs includes var_within / 12, from 12 samples per pair, so var_between is the
    difference.
    """
    fixed = max(past.pair_seconds - 12 * past.sample_seconds, past.sample_seconds)
    between = max(past.between**2 - past.within**2 / 12, 1e-8)
    best = math.sqrt(fixed / max(past.sample_seconds, 1e-6) * past.within**2 / between)
    return 2 * round(min(max(best, FEWEST_SAMPLES), MOST_SAMPLES) / 2)


def allot(
    cells: Sequence[Name], known: Mapping[Name, Past], seconds: float, rule: Rule
) -> dict[Name, Allotment]:
    """Share a budget of seconds between cells.

    Every cell gets the rule's fewest pairs. More pairs go, one at a time, to the cell with the
    largest decrease of the detectable slowdown per second (greedy). `CONFIRMING` of the budget is
    reserved. Raises UsageError if the fewest pairs exceed the budget.
    """
    unknown = Past(UNKNOWN_SPREAD, UNKNOWN_SPREAD, UNKNOWN_SECONDS, 0.05)
    facts = {cell: known.get(cell, unknown) for cell in cells}
    pairs = dict.fromkeys(cells, rule.least)
    budget = seconds * (1 - CONFIRMING)
    spent = sum(facts[cell].pair_seconds * rule.least for cell in cells)
    if spent > budget:
        needed = spent / (1 - CONFIRMING)
        raise UsageError(
            f"--budget of {seconds:.0f} s is too short for {len(cells)} cells: {rule.least} pairs "
            f"each, and a quarter for confirming, take about {needed:.0f} s; "
            "raise the budget, or choose fewer cells with -k"
        )
    while True:
        affordable = [
            cell
            for cell in cells
            if pairs[cell] < rule.most and spent + facts[cell].pair_seconds <= budget
        ]
        if not affordable:
            break
        cell = max(affordable, key=lambda name: _gain(facts[name], pairs[name]))
        pairs[cell] += 1
        spent += facts[cell].pair_seconds
    return {cell: allotment(facts[cell], pairs[cell], rule, cell in known) for cell in cells}


def allotment(past: Past, pairs: int, rule: Rule, known: bool) -> Allotment:
    """The cost and the detectable slowdown of a number of pairs.

    Detectable: exp(log margin + factor * spread between pairs) - 1, with `_factor` standard
    deviations.
    """
    own = replace(rule, margin=margin_for(past, rule))
    detectable = math.expm1(own.log_margin + _factor(pairs) * past.between)
    return Allotment(pairs, samples_for(past), pairs * past.pair_seconds, detectable, known)


def _gain(past: Past, pairs: int) -> float:
    """The decrease of the detectable log ratio per second by one more pair."""
    return (_factor(pairs) - _factor(pairs + 1)) * past.between / past.pair_seconds


@cache
def _factor(pairs: int) -> float:
    """The detectable slowdown in standard deviations beyond the margin, at 80 % power.

    Simulated by `paired_test.detectable` at one spread, because the factor is independent of the
    spread.
    """
    rule, spread = Rule(most=max(pairs, 30)), 0.02
    return (math.log1p(paired_test.detectable(spread, pairs, rule)) - rule.log_margin) / spread
