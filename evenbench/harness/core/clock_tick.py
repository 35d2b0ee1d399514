"""The kernel's clock tick, the unit of CPU times in `/proc/stat` and of recorded steal."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from typing import Any

RECORDED = "clock_ticks_per_second"
"""The key of a result's environment facts."""

UNRECORDED = 100
"""Ticks per second of results without the key: the rate of Linux on x86-64 and AArch64."""


@cache
def ticks_per_second() -> int:
    """The tick rate of this machine's kernel."""
    return os.sysconf("SC_CLK_TCK")


def tick_ns() -> int:
    """The tick's length on this machine, in ns."""
    return 1_000_000_000 // ticks_per_second()


def recorded_tick_ns(environment: Mapping[str, Any] | None) -> int:
    """The tick's length on the machine of a recorded result, in ns."""
    return 1_000_000_000 // int((environment or {}).get(RECORDED, UNRECORDED))
