"""Quantities as text: parsers for flags (`20ms`, `1.5GiB`, `2%`, `5m`, `1,2,4`), and counts.

Errors share a form: the flag, its text, the kind of quantity, the expected form, an example.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Mapping
from typing import TypeVar

from evenbench.harness.core.errors import UsageError

UNITS: Mapping[str, Mapping[str, float]] = {
    "time": {"ns": 1.0, "us": 1e3, "µs": 1e3, "ms": 1e6, "s": 1e9},
    "duration": {"s": 1.0, "m": 60.0, "h": 3600.0},
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
    "rate": {"/s": 1.0},
}
"""Units by kind of quantity, in ns, seconds, bytes, as a share or per second."""

Number = TypeVar("Number", int, float)


def count(number: int, noun: str, plural: str = "", space: str = " ") -> str:
    """Format a count with its noun: `1 cell`, `1,200 cells`."""
    return f"{number:,}{space}{noun if number == 1 else plural or noun + 's'}"


def quantity(text: str, kind: str, flag: str = "", example: str = "") -> float:
    """Parse a number with a unit of `kind`, such as `20ms`, into ns, seconds, bytes or a share.

    Raises UsageError for text in another form.
    """
    units = UNITS[kind]
    match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*(\S+)", text.strip())
    if not match or match[2] not in units:
        form = f"a number of 0 or more and its unit ({', '.join(units)})"
        raise UsageError(_error(text, kind, form, example, flag))
    return float(match[1]) * units[match[2]]


def seconds_of(budget: str, flag: str = "--budget") -> float:
    """Parse a time budget like `90s`, `5m` or `1h`; infinite for an empty text.

    Raises UsageError for text in another form, and for 0.
    """
    if not budget:
        return math.inf
    seconds = quantity(budget, "duration", flag, "5m")
    if not seconds:
        raise UsageError(_error(budget, "duration", "more than 0", "5m", flag))
    return seconds


def whole_numbers(text: str) -> tuple[int, ...]:
    """Parse `1,2,4`. For argparse: raises ArgumentTypeError for text in another form."""
    return _list(text, int, "list of whole numbers", "1,2,4")


def times_ms(text: str) -> tuple[float, ...]:
    """Parse `0,10,100`, in ms. For argparse: raises ArgumentTypeError for text in another form."""
    return _list(text, float, "list of times in ms", "0,10,100")


def _list(
    text: str, number: Callable[[str], Number], kind: str, example: str
) -> tuple[Number, ...]:
    try:
        return tuple(number(word) for word in text.split(","))
    except ValueError:
        form = "numbers with commas between them"
        raise argparse.ArgumentTypeError(_error(text, kind, form, example)) from None


def _error(text: str, kind: str, form: str, example: str, flag: str = "") -> str:
    such = f", such as {example}" if example else ""
    return f"{flag} {text!r} is not a {kind}; expected {form}{such}".strip()


def price(text: str) -> float:
    """Return the machine's price per hour in any currency. Raises UsageError below or at 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise UsageError(
            f"--price-per-hour {text!r} is no price; "
            "expected a number over 0, in any currency, such as 0.20"
        )
    return value


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
