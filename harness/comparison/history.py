"""Recorded results over commits: gathers series, judges change points, joins accepted changes."""

from __future__ import annotations

import json
import os
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.collection import matrix
from harness.core.errors import UsageError
from harness.results import records, series
from harness.results.accepted_changes import Expectation
from harness.results.series import METRICS, Series, Span
from harness.statistics import change_points

if TYPE_CHECKING:
    pass


def strangers(accepted: Sequence[Expectation], cells: Sequence[Mapping[str, Any]]) -> list[str]:
    """In words, the entries of the expectations file that are of no recorded cell, as after a
    typing error.
    """
    known = {name for cell in cells for name in (cell["cell"], cell["key"])}
    lost = [each for each in accepted if each.cell not in known]
    return [
        f"accepted {each.metric} of {each.cell}: no recorded cell has this id or key; mend the entry, or remove it"
        for each in lost
    ]


def gathered(paths: Sequence[Path], expression: str, notes: list[str]) -> list[Series]:
    """The series of all cells that match, read one line at a time; what was left out is added to
    `notes`.
    """
    from harness.comparison import git

    matches = matrix.matcher(expression)
    gathering = series.Gathering()
    now = records.timestamp()
    misdated: set[str] = set()
    for record in records.stream(paths, notes.append):
        if matches(record["cell"]["id"]):
            try:
                gathering.add(record)
                if not str((record.get("run") or {}).get("started") or "") <= record["time"] <= now:
                    misdated.add(str((record.get("run") or {}).get("id") or record["time"]))
            except (TypeError, ValueError, AttributeError, KeyError) as error:
                # A line that was edited by hand breaks in a thousand ways; the others are worth
                # showing.
                notes.append(
                    f"{record['cell']['id']} of {record['time']}: no record as docs/results.md has it ({error}), left out"
                )
    if misdated:
        few = ", ".join(sorted(misdated)[:3]) + (
            f" and {len(misdated) - 3} more" if len(misdated) > 3 else ""
        )
        notes.append(
            f"{few}: dated before the run began or after now: a clock was wrong; cells whose commits git knows are in order"
        )
    return gathering.series(git.places())


def told(
    found: Sequence[Series],
    accepted: Sequence[Expectation],
    notes: list[str],
    detector: str = "asv",
) -> dict[str, Any]:
    """All that the table, the page and `--json` say, as plain JSON; docs/statistics.md has the
    rules.
    """
    ambiguous = {
        identity
        for identity, many in Counter(each.cell["id"] for each in found).items()
        if many > 1
    }
    used: set[Expectation] = set()
    cells = [_cell(each, each.cell["id"] in ambiguous, accepted, used, detector) for each in found]
    shown = {name for each in found for name in (each.cell["id"], each.cell["key"])}
    idle = [each for each in accepted if each not in used and each.cell in shown]
    notes += [
        f"accepted {each.metric} of {each.cell}: nothing recorded of its environment has commit {each.commit[:10]}"
        for each in idle
    ]
    steps_found = [change for cell in cells for change in cell.pop("changes")]
    return {
        "history": 1,
        "detector": detector,
        "cells": cells,
        "alarms": [change for change in steps_found if change["alarm"]],
        "waiting": [change for change in steps_found if not change["alarm"]],
        "accepted": [vars(each) for each in accepted],
        "notes": notes,
    }


def _cell(
    found: Series,
    ambiguous: bool,
    accepted: Sequence[Expectation],
    used: set[Expectation],
    detector: str,
) -> dict[str, Any]:
    cell, last = found.cell, found.points[-1]
    own = [each for each in accepted if each.cell in (cell["id"], cell["key"])]
    metrics: dict[str, Any] = {}
    changes: list[dict[str, Any]] = []
    for metric in METRICS:
        stated = {
            place: point.values[metric]
            for place, point in enumerate(found.points)
            if metric in point.values
        }
        if stated:
            expected = [each for each in own if each.metric == metric]
            spans = [_judged(found, span, metric, expected, used, detector) for span in found.spans]
            changes += [change for levels, change in spans if change]
            metrics[metric] = {
                "points": [
                    [place, each.value, each.low, each.high] for place, each in stated.items()
                ],
                "levels": [level for levels, _ in spans for level in levels],
            }
    return {
        "cell": cell["id"],
        "key": cell["key"],
        "name": f"{cell['id']} ({cell['key'][:6]})" if ambiguous else cell["id"],
        "outcomes": dict(Counter(point.outcome for point in found.points)),
        "points": [[point.time, point.commit, point.run, point.outcome] for point in found.points],
        "environments": [
            {
                "environment": span.environment,
                "first": span.places[0],
                "changes": list(span.changes),
                "bridges": [],
            }
            for span in found.spans
        ],
        "spans": _span_of_each(found),
        "last": {"time": last.time, "commit": last.commit, "outcome": last.outcome},
        "metrics": metrics,
        "changes": [
            {
                "cell": cell["id"],
                "key": cell["key"],
                **change,
                "accept": _command(cell["key" if ambiguous else "id"], change),
            }
            for change in changes
        ],
    }


def _span_of_each(found: Series) -> list[int]:
    spans = {place: number for number, span in enumerate(found.spans) for place in span.places}
    return [spans[place] for place in range(len(found.points))]


