"""Warnings about runs on an unsteady machine: drift, bimodal laps, clocks, other processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from evenbench.harness.core.record_types import OutcomeRecord
from evenbench.harness.results import quality_warnings
from evenbench.reports.result_groups import Record, Result

WarningRow = tuple[str, str, str]
"""A run, the observation, and advice."""


def rows(members: Sequence[Result]) -> list[WarningRow]:
    """Return all warnings about runs, newest run first; empty if all runs were quiet."""
    records: dict[str, list[Record]] = {}
    for result in members:
        records.setdefault(result.run, []).append(result.record)
    return [
        (run, warning.what, warning.do)
        for run in sorted(records, reverse=True)
        for warning in quality_warnings.about_run(cast(list[OutcomeRecord], records[run]))
    ]
