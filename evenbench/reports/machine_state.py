"""The machine while laps were timed, and comparisons withheld because of other work on it.

Other processes do not slow all runtimes alike: threads that wait for a core make a runtime with
more or spinning threads slower than the others. Rounds cancel drift, not such a difference. So a
ratio counts only if several processes agree on it, within `WIDEST_BUSY`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, cast

from evenbench.harness.core import quantities, thresholds
from evenbench.harness.core.records.outcome import OutcomeRecord
from evenbench.harness.results import quality_warnings
from evenbench.harness.statistics.estimates import Estimate

WIDEST_BUSY = 2.0
"""The widest interval of a ratio on a busy machine, high over low."""


class Timed(Protocol):
    """A result with its recorded line and `busy_cores`, computed once."""

    @property
    def record(self) -> Any: ...
    @property
    def busy_cores(self) -> float: ...


def busy_cores(record: Mapping[str, Any]) -> float:
    """Return the cores used by other processes while laps were timed, if threads had to wait.

    0 for enough free cores for the threads of the cell, and for lines without blocks.
    """
    line = cast(OutcomeRecord, record)
    used = quality_warnings.foreign_cores(line)
    if used is None or used <= thresholds.FOREIGN_CORES:
        return 0.0
    threads = int((line.get("cell") or {}).get("threads") or 1)
    cores = int((line.get("environment") or {}).get("cores") or 0)
    return used if not cores or used + threads > cores + thresholds.FOREIGN_CORES else 0.0


def withheld(one: Timed, other: Timed, estimate: Estimate | None) -> str:
    """Return why the ratio of two results is not judged; empty for a ratio that counts."""
    if one is other:
        return ""
    busy = max(one.busy_cores, other.busy_cores)
    return _reason(busy, estimate) if busy else ""


def _reason(busy: float, estimate: Estimate | None) -> str:
    ran = f"other processes used {busy:.1f} cores"
    if estimate is None or estimate.processes < 2:
        return f"{ran}, and 1 process cannot show their share"
    low, high = estimate.low or 0.0, estimate.high or 0.0
    agree = low > 0 and high / low <= WIDEST_BUSY
    return "" if agree else f"{ran}, and the processes disagree"


def sentence(members: Iterable[Timed], unjudged: int = 0) -> str:
    """Return what the machine did, for a title; empty for a quiet machine.

    `unjudged` is the number of withheld comparisons.
    """
    timed = [result for result in members if result.record.get("blocks")]
    used = [result.busy_cores for result in timed if result.busy_cores]
    if not used:
        return ""
    text = (
        f"The machine was busy: other processes used {_range(used)} cores while {len(used)} of "
        f"{quantities.count(len(timed), 'cell was', 'cells were')} timed."
    )
    if not unjudged:
        return text
    verb = "comparison is" if unjudged == 1 else "comparisons are"
    return f"{text} {unjudged} {verb} not judged; stop other work and run again."


def _range(values: Sequence[float]) -> str:
    low, high = f"{min(values):.1f}", f"{max(values):.1f}"
    return low if low == high else f"{low} to {high}"
