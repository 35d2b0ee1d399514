"""Signs that a run was not measured on one steady machine: drift over its sweeps, and laps that lie
at two levels.

scipy is imported where there is something to judge, which is when a report is made and never while
anything is timed.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from harness.statistics import estimates

DRIFT = 0.05
"""The change of the level from the first sweep to the last that is worth a warning."""

LEAST_SWEEPS, LEAST_POINTS, MOST_CELLS = 3, 8, 100
"""Below so many sweeps, and levels in all, a slope is chance; of more cells so many are taken,
evenly.
"""

APART = 0.10
"""How far two modes are apart to be worth a warning."""

LEAST_LAPS = 40

LEAST_SHARE = 0.10
"""Of the laps in the smaller mode: fewer of them are disturbances."""

DEEP = 0.5
"""The density between two modes over that of the lower one, at most."""

TRIMMED = 0.02
"""The share of the slowest laps that is left out: a single one that is ten times as long would
flatten the density of all.
"""

POINTS = 256


@dataclass(frozen=True)
class Drift:
    """The change of the level from the first of some sweeps to the last, as a share: 0.07 is 7 %
    slower.
    """

    change: float
    sweeps: int


@dataclass(frozen=True)
class Modes:
    """Two levels of laps in nanoseconds; `between`: each process keeps to one of them."""

    lower_ns: float
    upper_ns: float
    between: bool


def drift(levels: Sequence[Sequence[float]]) -> Drift | None:
    """The drift over the sweeps of a run, or None where it is below `DRIFT` or may be chance.
    `levels` holds, for each cell, one positive value per sweep, in order; cells with fewer sweeps
    than most are left out.

    Theil and Sen's slope of the logarithms, each cell's own level taken off, with scipy's 95 %
    interval of it (P. K. Sen, 1968).
    """
    sweeps = Counter(map(len, levels)).most_common(1)[0][0] if levels else 0
    whole = [values for values in levels if len(values) == sweeps and min(values, default=0.0) > 0]
    chosen = whole[:: -(-len(whole) // MOST_CELLS) or 1]
    if sweeps < LEAST_SWEEPS or sweeps * len(chosen) < LEAST_POINTS:
        return None
    from scipy.stats import theilslopes

    logs = [[math.log(value) for value in values] for values in chosen]
    heights = [value - estimates.median(cell) for cell in logs for value in cell]
    slope, _, low, high = theilslopes(heights, [*range(sweeps)] * len(chosen))
    change = math.expm1(float(slope) * (sweeps - 1))
    certain = float(low) > 0 or float(high) < 0
    return Drift(change, sweeps) if certain and abs(change) > DRIFT else None


def modes(laps: Sequence[Sequence[float]]) -> Modes | None:
    """The two levels that the laps of one cell lie at, or None where they lie at one. `laps` holds
    one sequence per process.

    The two highest peaks of a Gaussian kernel density of the logarithms (Silverman's bandwidth)
    that are `APART`, have a valley between them that is `DEEP`, and `LEAST_SHARE` of the laps on
    either side of it.
    """
    pooled = sorted(lap for process in laps for lap in process if lap > 0)
    pooled = pooled[: math.ceil(len(pooled) * (1 - TRIMMED))]
    if len(pooled) < LEAST_LAPS or pooled[-1] < pooled[0] * (1 + APART):
        return None
    if estimates.quantile(pooled, 1 - LEAST_SHARE / 2) < estimates.quantile(
        pooled, LEAST_SHARE / 2
    ) * (1 + APART):
        return None  # cheap, and true of nearly every cell
    peaks = _peaks([math.log(lap) for lap in pooled])
    if not peaks:
        return None
    lower, valley, upper = (math.exp(place) for place in peaks)
    above = [sum(lap > valley for lap in process) / len(process) for process in laps if process]
    share = sum(lap > valley for lap in pooled) / len(pooled)
    if upper < lower * (1 + APART) or not LEAST_SHARE <= share <= 1 - LEAST_SHARE:
        return None
    kept = all(each <= LEAST_SHARE or each >= 1 - LEAST_SHARE for each in above)
    return Modes(lower, upper, between=kept and len(above) > 1)


def _peaks(logs: Sequence[float]) -> tuple[float, float, float] | None:
    """Where the two highest peaks of the density lie, and the valley between them; None where there
    is one peak, or no valley.
    """
    import numpy as np
    from scipy.signal import find_peaks
    from scipy.stats import gaussian_kde

    margin = (logs[-1] - logs[0]) / 4
    places = np.linspace(logs[0] - margin, logs[-1] + margin, POINTS)
    density = gaussian_kde(logs, bw_method="silverman")(places)
    found, _ = find_peaks(density)
    if len(found) < 2:
        return None
    left, right = sorted(sorted(found, key=lambda place: density[place])[-2:])
    valley = left + int(np.argmin(density[left:right]))
    if density[valley] > DEEP * min(density[left], density[right]):
        return None
    return float(places[left]), float(places[valley]), float(places[right])
