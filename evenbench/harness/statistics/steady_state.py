"""The end of warm-up: windows of laps agree, and laps do not get faster over the whole sample."""

from __future__ import annotations

import math
from collections.abc import Sequence

from evenbench.harness.statistics.estimates import median

WINDOWS = 3
"""Consecutive windows in agreement."""

CLOCK_NS = 100.0
"""The resolution of two clock readings. Smaller differences between windows count as none."""


def stable(windows: Sequence[float], tolerance: float, count: int = WINDOWS) -> bool:
    """Whether the last `count` window medians (ns) agree within the tolerance or the clock.

    Agreement: max - min <= max(tolerance * min, CLOCK_NS).
    """
    recent = list(windows[-count:])
    return len(recent) == count and max(recent) - min(recent) <= max(
        tolerance * min(recent), CLOCK_NS
    )


LEAST_WINDOWS = 6
"""Fewest windows for a trend."""

CERTAIN = -3.0
"""The largest z of Mann and Kendall's test for a fall: chance has 1 in 700."""


def fall(windows: Sequence[float], tolerance: float) -> float:
    """How much faster laps became, as a share: 0.2 is a fifth of the time. 0 without a trend.

    Three windows in a row may agree while laps decay slowly. So all window medians (ns) are tested
    for a monotone fall (H. B. Mann, Econometrica 13, 1945; M. G. Kendall, 1975), and the last third
    must lie below the first third by more than the tolerance and the clock.
    """
    count = len(windows)
    if count < LEAST_WINDOWS:
        return 0.0
    third = count // 3
    first, last = median(windows[:third]), median(windows[-third:])
    if first - last <= max(tolerance * first, CLOCK_NS):
        return 0.0
    signs = sum(
        (later > earlier) - (later < earlier)
        for place, later in enumerate(windows)
        for earlier in windows[:place]
    )
    z = signs / math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    return 1 - last / first if z < CERTAIN else 0.0
