"""`evenbench bisect GOOD BAD`: the first commit at which a cell became worse, each step a paired
test against GOOD.

A step has four ends: worse, not worse, inconclusive, and skipped, where a commit cannot be built or
does not declare the cell. An inconclusive one is measured again with twice as many pairs, up to a
limit, and is never guessed: what stays open is answered with a range of suspects. The commits are
those of the first-parent line, so that a merge counts as one change.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.collection import selection
from harness.commands import compare
from harness.commands import console as terminal
from harness.comparison import recording
from harness.comparison.binary_search import steps_left
from harness.comparison.bisection import BisectionSearch, record
from harness.comparison.bisection_step import METRICS, BisectionSettings
from harness.core import exit_codes, quantities
from harness.core.errors import UsageError
from harness.core.plans import PLANS
from harness.results import records
from harness.runner import launcher

if TYPE_CHECKING:
    from rich.console import Console


FOUND, OPEN = 0, 1

EPILOG = """\
  evenbench bisect v1.2 HEAD -k "resnet18 and ort"       the commit that made it slower
  evenbench bisect v1.2 HEAD --metric artifact           the commit that made a file larger; nothing is timed
  evenbench bisect v1.2 HEAD --cell ID --budget 1h       what is known after an hour

Every step is a whole `evenbench compare` of GOOD with one commit, and is recorded like one. Where GOOD and BAD themselves do not
differ, there is nothing to find, and that is said. Of several cells that became worse, the one that did so most is followed.

exit codes:
  0  one commit was found
  1  a range of suspects is left, or GOOD and BAD do not show the step
  2  interrupted: the steps so far lie in the results folder
  3  a fault of evenbench itself, with its traceback
  4  what was asked for cannot be: GOOD is no ancestor of BAD, the clone is too shallow
  5  no cell that GOOD and BAD both have
"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The flags of the command."""
    command.add_argument(
        "good", metavar="GOOD", help="a commit at which the cell was as it should be"
    )
    command.add_argument("bad", metavar="BAD", help="a later commit at which it is worse")
    selection.add_arguments(command)
    command.add_argument(
        "--metric", choices=METRICS, default="latency", help="what became worse (latency)"
    )
    command.add_argument(
        "--margin", type=float, default=0.02, help="relative slowdown that does not matter (0.02)"
    )
    command.add_argument(
        "--pairs", type=int, default=30, metavar="N", help="of processes at most, at first (30)"
    )
    command.add_argument(
        "--most",
        type=int,
        default=120,
        metavar="N",
        help="of processes at most, where a step stays inconclusive (120)",
    )
    command.add_argument(
        "--budget", default="", metavar="TIME", help="answer with what is known after 90s, 5m or 1h"
    )
    command.add_argument(
        "--plan",
        choices=sorted(PLANS),
        default="default",
        help="whose warm-up and timeout (default)",
    )
    command.add_argument("--seed", type=int, default=0, help="of all orders (0)")
    command.add_argument(
        "--results", default="results", metavar="DIR", help="where every step is written (results)"
    )
    command.add_argument(
        "--json", action="store_true", help="one JSON value on standard output instead of text"
    )


def parsed(words: Sequence[str]) -> argparse.Namespace:
    """The command's words, for those who call `search` themselves."""
    parser = argparse.ArgumentParser(prog="evenbench bisect", allow_abbrev=False)
    add_arguments(parser)
    return parser.parse_args(list(words))


def run(options: argparse.Namespace) -> int:
    """The command; returns its exit code."""
    import sys

    from harness.comparison.sides import NothingToCompare

    try:
        value = search(options, terminal.console(stderr=True))
    except NothingToCompare as error:
        print(f"evenbench: error: {error}", file=sys.stderr)
        return exit_codes.NOTHING
    if options.json:
        print(json.dumps(value))
    else:
        console = terminal.console()
        console.print("\n".join(value["words"]), markup=False, soft_wrap=True)
        console.print(value["file"], markup=False, soft_wrap=True)
    return FOUND if value["first"] else OPEN


def search(options: argparse.Namespace, notes: Console) -> dict[str, Any]:
    """Find the commit, and keep what was found in the results folder. Raises NothingToCompare where
    the commits share no cell.
    """
    from harness.comparison import budget
    from harness.comparison.git import checked_out, first_parent_line
    from harness.comparison.verdicts import MARGINS
    from harness.statistics import paired_test

    assert set(METRICS) == set(MARGINS)
    launcher.interrupt_when_ended()
    if options.most < options.pairs:
        raise UsageError(
            f"--most {options.most} is less than --pairs {options.pairs}, with which every step begins; raise it"
        )
    deadline = time.monotonic() + quantities.seconds_of(options.budget)
    rule = paired_test.Rule(
        margin=options.margin,
        most=options.pairs,
        least=min(paired_test.FEWEST_PAIRS, options.pairs),
    )
    good, commits = first_parent_line(options.good, options.bad)
    folder = records.folder(Path(options.results))
    known = budget.pasts(recording.earlier(folder))
    notes.print(
        f"{len(commits)} commits after {good}, so about {1 + steps_left(len(commits))} steps",
        markup=False,
        soft_wrap=True,
    )
    with checked_out(good) as side, compare.listener(notes) as listen:
        plan = PLANS[options.plan]
        words = selection.words_of(options)
        settings = BisectionSettings(
            words,
            options.metric,
            rule,
            options.most,
            plan,
            options.seed,
            folder,
            known,
            deadline,
            listen,
        )
        searched = BisectionSearch(
            side, commits, settings, lambda words: notes.print(words, markup=False, soft_wrap=True)
        )
        narrowed = searched.narrow() if searched.reproduces() else None
    value = record(good, searched, narrowed)
    file = folder / f"bisect-{value['time'].replace(':', '-')}.json"
    file.write_text(json.dumps(value))
    return {**value, "file": str(file)}
