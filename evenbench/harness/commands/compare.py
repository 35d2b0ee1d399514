"""`evenbench compare BASE HEAD`: a paired session with record and verdict.

A side is a commit (`.` is the working folder), a backend with an optional environment and options
(`ort`, `ort@1.24.1`, `ort:spinning=off`), or a recorded results file.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.harness.collection import matrix, selection_flags
from evenbench.harness.collection.selection_flags import ALL_DECLARED, Selection
from evenbench.harness.commands import arguments
from evenbench.harness.commands import console as terminal
from evenbench.harness.commands.parser import Parser
from evenbench.harness.comparison.recording import earlier, write
from evenbench.harness.core import exit_codes
from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.plans import PLANS
from evenbench.harness.core.quantities import seconds_of
from evenbench.harness.environment import log_streams
from evenbench.harness.results import records
from evenbench.harness.runner import launcher

if TYPE_CHECKING:
    from rich.console import Console

    from evenbench.harness.comparison.exit_status import Ending
    from evenbench.harness.comparison.sides import SidePair
    from evenbench.harness.statistics.paired_test import Rule

EPILOG = """\
Examples:
  evenbench compare main HEAD              two commits
  evenbench compare HEAD . -k resnet18     uncommitted changes
  evenbench compare ort@1.24.1 ort@1.31.1  two releases
  evenbench compare a.jsonl b.jsonl        two recorded runs: weaker, no verdict
