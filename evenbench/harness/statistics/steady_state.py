"""The end of warm-up: windows of laps agree, instead of a fixed count."""

from __future__ import annotations

from collections.abc import Sequence

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
