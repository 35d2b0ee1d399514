"""Whether each run was measured on one steady machine: drift, two levels of laps, clocks,
neighbours; and what to do about it.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.results import quality_warnings
from reports.results import Record, Result

WarningRow = tuple[str, str, str]
"""A run, what was seen in it, and what to do."""


def rows(members: Sequence[Result]) -> list[WarningRow]:
    """Everything that a reader must mind about a run as a whole, newest run first; empty where all
    of them were quiet.
    """
    found: dict[str, list[Record]] = {}
    for result in members:
        found.setdefault(result.run, []).append(result.record)
    return [
        (run, warning.what, warning.do)
        for run in sorted(found, reverse=True)
        for warning in quality_warnings.about_run(found[run])
    ]
