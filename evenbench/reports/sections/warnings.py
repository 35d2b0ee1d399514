"""Warnings about runs on an unsteady machine, and every kind of warning about cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from evenbench.harness.core.records.outcome import OutcomeRecord
from evenbench.harness.results import quality_warnings
from evenbench.reports import formatting, warning_kinds
from evenbench.reports.result_groups import Record, Result

WarningRow = tuple[str, str, str]
"""A run or a number of cells, the observation, and advice."""

NAMED = 6
"""Limit on ids of cells in a row."""


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


def kinds(members: Sequence[Result]) -> list[tuple[str, str, str, str]]:
    """Return every kind of warning about cells: cells, observation, advice, and ids of cells."""
    return [
        (
            formatting.count(len(kind.cells), "cell"),
            kind.seen,
            kind.advice,
            ", ".join([*kind.cells[:NAMED], *(["..."] if len(kind.cells) > NAMED else [])]),
        )
        for kind in warning_kinds.kinds(members)
    ]
