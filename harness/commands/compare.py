"""`evenbench compare BASE HEAD`: its flags, the paired session they ask for, and what is written
and shown of it.

A side is a commit (or `.`, the working folder as it is), a backend with or without an environment
and options (`ort`, `ort@1.24.1`, `ort:spinning=off`), or a recorded results file.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.collection import matrix, selection
from harness.commands import console as terminal
from harness.core import exit_codes
from harness.core.errors import UsageError
from harness.core.plans import PLANS
from harness.runner import launcher

if TYPE_CHECKING:
    from rich.console import Console

    from harness.comparison.session import Progress
from harness.collection.selection import words_of
from harness.comparison.recording import earlier, write
from harness.core.quantities import seconds_of

EPILOG = """\
  evenbench compare main HEAD                 two commits, each checked out beside this folder
  evenbench compare HEAD . -k resnet18        what is not committed yet
  evenbench compare ort openvino              two backends on every declared model
  evenbench compare ort@1.24.1 ort@1.31.1     two releases, each in an environment of its own
  evenbench compare ort ort:spinning=off      two sets of options
  evenbench compare a.jsonl b.jsonl           two recorded runs: unpaired, so much weaker

exit codes:
  0  nothing is confirmed worse
  1  a cell is confirmed slower (or larger, or less right), gives wrong answers, or failed
  2  interrupted: nothing is written
  3  a fault of evenbench itself, with its traceback
  4  what was asked for cannot be, or could never alarm
  5  no cell that both sides have
  6  the latency of a cell is inconclusive, with --require-conclusive
  7  the null control, base against base, alarmed or failed; with --strict-health also where a slowdown was the machine's
"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The flags of the command."""
    command.add_argument("base", metavar="BASE", help="a commit, a backend or a results file")
    command.add_argument(
        "head", metavar="HEAD", help="the same kind of thing; `.` is the working folder as it is"
    )
    selection.add_arguments(command)
    command.add_argument(
        "--margin", type=float, default=0.02, help="relative slowdown that does not matter (0.02)"
    )
    command.add_argument(
        "--pairs", type=int, default=30, metavar="N", help="of processes at most, per cell (30)"
    )
    command.add_argument(
        "--budget", default="", metavar="TIME", help="stop adding pairs after 90s, 5m or 1h"
    )
    command.add_argument(
        "--plan",
        choices=sorted(PLANS),
        default="default",
        help="whose warm-up and timeout (default)",
    )
    command.add_argument("--seed", type=int, default=0, help="of all orders (0)")
    command.add_argument(
        "--require-conclusive",
        action="store_true",
        help="exit with 6 where a cell stays inconclusive",
    )
    command.add_argument(
        "--strict-health",
        action="store_true",
        help="exit with 7 where a cell was interrupted rather than slower",
    )
    command.add_argument(
        "--anyway",
        action="store_true",
        help="of recorded runs: show them though their machines differ",
    )
    command.add_argument(
        "--results",
        default="results",
        metavar="DIR",
        help="where the comparison is written (results)",
    )
    telling = command.add_argument_group("for CI")
    telling.add_argument("--junit", metavar="FILE", help="JUnit XML")
    telling.add_argument("--sarif", metavar="FILE", help="SARIF 2.1.0")
    telling.add_argument("--summary", metavar="FILE", help="Markdown, also the body of a comment")
    telling.add_argument(
        "--github", action="store_true", help="GitHub's annotations on standard output"
    )
    command.add_argument(
        "--json", action="store_true", help="one JSON value on standard output instead of text"
    )


def run(options: argparse.Namespace) -> int:
    """The command; returns its exit code. Two recorded runs are only shown."""
    from harness.comparison import recorded_runs, sides

    try:
        if not (sides.is_recorded(options.base) and sides.is_recorded(options.head)):
            for text, other in ((options.base, options.head), (options.head, options.base)):
                if Path(text).suffix == ".jsonl":
                    raise UsageError(
                        f"{text} is a recorded run and {other} is not; compare two recorded runs, or two commits in pairs"
                    )
            return run_in_pairs(options)
        refuse_what_needs_pairs(options)
        matches = matrix.matcher(options.expression)
        named = set(options.cell)
        found = recorded_runs.compared(
            options.base,
            options.head,
            options.anyway,
            lambda name, key: matches(name) and (not named or bool(named & {name, key})),
        )
    except sides.NothingToCompare as error:
        print(f"evenbench: error: {error}", file=sys.stderr)
        return exit_codes.NOTHING
    if options.json:
        print(json.dumps({"cells": found}))
    else:
        recorded_runs.show(found, terminal.console())
    return exit_codes.PASS


