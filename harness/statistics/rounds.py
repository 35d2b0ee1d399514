"""The precision of a sweep while rounds are still being taken."""

from __future__ import annotations

import math
from collections.abc import Mapping

from harness.statistics.estimates import median


def half_width(
    slower: Mapping[int, float], faster: Mapping[int, float], least: int
) -> float | None:
    """The half-width at 95 % of a sweep's median log ratio, from rounds in common alone.

    The maps have the time of a block by round. 1.96 * 1.2533 * 1.4826 * MAD / sqrt(n), as for
    normal values. None with fewer than `least` rounds. Sweeps differ by more: not the error of a
    result.
    """
    logs = [math.log(slower[number] / faster[number]) for number in slower if number in faster]
    if len(logs) < least:
        return None
    centre = median(logs)
    spread = 1.4826 * median([abs(value - centre) for value in logs])
    return 1.96 * 1.2533 * spread / math.sqrt(len(logs))