Docs: docs/explanation/statistics.md, docs/how-to/ci-github.md
"""

EXIT_CODES = {
    exit_codes.PASS: "nothing is confirmed worse",
    exit_codes.WORSE: "a cell is confirmed slower or larger, is wrong, or failed",
    exit_codes.INTERRUPTED: "interrupted; nothing is written",
    exit_codes.INTERNAL: "",
    exit_codes.USAGE: "",
    exit_codes.NOTHING: "no cell on both sides",
    exit_codes.UNDECIDED: "a latency is inconclusive, with --require-conclusive",
    exit_codes.UNHEALTHY: "base against base alarmed; see also --strict-health",
}


@dataclass(frozen=True)
class CompareOptions:
    """The options of `evenbench compare`."""

    base: str
    head: str
    selection: Selection = ALL_DECLARED
    margin: float = 0.02
    pairs: int = 30
    budget: str = ""
    plan: str = "default"
    seed: int = 0
    require_conclusive: bool = False
    strict_health: bool = False
    anyway: bool = False
    results: str = "results"
    junit: str = ""
    sarif: str = ""
    summary: str = ""
    github: bool = False
    json: bool = False

    def rule(self) -> Rule:
        """Return the rule of the paired test."""
        from evenbench.harness.statistics import paired_test

        return paired_test.Rule.of_at_most(self.pairs, self.margin)


def add_arguments(command: Parser) -> None:
    """Add the flags."""
    command.add_argument("base", metavar="BASE", help="commit, backend or results file")
    command.add_argument("head", metavar="HEAD", help="the same kind; `.` is the working folder")
    selection_flags.add_arguments(command)
    arguments.add_margin(command)
    arguments.add_pairs(command)
    arguments.add_budget(command)
    arguments.add_plan(command)
    arguments.add_seed(command)
    arguments.add_results(command)
    arguments.add_json_flag(command)
    command.add_argument(
        "--require-conclusive", action="store_true", help="exit with 6 for an inconclusive cell"
    )
    command.add_argument(
        "--strict-health",
        action="store_true",
        help="exit with 7 if the machine caused a slowdown",
    )
    command.add_argument(
        "--anyway", action="store_true", help="show recorded runs of different machines"
    )
    reports = command.add_argument_group("reports for CI")
    for flag, form in (
        ("--junit", "JUnit XML"),
        ("--sarif", "SARIF 2.1.0"),
        ("--summary", "Markdown summary"),
    ):
        reports.add_argument(flag, metavar="FILE", help=f"{form} file to write [default: none]")
    reports.add_argument("--github", action="store_true", help="print annotations for GitHub")


def run(options: CompareOptions) -> int:
    """Compare the sides and return the exit code. Two recorded runs are only shown."""
    from evenbench.harness.comparison import recorded_runs, sides

    try:
        if not (sides.is_recorded(options.base) and sides.is_recorded(options.head)):
            _refuse_one_recording(options.base, options.head)
            _refuse_one_recording(options.head, options.base)
            return run_in_pairs(options)
        refuse_what_needs_pairs(options)
        matches = matrix.matcher(options.selection.expression)
        named = set(options.selection.cell)
        cells = recorded_runs.compared(
            options.base,
            options.head,
            options.anyway,
            lambda name, key: matches(name) and (not named or bool(named & {name, key})),
        )
    except sides.NothingToCompare as error:
        print(f"evenbench: error: {error}", file=sys.stderr)
        _report_nothing(options, str(error))
        return exit_codes.NOTHING
    if options.json:
        print(json.dumps({"cells": cells}))
    else:
        recorded_runs.show(cells, terminal.console())
    return exit_codes.PASS


def _refuse_one_recording(side: str, other: str) -> None:
    from evenbench.harness.comparison import git, sides

    # A folder of results may share its name with a branch.
    if Path(side).suffix == ".jsonl" or (sides.is_recorded(side) and git.hash_of(side) is None):
        raise UsageError(
            f"{side} is a recorded run and {other} is no results file or folder; "
            "compare two recorded runs, or two commits in pairs"
        )


def refuse_what_needs_pairs(options: CompareOptions) -> None:
    """Raise UsageError for flags without a meaning for recorded runs.

    A CI job would take their silence for a verdict.
    """
    names = ("junit", "sarif", "summary", "github", "require_conclusive", "strict_health", "budget")
    given = [f"--{name.replace('_', '-')}" for name in names if getattr(options, name)]
    given += [] if options.selection.targets == Selection.targets else options.selection.targets
    given += options.selection.model_words()
    if given:
        raise UsageError(
            f"{options.base} and {options.head} are recorded runs, "
            f"of which {given[0]} says nothing: they have no verdict. "
            "Compare the commits in pairs, or choose among recorded cells with -k and --cell"
        )


def run_in_pairs(options: CompareOptions, more: Mapping[str, Any] | None = None) -> int:
    """Run a paired session, record the result with `more` entries, and return the exit code."""
    from evenbench.harness.commands import progress
    from evenbench.harness.comparison import budget, ci_reports
    from evenbench.harness.comparison.exit_status import ending
    from evenbench.harness.comparison.session import PairedSession
    from evenbench.harness.comparison.sides import sides

    ci_reports.check(report_files(options))
    records.check_writable(Path(options.results))
    launcher.interrupt_when_ended()  # so that a cancelled job leaves no worktree behind
    notes = terminal.console(stderr=True)
    plan, rule = PLANS[options.plan], options.rule()
    seconds = seconds_of(options.budget)
    words = options.selection.words()
    with sides(options.base, options.head, words, plan) as pair:
        for note in pair.notes:
            notes.print(f"note: {note}", soft_wrap=True)
        with progress.listener(notes) as listen:
            known = budget.pasts(earlier(Path(options.results)))
            session = PairedSession(
                pair.base,
                pair.head,
                words,
                pair.cells,
                rule,
                plan,
                options.seed,
                seconds,
                known,
                listen,
            )
            results = [{**result, "place": pair.place(result["cell"])} for result in session.run()]
        if session.left_out:
            pair = dataclasses.replace(pair, notes=(*pair.notes, session.exclusions()))
            notes.print(f"note: {pair.notes[-1]}", soft_wrap=True, markup=False)
    end = ending(results, options.require_conclusive, options.strict_health)
    file = write(Path(options.results), pair, rule, options.seed, results, end, more or {})
    if not options.json:
        _show(options, pair, results, end, file, terminal.console())
    try:
        _report(options, file)
    except OSError as error:
        raise UsageError(
            f"a report is missing: {error}; the comparison is kept in {file}"
        ) from None
    return end.code


def report_files(options: CompareOptions) -> dict[str, str]:
    """Return the report files by format, as named by the flags."""
    paths = {kind: getattr(options, kind) for kind in ("junit", "sarif", "summary")}
    return {kind: path for kind, path in paths.items() if path}


def _report(options: CompareOptions, file: Path) -> None:
    """Write the reports for CI from a comparison's file; print the JSON on request."""
    from evenbench.harness.comparison import ci_reports

    comparison = json.loads(file.read_text())
    ci_reports.write(comparison, report_files(options))
    if options.github:  # GitHub's runner reads both streams
        print(
            "\n".join(ci_reports.workflow_commands(comparison)),
            file=log_streams.plain(sys.stderr if options.json else sys.stdout),
        )
        ci_reports.write_outputs(comparison)
    if options.json:
        print(json.dumps(comparison))


def _report_nothing(options: CompareOptions, reason: str) -> None:
    """Write the reports for CI without a cell, so later steps of a job find their files."""
    from evenbench.harness.comparison import ci_reports

    facts = {"base": options.base, "head": options.head, "seed": options.seed}
    comparison = {**facts, "exit": exit_codes.NOTHING, "notes": [reason], "cells": []}
    ci_reports.write(comparison, report_files(options))
    if options.github:
        ci_reports.write_outputs(comparison)


def _show(
    options: CompareOptions,
    pair: SidePair,
    results: list[dict[str, Any]],
    end: Ending,
    file: Path,
    console: Console,
) -> None:
    from evenbench.harness.comparison.exit_status import show

    show(results, end, console)
    console.print(
        f"{pair.base.name} against {pair.head.name}, seed {options.seed}: {file}", soft_wrap=True
    )
