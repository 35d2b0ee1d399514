"""`evenbench bisect GOOD BAD`: the first commit with a worse cell.

Each step is a paired test against GOOD with four endings: worse, not worse, inconclusive, or
skipped for a commit without a build or without the cell. An inconclusive step is repeated with
twice as many pairs up to a limit, and is never guessed: the result is then a range of suspects.
Only commits of the first-parent line count, so a merge is a single change.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.harness.collection import selection_flags
from evenbench.harness.collection.selection_flags import ALL_DECLARED, Selection
from evenbench.harness.commands import arguments, progress
from evenbench.harness.commands import console as terminal
from evenbench.harness.commands.parser import Parser
from evenbench.harness.comparison import recording
from evenbench.harness.comparison.binary_search import steps_left
from evenbench.harness.comparison.bisection import BisectionSearch, record
from evenbench.harness.comparison.bisection_step import METRICS, BisectionSettings
from evenbench.harness.core import exit_codes, quantities
from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.plans import PLANS
from evenbench.harness.results import records
from evenbench.harness.runner import launcher

if TYPE_CHECKING:
    from rich.console import Console

    from evenbench.harness.statistics.paired_test import Rule

FOUND, OPEN = exit_codes.PASS, exit_codes.WORSE

EPILOG = """\
Examples:
  evenbench bisect v1.2 HEAD -k "resnet18 and ort"
  evenbench bisect v1.2 HEAD --metric artifact      larger file; no timing
  evenbench bisect v1.2 HEAD --cell ID --budget 1h
Each step is recorded like an `evenbench compare`. Of several worse cells,
the worst is searched.
Docs: docs/explanation/statistics.md
"""

EXIT_CODES = {
    FOUND: "one commit is found",
    OPEN: "suspects are left, or GOOD and BAD do not differ",
    exit_codes.INTERRUPTED: "interrupted; finished steps are recorded",
    exit_codes.NOTHING: "no cell at both GOOD and BAD",
}


@dataclass(frozen=True)
class BisectOptions:
    """The options of `evenbench bisect`."""

    good: str
    bad: str
    selection: Selection = ALL_DECLARED
    metric: str = "latency"
    margin: float = 0.02
    pairs: int = 30
    most: int = 120
    budget: str = ""
    plan: str = "default"
    seed: int = 0
    results: str = "results"
    json: bool = False

    def rule(self) -> Rule:
        """Return the rule of the paired test of a first attempt."""
        from evenbench.harness.statistics import paired_test

        return paired_test.Rule.of_at_most(self.pairs, self.margin)


def add_arguments(command: Parser) -> None:
    """Add the flags."""
    command.add_argument("good", metavar="GOOD", help="commit with a good cell")
    command.add_argument("bad", metavar="BAD", help="later commit with a worse cell")
    selection_flags.add_arguments(command)
    command.add_argument(
        "--metric",
        choices=METRICS,
        metavar="M",
        help=f"metric: {', '.join(METRICS)} [default: latency]",
    )
    arguments.add_margin(command)
    arguments.add_pairs(command)
    command.add_argument(
        "--most",
        type=int,
        metavar="N",
        help="most pairs of a repeated step [default: %(default)s]",
    )
    arguments.add_budget(command)
    arguments.add_plan(command)
    arguments.add_seed(command)
    arguments.add_results(command)
    arguments.add_json_flag(command)


def run(options: BisectOptions) -> int:
    """Search the commit, print the result and return the exit code."""
    from evenbench.harness.comparison.sides import NothingToCompare

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


def search(options: BisectOptions, notes: Console) -> dict[str, Any]:
    """Search the commit and record the result; raises NothingToCompare for commits without a
    common cell.
    """
    from evenbench.harness.comparison import budget
    from evenbench.harness.comparison.git import checked_out, first_parent_line
    from evenbench.harness.comparison.verdicts import MARGINS

    assert set(METRICS) == set(MARGINS)
    launcher.interrupt_when_ended()
    if options.most < options.pairs:
        raise UsageError(
            f"--most {options.most} is less than --pairs {options.pairs}, "
            "with which every step begins; raise it"
        )

    def tell(text: str) -> None:
        notes.print(text, markup=False, soft_wrap=True)

    deadline = time.monotonic() + quantities.seconds_of(options.budget)
    good, commits = first_parent_line(options.good, options.bad)
    folder = records.folder(Path(options.results))
    known = budget.pasts(recording.earlier(folder))
    steps = quantities.count(1 + steps_left(len(commits)), "step")
    tell(f"{quantities.count(len(commits), 'commit')} after {good}, so about {steps}")
    with checked_out(good) as side, progress.listener(notes) as listen:
        settings = BisectionSettings(
            options.selection.words(),
            options.metric,
            options.rule(),
            options.most,
            PLANS[options.plan],
            options.seed,
            folder,
            known,
            deadline,
            listen,
        )
        searched = BisectionSearch(side, commits, settings, tell)
        narrowed = searched.narrow() if searched.reproduces() else None
    value = record(good, searched, narrowed)
    file = folder / f"bisect-{value['time'].replace(':', '-')}.json"
    file.write_text(json.dumps(value))
    return {**value, "file": str(file)}
