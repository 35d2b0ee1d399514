"""`evenbench history`: recorded results over commits, the steps in them, and the file of the steps
that somebody accepted.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.commands import console as terminal
from harness.core.errors import UsageError
from harness.core.exit_codes import NOTHING, PASS, WORSE
from harness.results import accepted_changes
from harness.results.series import METRICS
from harness.statistics import change_points

if TYPE_CHECKING:
    from rich.console import Console
from harness.comparison import expectations_file, history_comparisons
from harness.comparison.history import analyse, gather

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
    command.add_argument(
        "paths",
        nargs="*",
        default=["results"],
        metavar="PATH",
        help="results files or folders (results)",
    )
    command.add_argument(
        "-k",
        dest="expression",
        default="",
        metavar="EXPR",
        help="only cells whose id matches, as pytest's -k",
    )
    command.add_argument(
        "-o", "--output", default="site", metavar="DIR", help="where history.html is written (site)"
    )
    command.add_argument(
        "--expectations",
        default=accepted_changes.FILE,
        metavar="FILE",
        help=f"what was accepted ({accepted_changes.FILE})",
    )
    command.add_argument(
        "--accept",
        nargs=2,
        metavar=("CELL", "METRIC"),
        help="add the steps of one series to that file, and nothing else",
    )
    command.add_argument("--reason", default="", metavar="TEXT", help="why it is accepted")
    command.add_argument(
        "--detector",
        choices=sorted(change_points.DETECTORS),
        default="asv",
        help="what finds the steps (asv)",
    )
    command.add_argument(
        "--confirm",
        action="store_true",
        help="measure each step for the worse again in pairs, and bisect it",
    )
    command.add_argument(
        "--budget", default="", metavar="TIME", help="with --confirm, of each step: 90s, 5m or 1h"
    )
    command.add_argument(
        "--json", action="store_true", help="one JSON value on standard output instead of text"
    )


def run(options: argparse.Namespace) -> int:
    """The command; returns its exit code. Standard error is where a long search says what it does."""
    file = Path(options.expectations)
    text = expectations_file.read(file)
    accepted = accepted_changes.parse(text, METRICS, str(file))
    notes: list[str] = []
    found = gather([Path(path) for path in options.paths], options.expression, notes)
    if not found:
        left = (
            f"-k {options.expression!r} leaves nothing"
            if options.expression
            else "no recorded outcome"
        )
        print(
            f"evenbench: error: {' '.join(options.paths)}: {left}; run `evenbench run` first, or name other paths",
            file=sys.stderr,
        )
        return NOTHING
    value = analyse(found, accepted, notes, options.detector)
    value["pairs"] = history_comparisons.verdicts(
        [Path(path) for path in options.paths], {cell["cell"] for cell in value["cells"]}, notes
    )
    history_comparisons.join_upgrades(value)
    notes += [] if options.expression else expectations_file.without_cell(accepted, value["cells"])
    if options.accept:
        return accept(options, value, file, text)
    if options.confirm:
        confirm(value, options, terminal.console(stderr=True))
    page = _page(value, options.output)
    if options.json:
        print(json.dumps({**value, "page": str(page)}, allow_nan=False))
    else:
        from reports.terminal import history

        console = terminal.console()
        history.show(value, console)
        console.print(f"page  {page}", soft_wrap=True)
    return WORSE if value["alarms"] else PASS


def _page(value: Mapping[str, Any], folder: str) -> Path:
    from reports.pages import history

    try:
        return history.write(value, Path(folder))
    except OSError as error:
        raise UsageError(
            f"report folder {folder} cannot be written ({error.strerror}); name another with -o"
        ) from error


def confirm(value: Mapping[str, Any], options: argparse.Namespace, console: Console) -> None:
    """Measure every alarm for the worse again, in pairs, from the commit before it to the one at
    which it settled, and bisect it.

    What came of it is the alarm's `confirmed`: words, and the first commit where one was found. An
    alarm stays one whatever comes of it, since what is recorded is recorded; one that does not show
    in pairs was the machine's.
    """
    from harness.commands import bisect

    for alarm in value["alarms"]:
        before, after = alarm["commit_before"], alarm["settled"]["commit"]
        if alarm["kind"] != "worse":
            alarm["confirmed"] = {"words": ["an improvement is not bisected"], "first": None}
        elif not before or not after or before == after:
            alarm["confirmed"] = {
                "words": ["recorded without two commits to compare"],
                "first": None,
            }
        else:
            words = [
                before,
                after,
                "--cell",
                alarm["cell"],
                "--metric",
                alarm["metric"],
                "--results",
                _kept(options.paths),
            ]
            console.print(f"evenbench bisect {shlex.join(words)}", markup=False, soft_wrap=True)
            try:
                found = bisect.search(
                    bisect.parsed(
                        [*words, *(["--budget", options.budget] if options.budget else [])]
                    ),
                    console,
                )
                alarm["confirmed"] = {"words": found["words"], "first": found["first"]}
            except UsageError as error:
                alarm["confirmed"] = {"words": [str(error)], "first": None}


def _kept(paths: Sequence[str]) -> str:
    """The folder into which the steps of a bisection are written: the first that was named, or the
    one of the first file.
    """
    first = Path(paths[0])
    return str(first if first.is_dir() else first.parent)


def accept(options: argparse.Namespace, value: Mapping[str, Any], file: Path, text: str) -> int:
    """Add the steps of one series to the expectations file, which is replaced as a whole. Raises
    UsageError where there is none.
    """
    cell, metric = options.accept
    if not options.reason.strip():
        raise UsageError('--accept needs --reason "...": say why the change is accepted')
    known = {found["key"] for found in value["cells"] if cell in (found["cell"], found["key"])}
    if not known:
        raise UsageError(
            f"--accept {cell}: no recorded cell has this id or key; `evenbench history` shows them"
        )
    if len(known) > 1:
        raise UsageError(
            f"--accept {cell}: {len(known)} cells have this id; name one by its key: {', '.join(sorted(known))}"
        )
    if metric not in METRICS:
        raise UsageError(
            f"--accept {cell} {metric}: no such metric; expected one of {', '.join(METRICS)}"
        )
    changes = [
        change
        for change in value["alarms"]
        if change["key"] in known and change["metric"] == metric
    ]
    if not changes:
        raise UsageError(
            f"--accept {cell} {metric}: there is no step that waits to be accepted; `evenbench history` shows those"
        )
    for change in changes:
        text = accepted_changes.added(
            text, expectations_file.expectation(cell, change, options.reason.strip())
        )
    accepted_changes.parse(text, METRICS, str(file))
    expectations_file.write(file, text)
    if options.json:
        print(json.dumps({"accepted": changes, "file": str(file)}))
    else:
        print(
            "\n".join(
                f"accepted {cell} {metric} {100 * (change['ratio'] - 1):+.1f} %: {file}"
                for change in changes
            )
        )
    return PASS
