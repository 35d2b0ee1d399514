"""Coverage, width and words of the rules for ratios by simulation, as markdown tables.

`python -m tests.performance.bench_ratios` prints the tables of docs/explanation/statistics.md.
The seed is fixed, so the same code prints the same tables.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator

import numpy as np

from evenbench.harness.statistics.estimates import Estimate, median
from evenbench.harness.statistics.estimates import level as former_level
from evenbench.harness.statistics.group_verdicts import FASTER, SLOWER
from evenbench.harness.statistics.ratios import level
from tests.performance.ratio_study import SEED, Tally, study
from tests.unit.statistics.simulated_groups import (
    HEAVY,
    LINEAR,
    MEMORY,
    NOISES,
    NORMAL,
    STALLED,
    WALK,
    Noise,
    simulated,
)

EQUAL = [[0.0] * 4] * 5
"""Five groups of four equal cells: 30 words in a run."""

MIXED = [
    [0.0, 0.1],
    [0.0, 0.05, 0.1],
    [0.0, 0.02, 0.05, 0.1],
    [0.0, 0.0, 0.01, 0.3, 0.7],
    [0.0] * 6,
]
"""Groups of two to six cells, equal and different: 35 ratios in a run."""

PAIR = [[0.0, 0.0]]
"""A run of two equal cells: no other ratio can help."""

PLANS = ((3, False), (5, False), (3, True))
"""Sweeps, and whether sweeps are added until half-widths are at most 3 %."""


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200, help="simulated runs per row")
    runs = parser.parse_args().runs
    for table in (ratios(runs), alone(runs), power(runs), levels(runs)):
        for row in table:
            print(row, flush=True)
        print()


def ratios(runs: int) -> Iterator[str]:
    """Ratios and words of runs with many groups, present rule / former rule."""
    yield "| noise | sweeps | coverage | half-width, median | 95th percentile | any false word |"
    yield "|---|---|---|---|---|---|"
    for noise in NOISES:
        for sweeps, sequential in PLANS:
            equal = study(noise, EQUAL, sweeps, runs, sequential=sequential)
            mixed = study(noise, MIXED, sweeps, max(1, runs // 3), sequential=sequential)
            cells = [_plan(sweeps, mixed[0], sequential), _pair(mixed, "coverage")]
            cells += [_widths(mixed, 0.5), _widths(mixed, 0.95), _pair(equal, "false_rate")]
            yield f"| {noise.name} | {' | '.join(cells)} |"


def alone(runs: int) -> Iterator[str]:
    """A run with a single pair, present rule / former rule."""
    yield "| noise, a single pair | sweeps | coverage | half-width, median | false word |"
    yield "|---|---|---|---|---|"
    for noise in NOISES:
        for sweeps, sequential in PLANS:
            both = study(noise, PAIR, sweeps, 5 * runs, sequential=sequential)
            cells = [_plan(sweeps, both[0], sequential), _pair(both, "coverage")]
            cells += [_widths(both, 0.5), _pair(both, "false_rate")]
            yield f"| {noise.name} | {' | '.join(cells)} |"


def power(runs: int) -> Iterator[str]:
    """Share of different pairs with a word: 5 groups of 4 cells, one of them slower."""
    yield "| true difference of one cell in four | 3 sweeps | 5 sweeps | 3 to 8 sweeps |"
    yield "|---|---|---|---|"
    for percent in (2, 5, 10, 30):
        groups = [[0.0, 0.0, 0.0, math.log1p(percent / 100)]] * 5
        shares = []
        for sweeps, sequential in PLANS:
            tally = study(NORMAL, groups, sweeps, max(1, runs // 4), sequential=sequential)[0]
            right = tally.words.get(FASTER, 0) + tally.words.get(SLOWER, 0)
            shares.append(f"{right / (15 * tally.runs):.0%}")
        yield f"| {percent} % | {' | '.join(shares)} |"


def levels(runs: int) -> Iterator[str]:
    """Levels of a cell, present rule / former rule. Common drift is not covered."""
    yield "| noise, level of a cell | sweeps | coverage | half-width, median | 95th percentile |"
    yield "|---|---|---|---|---|"
    for noise in (NORMAL, HEAVY, STALLED, MEMORY, WALK, LINEAR):
        for sweeps in (3, 5):
            both = levels_study(noise, sweeps, 5 * runs)
            cells = [str(sweeps), _pair(both, "coverage"), _widths(both, 0.5), _widths(both, 0.95)]
            yield f"| {noise.name} | {' | '.join(cells)} |"


def levels_study(noise: Noise, sweeps: int, runs: int) -> tuple[Tally, Tally]:
    """Intervals of a single cell's level: present and former rule."""
    rng = np.random.default_rng([SEED, sweeps, len(noise.name)])
    present, former = Tally(), Tally()
    for _ in range(runs):
        cell = simulated(rng, noise, [0.0], sweeps)["cell 0"]
        values = [median(list(times.values())) for times in cell.values()]
        for tally, estimate in ((present, level(cell)), (former, former_level(values))):
            if estimate is not None:
                tally.add(_in_ms(estimate), 0.0)
    return present, former


def _in_ms(estimate: Estimate) -> Estimate:
    scaled = [None if limit is None else limit / 1e6 for limit in (estimate.low, estimate.high)]
    return Estimate(estimate.value / 1e6, scaled[0], scaled[1], estimate.processes)


def _plan(sweeps: int, tally: Tally, sequential: bool) -> str:
    return f"3 to 8 (mean {tally.sweeps / tally.groups:.1f})" if sequential else str(sweeps)


def _pair(both: tuple[Tally, Tally], name: str) -> str:
    return " / ".join(f"{getattr(tally, name):.1%}" for tally in both)


def _widths(both: tuple[Tally, Tally], q: float) -> str:
    return " / ".join(_width(tally.half_width(q)) for tally in both)


def _width(share: float) -> str:
    """A half-width as text."""
    return f"{share:.1%}" if share < 10 else "over 1000%"


if __name__ == "__main__":
    main()
