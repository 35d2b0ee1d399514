"""`evenbench history`: recorded results over commits, the steps in them, and the file of the steps that somebody accepted."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import expectations, matrix, results, series, steps, terminal
from harness.codes import NOTHING, PASS, WORSE
from harness.expectations import Expectation
from harness.series import METRICS, Series, Span
from harness.types import UsageError

if TYPE_CHECKING:
    from rich.console import Console

EPILOG = """\
  evenbench history                                  the table, and site/history.html
  evenbench history results -k "resnet18 and ort" --json
  evenbench history --confirm --budget 20m           each step for the worse again in pairs, then its commit
  evenbench history --accept CELL METRIC --reason "why it may be so from now on"
METRIC is latency, error, memory or artifact; CELL is an id, or a key where two cells share an id.

exit codes:
  0  no step that nobody accepted
  1  a step, for the worse or the better, that nobody accepted
  2  interrupted
  3  a fault of evenbench itself, with its traceback
  4  what was asked for cannot be
  5  no recorded outcome, or none that -k leaves
"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The flags of the command."""
    command.add_argument("paths", nargs="*", default=["results"], metavar="PATH", help="results files or folders (results)")
    command.add_argument("-k", dest="expression", default="", metavar="EXPR", help="only cells whose id matches, as pytest's -k")
    command.add_argument("-o", "--output", default="site", metavar="DIR", help="where history.html is written (site)")
    command.add_argument("--expectations", default=expectations.FILE, metavar="FILE", help=f"what was accepted ({expectations.FILE})")
    command.add_argument("--accept", nargs=2, metavar=("CELL", "METRIC"), help="add the steps of one series to that file, and nothing else")
    command.add_argument("--reason", default="", metavar="TEXT", help="why it is accepted")
    command.add_argument("--detector", choices=sorted(steps.DETECTORS), default="asv", help="what finds the steps (asv)")
    command.add_argument("--confirm", action="store_true", help="measure each step for the worse again in pairs, and bisect it")
    command.add_argument("--budget", default="", metavar="TIME", help="with --confirm, of each step: 90s, 5m or 1h")
    command.add_argument("--json", action="store_true", help="one JSON value on standard output instead of text")


def run(options: argparse.Namespace) -> int:
    """The command; returns its exit code. Standard error is where a long search says what it does."""
    file = Path(options.expectations)
    text = read_expectations(file)
    accepted = expectations.parse(text, METRICS, str(file))
    notes: list[str] = []
    found = gathered([Path(path) for path in options.paths], options.expression, notes)
    if not found:
        left = f"-k {options.expression!r} leaves nothing" if options.expression else "no recorded outcome"
        print(f"evenbench: error: {' '.join(options.paths)}: {left}; run `evenbench run` first, or name other paths", file=sys.stderr)
        return NOTHING
    value = told(found, accepted, notes, options.detector)
    value["pairs"] = pairs([Path(path) for path in options.paths], {cell["cell"] for cell in value["cells"]}, notes)
    join(value)
    notes += [] if options.expression else strangers(accepted, value["cells"])
    if options.accept:
        return accept(options, value, file, text)
    if options.confirm:
        confirm(value, options, terminal.console(stderr=True))
    page = _page(value, options.output)
    if options.json:
        print(json.dumps({**value, "page": str(page)}, allow_nan=False))
    else:
        from reports import history as pages

        console = terminal.console()
        pages.show(value, console)
        console.print(f"page  {page}", soft_wrap=True)
    return WORSE if value["alarms"] else PASS


def strangers(accepted: Sequence[Expectation], cells: Sequence[Mapping[str, Any]]) -> list[str]:
    """In words, the entries of the expectations file that are of no recorded cell, as after a typing error."""
    known = {name for cell in cells for name in (cell["cell"], cell["key"])}
    lost = [each for each in accepted if each.cell not in known]
    return [f"accepted {each.metric} of {each.cell}: no recorded cell has this id or key; mend the entry, or remove it" for each in lost]


