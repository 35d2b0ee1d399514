"""`evenbench history`: results over commits, change points, and accepted changes."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.harness.collection import selection_flags
from evenbench.harness.collection.selection_flags import Selection, cell_words
from evenbench.harness.commands import arguments
from evenbench.harness.commands import console as terminal
from evenbench.harness.commands.parser import Parser
from evenbench.harness.comparison import expectations_file, history_comparisons
from evenbench.harness.comparison.history import analyse, gather
from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.exit_codes import INTERRUPTED, NOTHING, PASS, WORSE
from evenbench.harness.results import accepted_changes
from evenbench.harness.results.series import METRICS
from evenbench.harness.statistics import change_points

if TYPE_CHECKING:
    from rich.console import Console

EPILOG = """\
Examples:
  evenbench history                          the table, and site/history.html
  evenbench history results -k "resnet18 and ort" --json
  evenbench history --confirm --budget 20m
  evenbench history --accept CELL METRIC --reason "new resize filter"
Docs: docs/explanation/statistics.md
"""

EXIT_CODES = {
    PASS: "no change, or all are accepted",
    WORSE: "a change, for the worse or the better, is not accepted",
    INTERRUPTED: "interrupted",
    NOTHING: "no recorded outcome, or none matches -k",
}


@dataclass(frozen=True)
class HistoryOptions:
    """The options of `evenbench history`."""

    paths: tuple[str, ...] = ()
    results: str = "results"
    expression: str = ""
    output: str = "site"
    expectations: str = accepted_changes.FILE
    accept: tuple[str, ...] | None = None
    reason: str = ""
    detector: str = "asv"
    confirm: bool = False
    budget: str = ""
    json: bool = False

    @property
    def files(self) -> tuple[str, ...]:
        """The results files or folders to read."""
        return self.paths or (self.results,)


def add_arguments(command: Parser) -> None:
    """Add the flags."""
    arguments.add_results_paths(command)
    selection_flags.add_expression(command)
    arguments.add_output(command, "DIR", "folder for history.html [default: %(default)s]")
    command.add_argument(
        "--expectations",
        metavar="FILE",
        help="accepted changes [default: %(default)s]",
    )
    command.add_argument(
        "--accept",
        nargs=2,
        metavar=("CELL", "METRIC"),
        help=f"accept a change of {', '.join(METRICS)} [default: none]",
    )
    command.add_argument(
        "--reason", metavar="TEXT", help="reason of --accept [required by --accept]"
    )
    command.add_argument(
        "--detector",
        choices=sorted(change_points.DETECTORS),
        metavar="D",
        help=f"{', '.join(sorted(change_points.DETECTORS))} [default: %(default)s]",
    )
    command.add_argument(
        "--confirm", action="store_true", help="measure each slowdown in pairs, and bisect it"
    )
    arguments.add_budget(command)
    arguments.add_json_flag(command)


def run(options: HistoryOptions) -> int:
    """Print the history, write the page and return the exit code."""
    file = Path(options.expectations)
    paths = [Path(path) for path in options.files]
    text = expectations_file.read(file)
    accepted = accepted_changes.parse(text, METRICS, str(file))
    notes: list[str] = []
    series = gather(paths, options.expression, notes)
    if not series:
        return _nothing(options)
    value = analyse(series, accepted, notes, options.detector)
    value["pairs"] = history_comparisons.verdicts(
        paths, {cell["cell"] for cell in value["cells"]}, notes
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
        from evenbench.reports.terminal import history

        console = terminal.console()
        history.show(value, console)
        console.print(f"page  {page}", soft_wrap=True)
    return WORSE if value["alarms"] else PASS


def _nothing(options: HistoryOptions) -> int:
    filtered = f"-k {options.expression!r} leaves nothing"
    reason = filtered if options.expression else "no recorded outcome"
    print(
        f"evenbench: error: {' '.join(options.files)}: {reason}; "
        "run `evenbench run` first, or name other paths",
        file=sys.stderr,
    )
    return NOTHING


def _page(value: Mapping[str, Any], folder: str) -> Path:
    from evenbench.reports.pages import history

    try:
        return history.write(value, Path(folder))
    except OSError as error:
        raise UsageError(
            f"report folder {folder} cannot be written ({error.strerror}); name another with -o"
        ) from error


# -- confirming ------------------------------------------------------------------------------------


def confirm(value: Mapping[str, Any], options: HistoryOptions, console: Console) -> None:
    """Measure every slowdown again in pairs, from the commit before to the settled commit; bisect.

    The alarm's `confirmed` gets the result in sentences, and the first bad commit. An alarm remains
    in any case, because records do not change; a slowdown absent from pairs was the machine's.
    """
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
            alarm["confirmed"] = _bisected(alarm, options, console)


def _bisected(
    alarm: Mapping[str, Any], options: HistoryOptions, console: Console
) -> dict[str, Any]:
    from evenbench.harness.commands import bisect

    search = bisect.BisectOptions(
        alarm["commit_before"],
        alarm["settled"]["commit"],
        Selection(cell=(alarm["cell"],)),
        metric=alarm["metric"],
        results=_results_folder(options.files),
        budget=options.budget,
    )
    words = [search.good, search.bad, *cell_words(search.selection.cell)]
    words += ["--metric", search.metric, "--results", search.results]
    console.print(f"evenbench bisect {shlex.join(words)}", markup=False, soft_wrap=True)
    try:
        value = bisect.search(search, console)
    except UsageError as error:
        return {"words": [str(error)], "first": None}
    return {"words": value["words"], "first": value["first"]}


def _results_folder(paths: Sequence[str]) -> str:
    """Return the folder for the steps of a bisection, from the first path."""
    first = Path(paths[0])
    return str(first if first.is_dir() else first.parent)


# -- accepting -------------------------------------------------------------------------------------


def accept(options: HistoryOptions, value: Mapping[str, Any], file: Path, text: str) -> int:
    """Add the changes of a series to the file of accepted changes, replaced as a whole.

    Raises UsageError for a series without changes.
    """
    assert options.accept is not None
    cell, metric = options.accept
    reason = options.reason.strip()
    if not reason:
        raise UsageError('--accept needs --reason "...": say why the change is accepted')
    changes = _unaccepted(value, cell, metric)
    for change in changes:
        text = accepted_changes.added(text, expectations_file.expectation(cell, change, reason))
    accepted_changes.parse(text, METRICS, str(file))
    expectations_file.write(file, text)
    if options.json:
        print(json.dumps({"accepted": changes, "file": str(file)}))
    else:
        lines = (
            f"accepted {cell} {metric} {100 * (change['ratio'] - 1):+.1f} %: {file}"
            for change in changes
        )
        print("\n".join(lines))
    return PASS


def _unaccepted(value: Mapping[str, Any], cell: str, metric: str) -> list[Any]:
    """Return the alarms of a series. Raises UsageError for an unknown or ambiguous cell."""
    keys = {row["key"] for row in value["cells"] if cell in (row["cell"], row["key"])}
    if not keys:
        raise UsageError(
            f"--accept {cell}: no recorded cell has this id or key; `evenbench history` shows them"
        )
    if len(keys) > 1:
        raise UsageError(
            f"--accept {cell}: {len(keys)} cells have this id; "
            f"name one by its key: {', '.join(sorted(keys))}"
        )
    if metric not in METRICS:
        raise UsageError(
            f"--accept {cell} {metric}: no such metric; expected one of {', '.join(METRICS)}"
        )
    changes = [
        change for change in value["alarms"] if change["key"] in keys and change["metric"] == metric
    ]
    if not changes:
        raise UsageError(
            f"--accept {cell} {metric}: there is no step that waits to be accepted; "
            "`evenbench history` shows those"
        )
    return changes