def _command(cell: str, change: Mapping[str, Any]) -> str:
    return f"evenbench history --accept {shlex.quote(cell)} {change['metric']} --reason TEXT"


def _judged(
    found: Series,
    span: Span,
    metric: str,
    own: Sequence[Expectation],
    used: set[Expectation],
    detector: str,
) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """The levels of one metric in one environment, as places of the series, and the step at its end
    that nobody accepted.
    """
    from harness.comparison.verdicts import MARGINS

    places = found.measured(span, metric)
    if not places:
        return [], None
    values = [found.points[place].values[metric].value for place in places]
    margin = change_points.margin(values, MARGINS[metric])
    levels = change_points.drifts(values, change_points.levels(values, detector), margin)
    starts = [
        (start, each) for each in own if (start := _start(found, places, span, each)) is not None
    ]
    used.update(each for _, each in starts)
    in_force = max(starts, key=lambda found: found[0], default=None)
    change = change_points.judge(
        levels, margin, change_points.Accepted(in_force[0], in_force[1].level) if in_force else None
    )
    shown = [
        {"start": places[each.start], "stop": places[each.stop - 1], "value": each.value}
        for each in levels
    ]
    return shown, _told(found, span, metric, places, margin, change) if change else None


def _start(found: Series, places: Sequence[int], span: Span, expected: Expectation) -> int | None:
    """The first point from which an expectation holds: the first of its commit, or of its time
    where it names no commit.
    """
    if expected.environment not in ("", span.environment):
        return None
    points = [found.points[place] for place in places]
    if expected.commit:
        return next(
            (start for start, point in enumerate(points) if point.commit == expected.commit), None
        )
    return next(
        (
            start
            for start, point in enumerate(points)
            if expected.since and point.time >= expected.since
        ),
        None,
    )


def _told(
    found: Series,
    span: Span,
    metric: str,
    places: Sequence[int],
    margin: float,
    change: change_points.Change,
) -> dict[str, Any]:
    first, settled = (found.points[places[start]] for start in (change.start, change.settled))
    before = found.points[places[change.start - 1]] if change.start else None
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


def pairs(paths: Sequence[Path], cells: set[str], notes: list[str]) -> list[dict[str, Any]]:
    """What paired comparisons in the same folders said of these cells, oldest first, without their
    samples.
    """
    found: list[dict[str, Any]] = []
    for file in sorted(
        file for path in paths if path.is_dir() for file in path.glob("compare-*.json")
    ):
        try:
            comparison = json.loads(file.read_text())
            found += [row for row in _pairs_of(comparison) if row["cell"] in cells]
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            notes.append(f"{file.name}: no comparison that can be read ({error}), left out")
    return found


def _pairs_of(comparison: Mapping[str, Any]) -> list[dict[str, Any]]:
    if comparison.get("compare") != 1:
        raise ValueError("not written by this version of `evenbench compare`")
    head = {
        "time": comparison["time"],
        "base": comparison["base"],
        "head": comparison["head"],
        "bridge": comparison.get("bridge"),
    }
    return [
        {**head, "cell": cell["cell"], "metric": metric, "verdict": judged["verdict"]}
        | {
            key: (judged["confirmation"] or judged["screen"])[key]
            for key in ("ratio", "low", "high")
        }
        for cell in comparison["cells"]
        if not cell["control"]
        for metric, judged in cell["metrics"].items()
    ]


def join(value: Mapping[str, Any]) -> None:
    """Give each new environment the bridges over to it: what its upgrade did, by `evenbench
    bridge`, the newest of each metric.
    """
    rows = [{**row, "moves": _moves(row["bridge"])} for row in value["pairs"] if row["bridge"]]
    for cell in value["cells"]:
        for environment in cell["environments"]:
            changed = {words.lower() for words in environment["changes"]}
            over = [
                row
                for row in rows
                if row["cell"] == cell["cell"]
                and {words.lower() for words in row["moves"]} <= changed
            ]
            environment["bridges"] = list({row["metric"]: row for row in over}.values())


def _moves(bridge: Mapping[str, Mapping[str, str]]) -> list[str]:
    """The words that a span's changes have for it."""
    return [
        f"{package} {old} → {bridge['to'].get(package, 'absent')}"
        for package, old in bridge["from"].items()
    ]


def _expectation(cell: str, change: Mapping[str, Any], reason: str) -> Expectation:
    settled, level = change["settled"], float(f"{change['after']:.6g}")
    return Expectation(
        cell,
        change["metric"],
        level,
        settled["commit"],
        reason,
        settled["time"],
        change["environment"],
    )


def read_expectations(file: Path) -> str:
    """The text of the file, empty where there is none. Raises UsageError where it cannot be read."""
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{file}: cannot be read ({error}); it should be TOML, see docs/statistics.md"
        ) from error


def write_expectations(file: Path, text: str) -> None:
    """Replace the file as a whole, so that a full disk leaves the old one. Raises UsageError where
    it cannot be written.
    """
    copy = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        copy.write_text(text, encoding="utf-8")
        copy.replace(file)
    except OSError as error:
        copy.unlink(missing_ok=True)
        raise UsageError(
            f"{file}: could not be written ({error.strerror}); what it held is unchanged"
        ) from error
