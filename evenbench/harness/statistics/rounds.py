"""The precision of a sweep while rounds are still being taken."""

from __future__ import annotations

import math
from collections.abc import Mapping


def half_width(
    slower: Mapping[int, float], faster: Mapping[int, float], least: int
) -> float | None:
    """The half-width at about 95 % of a sweep's median log ratio, from rounds in common alone.

    The maps have the time of a block by round. Half the distance of the order statistics around the
    median with the ranks n/2 -+ 0.98 sqrt(n), free of assumptions about the distribution (W. J.
    Conover, Practical Nonparametric Statistics, section 3.2). None with fewer than `least` rounds.
    Sweeps differ by more: not the error of a result.
    """
    logs = sorted(
        math.log(slower[number] / faster[number]) for number in slower if number in faster
    )
    count = len(logs)
    if count < least:
        return None
    rank = max(1, round(count / 2 - 0.98 * math.sqrt(count)))
    return (logs[-rank] - logs[rank - 1]) / 2
