"""Signs of an unsteady machine: drift over the sweeps of a run, and laps at two levels.

scipy is imported on use: for reports, and never during timing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from evenbench.harness.statistics import estimates

DRIFT = 0.05
"""The smallest change from the first sweep to the last worth a warning."""

LEAST_SWEEPS, LEAST_POINTS, MOST_CELLS = 3, 8, 100
"""Fewest sweeps, fewest levels in all, and most cells.

With fewer sweeps or levels a slope is chance; more cells are subsampled evenly.
"""

APART = 0.10
"""The smallest distance of two modes worth a warning."""

LEAST_LAPS = 40

LEAST_SHARE = 0.10
"""Fewest laps in the smaller mode, as a share. Fewer laps are disturbances."""

DEEP = 0.5
"""The largest density between two modes, relative to the lower mode."""

TRIMMED = 0.02
"""The share of slowest laps left out. A lap ten times as long would flatten the density."""

POINTS = 256


@dataclass(frozen=True)
class Drift:
    """The change from the first to the last of some sweeps, as a share: 0.07 is 7 % slower."""

    change: float
    sweeps: int


@dataclass(frozen=True)
class Modes:
    """Two levels of laps in nanoseconds. `between`: each process stays at a single level."""

    lower_ns: float
    upper_ns: float
    between: bool


def drift(levels: Sequence[Sequence[float]]) -> Drift | None:
    """The drift over the sweeps of a run, or None if below `DRIFT` or possibly chance.

    `levels` holds a value per sweep for each cell, in order. Cells with a value of 0 or less, or
    with another number of sweeps than the commonest, are left out. The drift is Theil and Sen's
    slope of the logarithms minus each cell's median, with scipy's 95 % interval (P. K. Sen, 1968).
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
    """The two levels of a cell's laps, or None for a single level.

    `laps` holds a sequence per process. The two highest peaks of a Gaussian kernel density of the
    logarithms (Silverman's bandwidth) must be `APART`, separated by a `DEEP` valley, with
    `LEAST_SHARE` of the laps on either side.
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
    """The two highest peaks of a density and the valley between; None for a single peak.

    Also None for peaks without a valley.
    """
    import numpy as np
    from scipy.signal import find_peaks
    from scipy.stats import gaussian_kde

    margin = (logs[-1] - logs[0]) / 4
    places = np.linspace(logs[0] - margin, logs[-1] + margin, POINTS)
    density = gaussian_kde(logs, bw_method="silverman")(places)
    peaks, _ = find_peaks(density)
    if len(peaks) < 2:
        return None
    left, right = sorted(sorted(peaks, key=lambda place: density[place])[-2:])
    valley = left + int(np.argmin(density[left:right]))
    if density[valley] > DEEP * min(density[left], density[right]):
        return None
    return float(places[left]), float(places[valley]), float(places[right])