def refuse_what_needs_pairs(options: argparse.Namespace) -> None:
    """Raise UsageError for flags that mean nothing of recorded runs: a job that gives them would
    take their silence for a verdict.
    """
    flags = ("junit", "sarif", "summary", "github", "require_conclusive", "strict_health", "budget")
    given = [f"--{flag.replace('_', '-')}" for flag in flags if getattr(options, flag)]
    given += [] if options.targets == ["benchmarks"] else options.targets
    given += selection.given(options)
    if given:
        raise UsageError(
            f"{options.base} and {options.head} are recorded runs, of which {given[0]} says nothing: they have no verdict. Compare the "
            "commits in pairs, or choose among recorded cells with -k and --cell"
        )


def run_in_pairs(options: argparse.Namespace, more: Mapping[str, Any] | None = None) -> int:
    """A paired session over all cells, written to the results folder with `more` entries, shown,
    and ended with its exit code.
    """
    from harness.comparison import budget, ci_reports
    from harness.comparison.exit_status import ending, show
    from harness.comparison.session import PairedSession
    from harness.comparison.sides import sides
    from harness.statistics import paired_test

    launcher.interrupt_when_ended()  # a job that is cancelled leaves no worktree behind
    console, notes = terminal.console(), terminal.console(stderr=True)
    plan = PLANS[options.plan]
    rule = paired_test.Rule(
        margin=options.margin,
        most=options.pairs,
        least=min(paired_test.FEWEST_PAIRS, options.pairs),
    )
    seconds = seconds_of(options.budget)
    with sides(options.base, options.head, words_of(options), plan) as pair:
        for note in pair.notes:
            notes.print(f"note: {note}", soft_wrap=True)
        with listener(notes) as listen:
            known = budget.pasts(earlier(Path(options.results)))
            session = PairedSession(
                pair.base,
                pair.head,
                words_of(options),
                pair.cells,
                rule,
                plan,
                options.seed,
                seconds,
                known,
                listen,
            )
            found = [{**result, "place": pair.place(result["cell"])} for result in session.run()]
        if session.left_out:
            pair = dataclasses.replace(pair, notes=(*pair.notes, session.exclusions()))
            notes.print(f"note: {pair.notes[-1]}", soft_wrap=True, markup=False)
    end = ending(found, options.require_conclusive, options.strict_health)
    file = write(Path(options.results), pair, rule, options.seed, found, end, more or {})
    comparison = json.loads(file.read_text())
    asked = {kind: getattr(options, kind) for kind in ("junit", "sarif", "summary")}
    ci_reports.write(comparison, {kind: path for kind, path in asked.items() if path})
    if options.github:  # a runner reads them on either stream
        print(
            "\n".join(ci_reports.workflow_commands(comparison)),
            file=sys.stderr if options.json else sys.stdout,
        )
        ci_reports.write_outputs(comparison)
    if options.json:
        print(json.dumps(comparison))
    else:
        show(found, end, console)
        console.print(
            f"{pair.base.name} against {pair.head.name}, seed {options.seed}: {file}",
            soft_wrap=True,
        )
    return end.code


@contextlib.contextmanager
def listener(console: Console) -> Iterator[Callable[[Progress], None]]:
    """One line that changes on a terminal; a line now and then elsewhere."""
    if not console.is_terminal:
        told = 0.0

        def tell(progress: Progress) -> None:
            nonlocal told
            if time.monotonic() - told > 15:
                told = time.monotonic()
                console.print(progress.text, soft_wrap=True)

        yield tell
        return
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    # Nothing wakes up by itself: the line changes between pairs, never while one is timed.
    bar = Bar(
        BarColumn(bar_width=24),
        TextColumn("{task.description}"),
        console=console,
        auto_refresh=False,
        transient=True,
    )
    with bar:
        task = bar.add_task("")
        yield lambda progress: bar.update(
            task,
            description=progress.text,
            completed=progress.done,
            total=progress.most or None,
            refresh=True,
        )
