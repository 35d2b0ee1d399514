"""Quantities with units, as people write them: `20ms`, `1.5GiB`, `2%`, `5m`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from harness.core.errors import UsageError

UNITS: Mapping[str, Mapping[str, float]] = {
    "time": {"ns": 1.0, "us": 1e3, "µs": 1e3, "ms": 1e6, "s": 1e9},
    "size": {
        "B": 1.0,
        "kB": 1e3,
        "KB": 1e3,
        "MB": 1e6,
        "GB": 1e9,
        "KiB": 2.0**10,
        "MiB": 2.0**20,
        "GiB": 2.0**30,
    },
    "share": {"%": 0.01},
}
"""What each kind of quantity may be given in, as multiples of what it is kept in: nanoseconds,
bytes, a share.
"""


def quantity(text: str, kind: str, flag: str = "", example: str = "") -> float:
    """A number with its unit, such as `20ms`, in nanoseconds, bytes or as a share, by `kind`.
    Raises UsageError for anything else.
    """
    units = UNITS[kind]
    match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*(\S+)", text.strip())
    if not match or match[2] not in units:
        form = f"a number of 0 or more and its unit ({', '.join(units)})" + (
            f", such as {example}" if example else ""
        )
        raise UsageError(f"{flag} {text!r} is no {kind}; expected {form}".strip())
    return float(match[1]) * units[match[2]]


def seconds_of(budget: str) -> float:
    """Seconds in `90s`, `5m` or `1h`; infinite for none. Raises UsageError for anything else."""
    if not budget:
        return math.inf
    units = {"s": 1.0, "m": 60.0, "h": 3600.0}
    try:
        found = float(budget[:-1]) * units[budget[-1]]
    except (KeyError, ValueError):
        found = math.nan
    if not 0 < found < math.inf:
        raise UsageError(f"--budget {budget}: expected a time such as 90s, 5m or 1h")
    return found


_SIZES = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B"))


def size(size_bytes: float, separator: str = " ") -> str:
    """Format a size in decimal units with three significant digits: `46.8 MB`, `999 kB`."""
    # Units are chosen by the rounded value: 999,700 bytes are 1.00 MB, not 1,000 kB.
    bytes_per_unit, unit = next(
        (entry for entry in _SIZES if abs(size_bytes) * 1.0005 >= entry[0]), _SIZES[-1]
    )
    value = size_bytes / bytes_per_unit
    # The exponent of the rounded value: 9.996 has one digit more than 9.99.
    exponent = int(f"{value:.2e}".rpartition("e")[2]) if value else 2
    return f"{value:,.{max(0, 2 - exponent)}f}{separator}{unit}"
