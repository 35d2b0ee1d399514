"""A measured group as a line of the record of `make aa-run`, and what two rules say of it.

A line has the blocks of every cell, so the present rule (`group_verdicts.judge`) and the former
(Student's t over ratios of process medians, words not corrected) judge the same laps.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evenbench.harness.core.types import COMPUTE
from evenbench.harness.results.interleaving import sweeps_of
from evenbench.harness.results.records import Record
from evenbench.harness.statistics import estimates
from evenbench.harness.statistics.group_verdicts import (
    EQUIVALENT,
    FASTER,
    INCONCLUSIVE,
    SLOWER,
    judge,
)
from evenbench.harness.statistics.ratios import Sweeps

UNIT = 1e-5
"""Times of a record are whole multiples of this log time, relative to `level_ns`."""


@dataclass(frozen=True)
class Pair:
    """What a rule says of two cells of a group."""

    first: str
    second: str
    truth: float
    """ln(1 + more work of the first) - ln(1 + more work of the second)."""
    log: float
    """The measured log ratio of times, first over second."""
    half_width: float
    """Half the 95 % interval of `log`; infinite if unknown."""
    word: str
    within: float | None = None
    """The margin of the word `EQUIVALENT`."""

    @property
    def is_covered(self) -> bool:
        """Whether the interval holds the truth; an unknown interval holds nothing."""
        return math.isfinite(self.half_width) and abs(self.log - self.truth) <= self.half_width

    @property
    def is_false(self) -> bool:
        """Whether the word is false: a wrong direction, or equivalence within too small a margin.

        The word of a direction is false for identical cells as well.
        """
        if self.word == EQUIVALENT:
            return abs(self.truth) > math.log1p(self.within or 0.0) + 1e-9
        return {FASTER: self.truth <= 0, SLOWER: self.truth >= 0}.get(self.word, False)

    @property
    def is_right(self) -> bool:
        """Whether a true difference has the word of its direction."""
        return self.word in (FASTER, SLOWER) and not self.is_false


def packed(lines: Mapping[str, Record]) -> dict[str, Any]:
    """The blocks and process medians of result lines by cell, in small integers.

    `blocks` has per cell and sweep a value per round from 0 (None for a round without a block),
    `medians` the median lap of each process.
    """
    sweeps = {cell: sweeps_of(line, COMPUTE) for cell, line in lines.items()}
    every = [time for cell in sweeps.values() for times in cell.values() for time in times.values()]
    level = estimates.median(every)

    def small(time_ns: float) -> int:
        return round(math.log(time_ns / level) / UNIT)

    blocks = {
        cell: {
            sweep: [
                small(times[number]) if number in times else None
                for number in range(max(times, default=-1) + 1)
            ]
            for sweep, times in sweeps_of_cell.items()
        }
        for cell, sweeps_of_cell in sweeps.items()
    }
    medians = {
        cell: {
            sweep: small(estimates.median(laps))
            for sweep, laps in zip(
                sweeps[cell], (laps for laps in line["samples_ns"][COMPUTE] if laps), strict=True
            )
        }
        for cell, line in lines.items()
    }
    return {"level_ns": round(level), "blocks": blocks, "medians": medians}


def group_of(line: Record) -> dict[str, Sweeps]:
    """The blocks of a record's line by cell, sweep and round, in ns."""
    return {
        cell: {
            sweep: {
                number: line["level_ns"] * math.exp(UNIT * value)
                for number, value in enumerate(values)
                if value is not None
            }
            for sweep, values in sweeps.items()
        }
        for cell, sweeps in line["blocks"].items()
    }


def truth_of(line: Record, first: str, second: str) -> float:
    """The log ratio of the work of two cells."""
    more = [math.log1p(line["effect"] if cell == line["more"] else 0.0) for cell in (first, second)]
    return more[0] - more[1]


def present(lines: Sequence[Record]) -> list[list[Pair]]:
    """The pairs of every group by the present rule, judged together as one run."""
    groups = {str(number): group_of(line) for number, line in enumerate(lines)}
    verdicts = judge(groups)
    return [
        [
            Pair(
                first,
                second,
                truth_of(line, first, second),
                comparison.ratio.log if comparison.ratio else math.nan,
                _or_infinite(comparison.ratio.half_width() if comparison.ratio else None),
                comparison.word,
                comparison.within,
            )
            for (first, second), comparison in verdicts[str(number)].comparisons.items()
        ]
        for number, line in enumerate(lines)
    ]


def former(line: Record) -> list[Pair]:
    """The pairs of a group by the former rule; the number of words plays no part in it."""
    medians = line["medians"]
    pairs = []
    for first, second in itertools.combinations(medians, 2):
        logs = [
            UNIT * (value - medians[second][sweep])
            for sweep, value in medians[first].items()
            if sweep in medians[second]
        ]
        if not logs:
            truth = truth_of(line, first, second)
            pairs.append(Pair(first, second, truth, math.nan, math.inf, INCONCLUSIVE))
            continue
        estimate = estimates.level([math.exp(log) for log in logs])
        log, half, word = math.log(estimate.value), math.inf, INCONCLUSIVE
        if estimate.low is not None and estimate.high is not None:
            half = math.log(estimate.high) - log
            if not estimate.overlaps(1.0):
                word = FASTER if log > 0 else SLOWER
        pairs.append(Pair(first, second, truth_of(line, first, second), log, half, word))
    return pairs


def is_excluded(pairs: Sequence[Pair], cell: str) -> bool:
    """Whether a cell is called slower than any other, i.e. cannot be the fastest."""
    return any(
        pair.word == (FASTER if pair.first == cell else SLOWER)
        for pair in pairs
        if cell in (pair.first, pair.second)
    )


def said(line: Record) -> dict[str, list[Any]]:
    """A line's pairs in short, for readers of the file: log ratio, half-width, word of both rules.

    The tables judge the blocks anew.
    """
    return {
        f"{now.first} {now.second}": [*_short(now), *_short(before)]
        for now, before in zip(present([line])[0], former(line), strict=True)
    }


def _short(pair: Pair) -> list[Any]:
    half = round(pair.half_width, 5) if math.isfinite(pair.half_width) else None
    return [round(pair.log, 5) if math.isfinite(pair.log) else None, half, pair.word]


def _or_infinite(half_width: float | None) -> float:
    return math.inf if half_width is None else half_width