def _page(value: Mapping[str, Any], folder: str) -> Path:
    from reports import history as pages

    try:
        return pages.write(value, Path(folder))
    except OSError as error:
        raise UsageError(f"report folder {folder} cannot be written ({error.strerror}); name another with -o") from error


def gathered(paths: Sequence[Path], expression: str, notes: list[str]) -> list[Series]:
    """The series of all cells that match, read one line at a time; what was left out is added to `notes`."""
    from harness import commits

    matches = matrix.matcher(expression)
    gathering = series.Gathering()
    now = results.timestamp()
    misdated: set[str] = set()
    for record in results.stream(paths, notes.append):
        if matches(record["cell"]["id"]):
            try:
                gathering.add(record)
                if not str((record.get("run") or {}).get("started") or "") <= record["time"] <= now:
                    misdated.add(str((record.get("run") or {}).get("id") or record["time"]))
            except (TypeError, ValueError, AttributeError, KeyError) as error:
                # A line that was edited by hand breaks in a thousand ways; the others are worth showing.
                notes.append(f"{record['cell']['id']} of {record['time']}: no record as docs/results.md has it ({error}), left out")
    if misdated:
        few = ", ".join(sorted(misdated)[:3]) + (f" and {len(misdated) - 3} more" if len(misdated) > 3 else "")
        notes.append(f"{few}: dated before the run began or after now: a clock was wrong; cells whose commits git knows are in order")
    return gathering.series(commits.places())


def told(found: Sequence[Series], accepted: Sequence[Expectation], notes: list[str], detector: str = "asv") -> dict[str, Any]:
    """All that the table, the page and `--json` say, as plain JSON; docs/statistics.md has the rules."""
    ambiguous = {identity for identity, many in Counter(each.cell["id"] for each in found).items() if many > 1}
    used: set[Expectation] = set()
    cells = [_cell(each, each.cell["id"] in ambiguous, accepted, used, detector) for each in found]
    shown = {name for each in found for name in (each.cell["id"], each.cell["key"])}
    idle = [each for each in accepted if each not in used and each.cell in shown]
    notes += [f"accepted {each.metric} of {each.cell}: nothing recorded of its environment has commit {each.commit[:10]}" for each in idle]
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


def _cell(found: Series, ambiguous: bool, accepted: Sequence[Expectation], used: set[Expectation], detector: str) -> dict[str, Any]:
    cell, last = found.cell, found.points[-1]
    own = [each for each in accepted if each.cell in (cell["id"], cell["key"])]
    metrics: dict[str, Any] = {}
    changes: list[dict[str, Any]] = []
    for metric in METRICS:
        stated = {place: point.values[metric] for place, point in enumerate(found.points) if metric in point.values}
        if stated:
            expected = [each for each in own if each.metric == metric]
            spans = [_judged(found, span, metric, expected, used, detector) for span in found.spans]
            changes += [change for levels, change in spans if change]
            metrics[metric] = {
                "points": [[place, each.value, each.low, each.high] for place, each in stated.items()],
                "levels": [level for levels, _ in spans for level in levels],
            }
    return {
        "cell": cell["id"],
        "key": cell["key"],
        "name": f"{cell['id']} ({cell['key'][:6]})" if ambiguous else cell["id"],
        "outcomes": dict(Counter(point.outcome for point in found.points)),
        "points": [[point.time, point.commit, point.run, point.outcome] for point in found.points],
        "environments": [
            {"environment": span.environment, "first": span.places[0], "changes": list(span.changes), "bridges": []} for span in found.spans
        ],
        "spans": _span_of_each(found),
        "last": {"time": last.time, "commit": last.commit, "outcome": last.outcome},
        "metrics": metrics,
        "changes": [
            {"cell": cell["id"], "key": cell["key"], **change, "accept": _command(cell["key" if ambiguous else "id"], change)}
            for change in changes
        ],
    }


