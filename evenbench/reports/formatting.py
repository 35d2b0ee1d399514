"""Numbers as text: durations, sizes and ratios with their units, and a dash for a missing
number."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from evenbench.harness.core import quantities
from evenbench.harness.statistics.estimates import Estimate

DASH = "–"
SPACE = "\N{NO-BREAK SPACE}"
"""Separates a number from its unit, and keeps both on one line."""

_DURATIONS_NS = ((1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1.0, "ns"))


def number(value: float | None, digits: int = 3) -> str:
    """Format a value with significant digits, without an exponent as long as readable."""
    if value is None or math.isnan(value):
        return DASH
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if value and not 1e-4 <= abs(value) < 1e7:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    return f"{value:,.{_decimals(value, digits)}f}"


def duration(value_ns: float | None) -> str:
    """Format a duration in a suitable unit: `8.12 ms`."""
    return (
        DASH
        if value_ns is None
        else _in_unit(value_ns, duration_unit(value_ns))
        if value_ns
        else f"0{SPACE}s"
    )


def seconds(value_seconds: float | None) -> str:
    """Format a duration given in seconds."""
    return DASH if value_seconds is None else duration(value_seconds * 1e9)


def duration_unit(value_ns: float) -> tuple[float, str]:
    """Return (nanoseconds per unit, unit) suitable for a duration."""
    return _unit(value_ns, _DURATIONS_NS)


def size(value_bytes: float | None) -> str:
    """Format a size in decimal units: `46.8 MB`."""
    return DASH if value_bytes is None else quantities.size(value_bytes, SPACE)


def amount(value: float | None, unit: str) -> str:
    """Format a count with a decimal prefix: `3.63 GFLOP`, `81.9 GFLOP/s`.

    Counts below a thousand are whole.
    """
    if value is None:
        return DASH
    for per, prefix in ((10**15, "P"), (10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k")):
        if value >= per:
            return f"{number(value / per)}{SPACE}{prefix}{unit}"
    return f"{value:.0f}{SPACE}{unit}"


@dataclass(frozen=True)
class Measured(Estimate):
    """An estimate with the value of each process, or of each sweep for a ratio."""

    values: tuple[float, ...] = ()


WIDEST = 10.0
"""The largest ratio of the ends of an interval. A wider interval says nothing and is not shown."""

NOT_JUDGED = "not judged"

NO_INTERVAL = "1 process, no interval"

LISTED = 4
"""Limit on listed values of an estimate that is not judged; more are shown as a range."""


def judged(estimate: Estimate | None) -> bool:
    """Whether to show an estimate: of a single process, or with an interval in `WIDEST`."""
    if estimate is None:
        return False
    if estimate.low is None or estimate.high is None:
        return estimate.processes <= 1
    return 0 < estimate.high <= WIDEST * estimate.low


def latency(estimate: Estimate | None, like_ns: float | None = None) -> str:
    """Format an estimate in nanoseconds, without its interval.

    In the unit of `like_ns` if given, so that a column has one unit.
    """
    if estimate is None:
        return DASH
    if not judged(estimate):
        return NOT_JUDGED
    per, name = duration_unit(like_ns or estimate.value)
    return f"{_fixed(estimate.value / per, _known_decimals(estimate, per))}{SPACE}{name}"


def latency_interval(estimate: Estimate | None, like_ns: float | None = None) -> str:
    """Format an interval in the unit of its value: `8.05 to 8.20 ms`, or `NO_INTERVAL`.

    The values of the processes replace an interval wider than `WIDEST`: `0.32, 0.35 and 55.7 ms`.
    """
    if estimate is None:
        return ""
    per, name = duration_unit(like_ns or estimate.value)
    return _interval(estimate, per, f"{SPACE}{name}")


def ratio(estimate: Estimate | None) -> str:
    """Format a speed-up without its interval: `2.31×`."""
    if estimate is None:
        return DASH
    if not judged(estimate):
        return NOT_JUDGED
    return f"{_fixed(estimate.value, _known_decimals(estimate, 1.0))}×"


def ratio_interval(estimate: Estimate | None) -> str:
    """Format the interval of a speed-up: `2.20 to 2.42×`, or `NO_INTERVAL`.

    The ratios of the sweeps replace an interval wider than `WIDEST`.
    """
    return "" if estimate is None else _interval(estimate, 1.0, "×")


def rate(estimate: Estimate | None) -> str:
    """Format a rate without its interval: `212`."""
    if estimate is None:
        return DASH
    return number(estimate.value) if judged(estimate) else NOT_JUDGED


def rate_interval(estimate: Estimate | None) -> str:
    """Format the interval of a rate: `205 to 219`; empty for a single process."""
    if estimate is None:
        return ""
    if not judged(estimate):
        return _values(estimate, 1.0, "")
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{number(estimate.low)} to {number(estimate.high)}"


def _interval(estimate: Estimate, per: float, unit: str) -> str:
    """An interval with the decimals of its value; unjudged, the values of the processes."""
    if not judged(estimate):
        return _values(estimate, per, unit)
    if estimate.low is None or estimate.high is None:
        return NO_INTERVAL
    decimals = _known_decimals(estimate, per)
    ends = (_fixed(end / per, decimals) for end in (estimate.low, estimate.high))
    return f"{' to '.join(ends)}{unit}"


def _known_decimals(estimate: Estimate, per: float) -> int:
    """Decimals for three digits of the value, and for at most two digits of its uncertainty.

    After the Guide to the expression of uncertainty in measurement, JCGM 100:2008, 7.2.6.
    """
    decimals = _decimals(estimate.value / per, 3)
    if estimate.low is None or estimate.high is None or estimate.high <= estimate.low:
        return decimals
    return min(decimals, _decimals((estimate.high - estimate.low) / 2 / per, 2))


def _fixed(value: float, decimals: int) -> str:
    """A value with a number of decimals; with two digits in place of a 0."""
    shown = f"{value:,.{decimals}f}"
    return number(value, 2) if value and not float(shown.replace(",", "")) else shown


def half_width(estimate: Estimate) -> str:
    """Format half of an interval on the logarithmic scale: `±4 %`; empty without an interval."""
    if estimate.low is None or estimate.high is None or not judged(estimate):
        return ""
    return f"±{percent(math.sqrt(estimate.high / estimate.low) - 1)}"


def percent(share: float) -> str:
    """Format a share in percent, rounded up, because a share is a limit: `2 %`, `0.8 %`, `34 %`."""
    steps = 1000 if share < 0.0995 else 100
    return f"{math.ceil(round(share * steps, 6)) / (steps // 100):g}{SPACE}%"


def _values(estimate: Estimate, per: float, unit: str) -> str:
    """The values behind an unjudged estimate; a range for many."""
    values = estimate.values if isinstance(estimate, Measured) else ()
    if not values:
        return f"values differ more than {WIDEST:.0f} times"
    shown = [number(value / per) for value in sorted(values)]
    if len(shown) > LISTED:
        return f"{len(shown)} values, {shown[0]} to {shown[-1]}{unit}"
    return f"{listing(shown)}{unit}"


def with_interval(value: str, interval: str) -> str:
    """Join value and interval: `8.12 ms (8.05 to 8.20 ms)`; the value alone without interval."""
    return f"{value} ({interval})" if interval else value


def count(number: int, noun: str, plural: str = "") -> str:
    """Format a count with its noun: `1 cell`, `35 cells`."""
    return quantities.count(number, noun, plural, SPACE)


def listing(items: Iterable[Any], last: str = "and") -> str:
    """Join items: `a, b and c`."""
    words = [str(item) for item in items]
    return (
        words[0]
        if len(words) == 1
        else f"{', '.join(words[:-1])} {last} {words[-1]}"
        if words
        else ""
    )


def plain(value: Any) -> str:
    """Format any recorded JSON value: a dash for nothing, `key=value` for an object."""
    if isinstance(value, str):
        return value or DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return number(value, 4)
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={plain(item)}" for key, item in value.items()) or DASH
    if isinstance(value, list | tuple):
        return ", ".join(plain(item) for item in value) or DASH
    return DASH if value is None else str(value)


_THREE_DIGITS = ((2, 1.0, 9.99), (1, 10.0, 99.9), (0, 100.0, 999.0))
"""Decimals for three digits, by (decimals, low, high), valid for any rounding."""


def _decimals(value: float, digits: int) -> int:
    if digits == 3:  # the usual case, four times as fast
        for decimals, low, high in _THREE_DIGITS:
            if low <= value < high:
                return decimals
    # The exponent of the rounded value: 9.996 has one digit more than 9.99.
    exponent = int(f"{value:.{digits - 1}e}".rpartition("e")[2])
    return max(0, digits - 1 - exponent) if value else 0


def _unit(value: float, units: tuple[tuple[float, str], ...]) -> tuple[float, str]:
    rounded = abs(value) * 1.0005  # 999.7 µs is shown as 1.00 ms, not as 1,000 µs
    return next((unit for unit in units if rounded >= unit[0]), units[-1])


def _in_unit(value: float, unit: tuple[float, str]) -> str:
    return f"{number(value / unit[0])}{SPACE}{unit[1]}"
