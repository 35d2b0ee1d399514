"""`evenbench compare BASE HEAD`: its flags, the paired session they ask for, and what is written and shown of it.

A side is a commit (or `.`, the working folder as it is), a backend with or without an environment and options
(`ort`, `ort@1.24.1`, `ort:spinning=off`), or a recorded results file.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import codes, environment, machine, matrix, results, targets, terminal, worker
from harness.types import PLANS, UsageError, to_json

if TYPE_CHECKING:
    from rich.console import Console

    from harness.ending import Ending
    from harness.gate import Rule
    from harness.paired import Progress
    from harness.sides import Pair

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
    command.add_argument("head", metavar="HEAD", help="the same kind of thing; `.` is the working folder as it is")
    targets.add_arguments(command)
    command.add_argument("--margin", type=float, default=0.02, help="relative slowdown that does not matter (0.02)")
    command.add_argument("--pairs", type=int, default=30, metavar="N", help="of processes at most, per cell (30)")
    command.add_argument("--budget", default="", metavar="TIME", help="stop adding pairs after 90s, 5m or 1h")
    command.add_argument("--plan", choices=sorted(PLANS), default="default", help="whose warm-up and timeout (default)")
    command.add_argument("--seed", type=int, default=0, help="of all orders (0)")
    command.add_argument("--require-conclusive", action="store_true", help="exit with 6 where a cell stays inconclusive")
    command.add_argument("--strict-health", action="store_true", help="exit with 7 where a cell was interrupted rather than slower")
    command.add_argument("--anyway", action="store_true", help="of recorded runs: show them though their machines differ")
    command.add_argument("--results", default="results", metavar="DIR", help="where the comparison is written (results)")
    telling = command.add_argument_group("for CI")
    telling.add_argument("--junit", metavar="FILE", help="JUnit XML")
    telling.add_argument("--sarif", metavar="FILE", help="SARIF 2.1.0")
    telling.add_argument("--summary", metavar="FILE", help="Markdown, also the body of a comment")
    telling.add_argument("--github", action="store_true", help="GitHub's annotations on standard output")
    command.add_argument("--json", action="store_true", help="one JSON value on standard output instead of text")


def run(options: argparse.Namespace) -> int:
    """The command; returns its exit code. Two recorded runs are only shown."""
    from harness import recorded, sides

    try:
        if not (sides.is_recorded(options.base) and sides.is_recorded(options.head)):
            for text, other in ((options.base, options.head), (options.head, options.base)):
                if Path(text).suffix == ".jsonl":
                    raise UsageError(f"{text} is a recorded run and {other} is not; compare two recorded runs, or two commits in pairs")
            return run_in_pairs(options)
        refuse_what_needs_pairs(options)
        matches = matrix.matcher(options.expression)
        named = set(options.cell)
        found = recorded.compared(
            options.base, options.head, options.anyway, lambda name, key: matches(name) and (not named or bool(named & {name, key}))
        )
    except sides.NothingToCompare as error:
        print(f"evenbench: error: {error}", file=sys.stderr)
        return codes.NOTHING
    if options.json:
        print(json.dumps({"cells": found}))
    else:
        recorded.show(found, terminal.console())
    return codes.PASS


def refuse_what_needs_pairs(options: argparse.Namespace) -> None:
    """Raise UsageError for flags that mean nothing of recorded runs: a job that gives them would take their silence for a verdict."""
    flags = ("junit", "sarif", "summary", "github", "require_conclusive", "strict_health", "budget")
    given = [f"--{flag.replace('_', '-')}" for flag in flags if getattr(options, flag)]
    given += [] if options.targets == ["benchmarks"] else options.targets
    given += targets.given(options)
    if given:
        raise UsageError(
            f"{options.base} and {options.head} are recorded runs, of which {given[0]} says nothing: they have no verdict. Compare the "
            "commits in pairs, or choose among recorded cells with -k and --cell"
        )


def run_in_pairs(options: argparse.Namespace, more: Mapping[str, Any] | None = None) -> int:
    """A paired session over all cells, written to the results folder with `more` entries, shown, and ended with its exit code."""
    from harness import alerts, gate, planner
    from harness.ending import ending, show
    from harness.paired import Session
    from harness.sides import sides

    worker.interrupt_when_ended()  # a job that is cancelled leaves no worktree behind
    console, notes = terminal.console(), terminal.console(stderr=True)
    plan = PLANS[options.plan]
    rule = gate.Rule(margin=options.margin, most=options.pairs, least=min(gate.FEWEST_PAIRS, options.pairs))
    seconds = seconds_of(options.budget)
    with sides(options.base, options.head, words_of(options), plan) as pair:
        for note in pair.notes:
            notes.print(f"note: {note}", soft_wrap=True)
        with listener(notes) as listen:
            known = planner.pasts(earlier(Path(options.results)))
            session = Session(pair.base, pair.head, words_of(options), pair.cells, rule, plan, options.seed, seconds, known, listen)
            found = [{**result, "place": pair.place(result["cell"])} for result in session.run()]
        if session.left_out:
            pair = dataclasses.replace(pair, notes=(*pair.notes, session.left_out_words()))
            notes.print(f"note: {pair.notes[-1]}", soft_wrap=True, markup=False)
    end = ending(found, options.require_conclusive, options.strict_health)
    file = write(Path(options.results), pair, rule, options.seed, found, end, more or {})
    comparison = json.loads(file.read_text())
    asked = {kind: getattr(options, kind) for kind in ("junit", "sarif", "summary")}
    alerts.write(comparison, {kind: path for kind, path in asked.items() if path})
    if options.github:  # a runner reads them on either stream
        print("\n".join(alerts.workflow_commands(comparison)), file=sys.stderr if options.json else sys.stdout)
        alerts.write_outputs(comparison)
    if options.json:
        print(json.dumps(comparison))
    else:
        show(found, end, console)
        console.print(f"{pair.base.name} against {pair.head.name}, seed {options.seed}: {file}", soft_wrap=True)
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
    bar = Bar(BarColumn(bar_width=24), TextColumn("{task.description}"), console=console, auto_refresh=False, transient=True)
    with bar:
        task = bar.add_task("")
        yield lambda progress: bar.update(
            task, description=progress.text, completed=progress.done, total=progress.most or None, refresh=True
        )


def words_of(options: argparse.Namespace) -> list[str]:
    """The words that choose cells, for the processes of both sides, as they would be written on their command lines."""
    words = [*options.targets]
    for flag, values in (("-k", [options.expression] if options.expression else []), ("--cell", options.cell)):
        for value in values:
            words += [flag, value]
    return [*words, *targets.given(options)]


def seconds_of(budget: str) -> float:
    """Seconds in `90s`, `5m` or `1h`; infinite for none. Raises UsageError for anything else."""
    if not budget:
        return math.inf
    units = {"s": 1.0, "m": 60.0, "h": 3600.0}
    try:
        found = float(budget[:-1]) * units[budget[-1]]
    except (KeyError, ValueError):
        found = math.nan
    if not 0 < found < math.inf:
        raise UsageError(f"--budget {budget}: expected a time such as 90s, 5m or 1h")
    return found


REMEMBERED = 20
"""Earlier comparisons that are read for what they say of the cells."""


def earlier(folder: Path) -> list[dict[str, Any]]:
    """The latest comparisons in a results folder that were made on a machine such as this one, oldest first.

    How much another machine differs from itself says nothing of this one; nor does a file that cannot be read.
    """
    from harness import planner

    found: list[dict[str, Any]] = []
    for file in sorted(folder.glob("compare-*.json"), reverse=True):
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError, ZeroDivisionError):
            value = json.loads(file.read_text())
            if value["compare"] == 1 and value["machine"] == this_machine():
                planner.pasts([value])  # whoever cut or edited the file is noticed here
                found.append(value)
        if len(found) == REMEMBERED:
            break
    return found[::-1]


def this_machine() -> str:
    """The processor and how many of its cores are used, as a comparison names its machine."""
    return f"{environment.cpu_model()}, {machine.cores()} cores"


def write(
    folder: Path,
    pair: Pair,
    rule: Rule,
    seed: int,
    found: Sequence[Mapping[str, Any]],
    end: Ending,
    more: Mapping[str, Any] | None = None,
) -> Path:
    """The comparison with every sample, as one JSON file in the results folder."""
    stamp = results.timestamp()
    file = results.folder(folder) / f"compare-{stamp.replace(':', '-')}.json"
    value = {
        "compare": 1,
        "time": stamp,
        "base": pair.base.name,
        "head": pair.head.name,
        "machine": this_machine(),
        "rule": to_json(rule),
        "seed": seed,
        "notes": pair.notes,
        "exit": end.code,
        "words": end.words,
        "cells": found,
        **(more or {}),
    }
    file.write_text(json.dumps(to_json(value)))
    return file