def _span_of_each(found: Series) -> list[int]:
    spans = {place: number for number, span in enumerate(found.spans) for place in span.places}
    return [spans[place] for place in range(len(found.points))]


def _command(cell: str, change: Mapping[str, Any]) -> str:
    return f"evenbench history --accept {shlex.quote(cell)} {change['metric']} --reason TEXT"


def _judged(
    found: Series, span: Span, metric: str, own: Sequence[Expectation], used: set[Expectation], detector: str
) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """The levels of one metric in one environment, as places of the series, and the step at its end that nobody accepted."""
    from harness.pairing import MARGINS

    places = found.measured(span, metric)
    if not places:
        return [], None
    values = [found.points[place].values[metric].value for place in places]
    margin = steps.margin(values, MARGINS[metric])
    levels = steps.drifts(values, steps.levels(values, detector), margin)
    starts = [(start, each) for each in own if (start := _start(found, places, span, each)) is not None]
    used.update(each for _, each in starts)
    in_force = max(starts, key=lambda found: found[0], default=None)
    change = steps.judge(levels, margin, steps.Accepted(in_force[0], in_force[1].level) if in_force else None)
    shown = [{"start": places[each.start], "stop": places[each.stop - 1], "value": each.value} for each in levels]
    return shown, _told(found, span, metric, places, margin, change) if change else None


def _start(found: Series, places: Sequence[int], span: Span, expected: Expectation) -> int | None:
    """The first point from which an expectation holds: the first of its commit, or of its time where it names no commit."""
    if expected.environment not in ("", span.environment):
        return None
    points = [found.points[place] for place in places]
    if expected.commit:
        return next((start for start, point in enumerate(points) if point.commit == expected.commit), None)
    return next((start for start, point in enumerate(points) if expected.since and point.time >= expected.since), None)


def _told(found: Series, span: Span, metric: str, places: Sequence[int], margin: float, change: steps.Change) -> dict[str, Any]:
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
    """What paired comparisons in the same folders said of these cells, oldest first, without their samples."""
    found: list[dict[str, Any]] = []
    for file in sorted(file for path in paths if path.is_dir() for file in path.glob("compare-*.json")):
        try:
            comparison = json.loads(file.read_text())
            found += [row for row in _pairs_of(comparison) if row["cell"] in cells]
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            notes.append(f"{file.name}: no comparison that can be read ({error}), left out")
    return found


def _pairs_of(comparison: Mapping[str, Any]) -> list[dict[str, Any]]:
    if comparison.get("compare") != 1:
        raise ValueError("not written by this version of `evenbench compare`")
    head = {"time": comparison["time"], "base": comparison["base"], "head": comparison["head"], "bridge": comparison.get("bridge")}
    return [
        {**head, "cell": cell["cell"], "metric": metric, "verdict": judged["verdict"]}
        | {key: (judged["confirmation"] or judged["screen"])[key] for key in ("ratio", "low", "high")}
        for cell in comparison["cells"]
        if not cell["control"]
        for metric, judged in cell["metrics"].items()
    ]


def confirm(value: Mapping[str, Any], options: argparse.Namespace, console: Console) -> None:
    """Measure every alarm for the worse again, in pairs, from the commit before it to the one at which it settled, and bisect it.

    What came of it is the alarm's `confirmed`: words, and the first commit where one was found. An alarm stays one whatever comes of
    it, since what is recorded is recorded; one that does not show in pairs was the machine's.
    """
    from harness import bisection

    for alarm in value["alarms"]:
        before, after = alarm["commit_before"], alarm["settled"]["commit"]
        if alarm["kind"] != "worse":
            alarm["confirmed"] = {"words": ["an improvement is not bisected"], "first": None}
        elif not before or not after or before == after:
            alarm["confirmed"] = {"words": ["recorded without two commits to compare"], "first": None}
        else:
            words = [before, after, "--cell", alarm["cell"], "--metric", alarm["metric"], "--results", _kept(options.paths)]
            console.print(f"evenbench bisect {shlex.join(words)}", markup=False, soft_wrap=True)
            try:
                found = bisection.search(bisection.parsed([*words, *(["--budget", options.budget] if options.budget else [])]), console)
                alarm["confirmed"] = {"words": found["words"], "first": found["first"]}
            except UsageError as error:
                alarm["confirmed"] = {"words": [str(error)], "first": None}


