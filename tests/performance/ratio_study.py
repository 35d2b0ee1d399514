"""Coverage, width and words of the rules for ratios, simulated through the code that judges."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from evenbench.harness.statistics.estimates import Estimate, level, median, quantile
from evenbench.harness.statistics.group_verdicts import (
    EQUIVALENT,
    FASTER,
    INCONCLUSIVE,
    SLOWER,
    judge,
)
from tests.unit.statistics.simulated_groups import Group, Noise, first_sweeps, simulated

PRECISION = math.log1p(0.03)
"""The half-width at which a group stops, in log ratio."""

FEWEST, MOST = 3, 8
"""Sweeps of a group that stops on precision."""

SEED = 15


@dataclass
class Tally:
    """Counts of intervals and words over simulated runs."""

    covered: int = 0
    intervals: int = 0
    halves: list[float] = field(default_factory=list)
    """Half-widths in log ratio; infinite if unknown."""
    runs: int = 0
    false_runs: int = 0
    """Runs with any false word."""
    words: dict[str, int] = field(default_factory=dict)
    sweeps: int = 0
    """Sweeps of all groups."""
    groups: int = 0

    def add(self, estimate: Estimate, truth: float) -> None:
        """Count an interval for a ratio whose logarithm is `truth`; unknown covers nothing."""
        self.intervals += 1
        if estimate.low is None or estimate.high is None:
            self.halves.append(math.inf)
            return
        self.covered += math.log(estimate.low) <= truth <= math.log(estimate.high)
        self.halves.append(math.log(estimate.high / estimate.low) / 2)

    @property
    def coverage(self) -> float:
        """Share of intervals that hold the true ratio."""
        return self.covered / self.intervals

    @property
    def false_rate(self) -> float:
        """Share of runs with any false word."""
        return self.false_runs / self.runs

    def half_width(self, q: float) -> float:
        """The q-quantile of half-widths, as a share of the ratio."""
        log = quantile(self.halves, q)
        return math.expm1(log) if log < 700 else math.inf


def study(
    noise: Noise,
    groups: Sequence[Sequence[float]],
    sweeps: int,
    runs: int,
    *,
    sequential: bool = False,
    seed: int = SEED,
) -> tuple[Tally, Tally]:
    """The present rule and the former, over `runs` runs of `groups`, given by log times of cells.

    `sequential`: each group has 3 to 8 sweeps, until each of its half-widths is at most 3 %.
    """
    rng = np.random.default_rng([seed, sweeps, len(noise.name), sequential])
    present, former = Tally(), Tally()
    for _ in range(runs):
        most = MOST if sequential else sweeps
        run = {f"group {n}": simulated(rng, noise, cells, most) for n, cells in enumerate(groups)}
        if sequential:
            run = stopped(run)
        levels = dict(zip(run, groups, strict=True))
        for tally, rule in ((present, _present), (former, _former)):
            tally.runs += 1
            tally.groups += len(run)
            tally.sweeps += sum(len(group["cell 0"]) for group in run.values())
            tally.false_runs += rule(tally, run, levels)
    return present, former


def stopped(run: dict[str, Group]) -> dict[str, Group]:
    """The run with as many sweeps of each group as precision takes, from 3 to 8."""
    taken = dict.fromkeys(run, FEWEST)
    while True:
        part = {name: first_sweeps(group, taken[name]) for name, group in run.items()}
        verdicts = judge(part)
        wide = [
            name
            for name, verdict in verdicts.items()
            if taken[name] < MOST
            and not all(
                pair.ratio and (pair.ratio.half_width() or math.inf) <= PRECISION
                for pair in verdict.comparisons.values()
            )
        ]
        if not wide:
            return part
        for name in wide:
            taken[name] += 1


def _present(tally: Tally, run: dict[str, Group], levels: dict[str, Sequence[float]]) -> bool:
    """Count the intervals and words of a run; whether any word is false."""
    wrong = False
    for name, verdict in judge(run).items():
        for (first, second), pair in verdict.comparisons.items():
            truth = _truth(levels[name], first, second)
            tally.words[pair.word] = tally.words.get(pair.word, 0) + 1
            if pair.ratio is not None:
                tally.add(pair.ratio.estimate(), truth)
            wrong |= _is_false(pair.word, pair.within, truth)
    return wrong


def _former(tally: Tally, run: dict[str, Group], levels: dict[str, Sequence[float]]) -> bool:
    """The same for Student's t over the ratios of process medians, words not corrected."""
    wrong = False
    for name, group in run.items():
        medians = {
            cell: [median(list(b.values())) for b in s.values()] for cell, s in group.items()
        }
        for first, second in itertools.combinations(group, 2):
            truth = _truth(levels[name], first, second)
            pairs = zip(medians[first], medians[second], strict=True)
            estimate = level([before / after for before, after in pairs])
            tally.add(estimate, truth)
            word = INCONCLUSIVE
            if not estimate.overlaps(1.0):
                word = FASTER if estimate.value > 1 else SLOWER
            tally.words[word] = tally.words.get(word, 0) + 1
            wrong |= _is_false(word, None, truth)
    return wrong


def _truth(levels: Sequence[float], first: str, second: str) -> float:
    return levels[int(first[5:])] - levels[int(second[5:])]


def _is_false(word: str, within: float | None, truth: float) -> bool:
    if word == EQUIVALENT:
        return abs(truth) > math.log1p(within or 0.0) + 1e-12
    return {FASTER: truth <= 0, SLOWER: truth >= 0}.get(word, False)
