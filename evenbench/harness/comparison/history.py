"""The history of recorded results over commits: series, levels, change points, accepted changes.

docs/explanation/statistics.md has the rules.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evenbench.harness.collection import matrix
from evenbench.harness.results import records, series
from evenbench.harness.results.accepted_changes import Expectation
from evenbench.harness.results.series import METRICS, Series, Span
from evenbench.harness.statistics import change_points

FEW = 3
"""Runs named in a note."""


def gather(paths: Sequence[Path], expression: str, notes: list[str]) -> list[Series]:
    """The series of all matching cells, read one line at a time.

    `notes` receives a note for every record left out, and for records with a wrong clock.
    """
    from evenbench.harness.comparison import git

    matches = matrix.matcher(expression)
    gathering = series.Gathering()
    now = records.timestamp()
    misdated: set[str] = set()
    for record in records.stream(paths, notes.append):
        if matches(record["cell"]["id"]):
            try:
                gathering.add(record)
                if not _started(record) <= record["time"] <= now:
                    misdated.add(_run_of(record))
            except (TypeError, ValueError, AttributeError, KeyError) as error:
                # A line edited by hand breaks in many ways; the other lines are still useful.
                notes.append(
                    f"{record['cell']['id']} of {record['time']}: "
                    f"malformed record ({error}), left out; see docs/reference/results-file.md"
                )
    if misdated:
        notes.append(_misdated_words(sorted(misdated)))
    return gathering.series(git.positions())


def _started(record: Mapping[str, Any]) -> str:
    return str((record.get("run") or {}).get("started") or "")


def _run_of(record: Mapping[str, Any]) -> str:
    return str((record.get("run") or {}).get("id") or record["time"])


def _misdated_words(runs: Sequence[str]) -> str:
    more = f" and {len(runs) - FEW} more" if len(runs) > FEW else ""
    return (
        f"{', '.join(runs[:FEW])}{more}: dated before the run began or after now: a clock was "
        "wrong; cells with commits known to git are in order"
    )


def analyse(
    gathered: Sequence[Series],
    accepted: Sequence[Expectation],
    notes: list[str],
    detector: str = "asv",
) -> dict[str, Any]:
    """The levels and change points of all series, as JSON for the table, the page and `--json`.

    `alarms` are changes nobody accepted; `waiting` are changes with too few points to judge.
    `notes` receives a note for every accepted change without a recorded point.
    """
    ids = Counter(one.cell["id"] for one in gathered)
    judging = _Judging(accepted, detector)
    cells = [judging.cell(one, ids[one.cell["id"]] > 1) for one in gathered]
    shown = {name for one in gathered for name in (one.cell["id"], one.cell["key"])}
    notes += [
        f"accepted {entry.metric} of {entry.cell}: "
        f"no result of its environment has commit {entry.commit[:10]}"
        for entry in accepted
        if entry not in judging.used and entry.cell in shown
    ]
    changes = [change for cell in cells for change in cell.pop("changes")]
    return {
        "history": 1,
        "detector": detector,
        "cells": cells,
        "alarms": [change for change in changes if change["alarm"]],
        "waiting": [change for change in changes if not change["alarm"]],
        "accepted": [vars(entry) for entry in accepted],
        "notes": notes,
    }


@dataclass
class _Judging:
    """The accepted changes and the detector for all series; collects the used entries."""

    accepted: Sequence[Expectation]
    detector: str
    used: set[Expectation] = field(default_factory=set)

    def cell(self, gathered: Series, ambiguous: bool) -> dict[str, Any]:
        """A cell of the history; `ambiguous` if another cell has the same id."""
        cell, last = gathered.cell, gathered.points[-1]
        name = cell["key" if ambiguous else "id"]
        metrics, changes = self._metrics(gathered)
        return {
            "cell": cell["id"],
            "key": cell["key"],
            "name": f"{cell['id']} ({cell['key'][:6]})" if ambiguous else cell["id"],
            "outcomes": dict(Counter(point.outcome for point in gathered.points)),
            "points": [
                [point.time, point.commit, point.run, point.outcome] for point in gathered.points
            ],
            "environments": [
                {
                    "environment": span.environment,
                    "first": span.places[0],
                    "changes": list(span.changes),
                    "bridges": [],
                }
                for span in gathered.spans
            ],
            "spans": _span_numbers(gathered),
            "last": {"time": last.time, "commit": last.commit, "outcome": last.outcome},
            "metrics": metrics,
            "changes": [
                {"cell": cell["id"], "key": cell["key"], **change, "accept": _accept(name, change)}
                for change in changes
            ],
        }

    def _metrics(self, gathered: Series) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The points and levels of each recorded metric, and the changes of all metrics."""
        cell = gathered.cell
        own = [entry for entry in self.accepted if entry.cell in (cell["id"], cell["key"])]
        metrics: dict[str, Any] = {}
        changes: list[dict[str, Any]] = []
        for metric in METRICS:
            values = {
                place: point.values[metric]
                for place, point in enumerate(gathered.points)
                if metric in point.values
            }
            if values:
                entries = [entry for entry in own if entry.metric == metric]
                spans = [self._judge(gathered, span, metric, entries) for span in gathered.spans]
                changes += [change for _, change in spans if change]
                metrics[metric] = {
                    "points": [
                        [place, value.value, value.low, value.high]
                        for place, value in values.items()
                    ],
                    "levels": [level for levels, _ in spans for level in levels],
                }
        return metrics, changes

    def _judge(
        self, gathered: Series, span: Span, metric: str, entries: Sequence[Expectation]
    ) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
        """The levels of a metric in an environment, and the unaccepted change at the end.

        The newest accepted change is in force. Levels refer to points of the whole series.
        """
        from evenbench.harness.comparison.verdicts import MARGINS

        places = gathered.measured(span, metric)
        if not places:
            return [], None
        values = [gathered.points[place].values[metric].value for place in places]
        margin = change_points.margin(values, MARGINS[metric])
        detected = change_points.levels(values, self.detector)
        levels = change_points.drifts(values, detected, margin)
        change = change_points.judge(
            levels, margin, self._in_force(gathered, span, places, entries)
        )
        drawn = [
            {"start": places[level.start], "stop": places[level.stop - 1], "value": level.value}
            for level in levels
        ]
        return drawn, _change(gathered, span, metric, places, margin, change) if change else None

    def _in_force(
        self,
        gathered: Series,
        span: Span,
        places: Sequence[int],
        entries: Sequence[Expectation],
    ) -> change_points.Accepted | None:
        starts = [
            (start, entry)
            for entry in entries
            if (start := _start(gathered, places, span, entry)) is not None
        ]
        self.used.update(entry for _, entry in starts)
        newest = max(starts, key=lambda pair: pair[0], default=None)
        return change_points.Accepted(newest[0], newest[1].level) if newest else None