def _kept(paths: Sequence[str]) -> str:
    """The folder into which the steps of a bisection are written: the first that was named, or the one of the first file."""
    first = Path(paths[0])
    return str(first if first.is_dir() else first.parent)


def join(value: Mapping[str, Any]) -> None:
    """Give each new environment the bridges over to it: what its upgrade did, by `evenbench bridge`, the newest of each metric."""
    rows = [{**row, "moves": _moves(row["bridge"])} for row in value["pairs"] if row["bridge"]]
    for cell in value["cells"]:
        for environment in cell["environments"]:
            changed = {words.lower() for words in environment["changes"]}
            over = [row for row in rows if row["cell"] == cell["cell"] and {words.lower() for words in row["moves"]} <= changed]
            environment["bridges"] = list({row["metric"]: row for row in over}.values())


def _moves(bridge: Mapping[str, Mapping[str, str]]) -> list[str]:
    """The words that a span's changes have for it."""
    return [f"{package} {old} → {bridge['to'].get(package, 'absent')}" for package, old in bridge["from"].items()]


def accept(options: argparse.Namespace, value: Mapping[str, Any], file: Path, text: str) -> int:
    """Add the steps of one series to the expectations file, which is replaced as a whole. Raises UsageError where there is none."""
    cell, metric = options.accept
    if not options.reason.strip():
        raise UsageError('--accept needs --reason "...": say why the change is accepted')
    known = {found["key"] for found in value["cells"] if cell in (found["cell"], found["key"])}
    if not known:
        raise UsageError(f"--accept {cell}: no recorded cell has this id or key; `evenbench history` shows them")
    if len(known) > 1:
        raise UsageError(f"--accept {cell}: {len(known)} cells have this id; name one by its key: {', '.join(sorted(known))}")
    if metric not in METRICS:
        raise UsageError(f"--accept {cell} {metric}: no such metric; expected one of {', '.join(METRICS)}")
    changes = [change for change in value["alarms"] if change["key"] in known and change["metric"] == metric]
    if not changes:
        raise UsageError(f"--accept {cell} {metric}: there is no step that waits to be accepted; `evenbench history` shows those")
    for change in changes:
        text = expectations.added(text, _expectation(cell, change, options.reason.strip()))
    expectations.parse(text, METRICS, str(file))
    write_expectations(file, text)
    if options.json:
        print(json.dumps({"accepted": changes, "file": str(file)}))
    else:
        print("\n".join(f"accepted {cell} {metric} {100 * (change['ratio'] - 1):+.1f} %: {file}" for change in changes))
    return PASS


def _expectation(cell: str, change: Mapping[str, Any], reason: str) -> Expectation:
    settled, level = change["settled"], float(f"{change['after']:.6g}")
    return Expectation(cell, change["metric"], level, settled["commit"], reason, settled["time"], change["environment"])


def read_expectations(file: Path) -> str:
    """The text of the file, empty where there is none. Raises UsageError where it cannot be read."""
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: cannot be read ({error}); it should be TOML, see docs/statistics.md") from error


def write_expectations(file: Path, text: str) -> None:
    """Replace the file as a whole, so that a full disk leaves the old one. Raises UsageError where it cannot be written."""
    copy = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        copy.write_text(text, encoding="utf-8")
        copy.replace(file)
    except OSError as error:
        copy.unlink(missing_ok=True)
        raise UsageError(f"{file}: could not be written ({error.strerror}); what it held is unchanged") from error
