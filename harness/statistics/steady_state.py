"""When is a process warm? When windows of laps have stopped changing, not after a fixed count."""

from __future__ import annotations

from collections.abc import Sequence

WINDOWS = 3
"""Consecutive windows that must agree."""

CLOCK_NS = 100.0
"""Two readings of the clock: windows that differ by less than this cannot be told apart."""


def stable(windows: Sequence[float], tolerance: float, count: int = WINDOWS) -> bool:
    """Whether the last `count` window medians (ns) agree: max - min <= tolerance * min, or less
    than the clock can tell.
    """
    recent = list(windows[-count:])
    return len(recent) == count and max(recent) - min(recent) <= max(
        tolerance * min(recent), CLOCK_NS
    )