def _span_numbers(gathered: Series) -> list[int]:
    """The number of the span of every point."""
    spans = {place: number for number, span in enumerate(gathered.spans) for place in span.places}
    return [spans[place] for place in range(len(gathered.points))]


def _accept(cell: str, change: Mapping[str, Any]) -> str:
    """The command for accepting a change."""
    return f"evenbench history --accept {shlex.quote(cell)} {change['metric']} --reason TEXT"


def _start(gathered: Series, places: Sequence[int], span: Span, entry: Expectation) -> int | None:
    """The first point of an accepted change, found by commit, or by time without a commit."""
    if entry.environment not in ("", span.environment):
        return None
    points = [gathered.points[place] for place in places]
    if entry.commit:
        begins = [point.commit == entry.commit for point in points]
    else:
        begins = [bool(entry.since) and point.time >= entry.since for point in points]
    return begins.index(True) if True in begins else None


def _change(
    gathered: Series,
    span: Span,
    metric: str,
    places: Sequence[int],
    margin: float,
    change: change_points.Change,
) -> dict[str, Any]:
    first, settled = (gathered.points[places[start]] for start in (change.start, change.settled))
    before = gathered.points[places[change.start - 1]] if change.start else None
    return {
        "metric": metric,
        "kind": change.kind,
        "before": change.before,
        "after": change.after,
        "ratio": change.ratio,
        "margin": margin,
        "points": change.points,
        "alarm": change.is_alarm,
        "place": places[change.start],
        "commit": first.commit,
        "commit_before": before.commit if before else "",
        "time": first.time,
        "settled": {"commit": settled.commit, "time": settled.time},
        "environment": span.environment,
    }
