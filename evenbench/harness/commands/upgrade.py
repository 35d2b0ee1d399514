"""`evenbench upgrade OLD NEW`: the effect of a runtime's upgrade, measured in pairs.

The machine changes between two recordings as well, so a history breaks at a new version. An upgrade
comparison joins the history again: both releases run in environments of their own, at the same
time, on the same declarations and bytes. The comparison's record has a `bridge` entry with both
versions.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from pathlib import Path

from evenbench.harness.collection import selection, selection_flags
from evenbench.harness.collection.selection_flags import ALL_DECLARED, Selection, cell_words
from evenbench.harness.commands import arguments, compare
from evenbench.harness.commands import console as terminal
from evenbench.harness.commands.parser import Parser
from evenbench.harness.comparison.sides import NothingToCompare
from evenbench.harness.comparison.upgrade import BackendUpgrade, changes, packages_of, upgrades
from evenbench.harness.core import exit_codes
from evenbench.harness.core.exit_codes import NOTHING, WORSE

EPILOG = """\
Examples:
  evenbench upgrade results/before.jsonl results/after.jsonl
  evenbench upgrade old.json new.json -k resnet18    asv's result files
Each runtime with a new version is compared with its old one, by the
`evenbench compare` command that is printed.
Docs: docs/explanation/statistics.md
"""

EXIT_CODES = {
    exit_codes.PASS: "nothing is confirmed worse",
    WORSE: "a runtime's upgrade made a cell worse",
    exit_codes.INTERRUPTED: "interrupted; finished comparisons are recorded",
    NOTHING: "no runtime with a new version, or no cell is selected",
    exit_codes.UNHEALTHY: "base against base alarmed",
}


@dataclass(frozen=True)
class UpgradeOptions:
    """The options of `evenbench upgrade`."""

    old: str
    new: str
    selection: Selection = ALL_DECLARED
    pairs: int = 30
    budget: str = ""
    plan: str = "default"
    seed: int = 0
    results: str = "results"
    dry_run: bool = False


def add_arguments(command: Parser) -> None:
    """Add the flags."""
    command.add_argument("old", metavar="OLD", help="results with old versions, of run or asv")
    command.add_argument("new", metavar="NEW", help="results with new versions, of run or asv")
    selection_flags.add_arguments(command)
    arguments.add_pairs(command)
    arguments.add_budget(command)
    arguments.add_plan(command)
    arguments.add_seed(command)
    arguments.add_results(command)
    command.add_argument(
        "--dry-run", action="store_true", help="print changes and commands without measuring"
    )


def command_of(move: BackendUpgrade, options: UpgradeOptions) -> list[str]:
    """Return the words after `evenbench compare` for a move."""
    words = [*move.sides, *options.selection.targets, *cell_words(move.cells)]
    for flag in ("pairs", "budget", "plan", "seed", "results"):
        value = str(getattr(options, flag))
        words += [f"--{flag}", value] if value else []
    return [*words, *options.selection.model_words()]


def comparison_of(move: BackendUpgrade, options: UpgradeOptions) -> compare.CompareOptions:
    """Return the options of the same command."""
    base, head = move.sides
    return compare.CompareOptions(
        base,
        head,
        replace(options.selection, expression="", cell=tuple(move.cells)),
        pairs=options.pairs,
        budget=options.budget,
        plan=options.plan,
        seed=options.seed,
        results=options.results,
    )


def run(options: UpgradeOptions) -> int:
    """Compare every upgraded runtime with the old version; return the exit code."""
    from evenbench.harness.comparison import side_worker

    notes = terminal.console(stderr=True)

    def tell(text: str) -> None:
        notes.print(text, markup=False, soft_wrap=True)

    changed = changes(packages_of(Path(options.old)), packages_of(Path(options.new)))
    try:
        moves = upgrades(changed, side_worker.chosen(options.selection.words()))
    except selection.NoCells as error:
        tell(f"evenbench: error: {error}")
        return NOTHING
    compared = {move.package for move in moves}
    rest = [
        f"{name} {old} to {new}" for name, (old, new) in changed.items() if name not in compared
    ]
    if not moves:
        reason = f"changed are {', '.join(rest)}" if rest else "no package changed its version"
        tell(f"{options.old} and {options.new}: no chosen cell's runtime changed; {reason}")
        return NOTHING
    if rest:
        tell(f"also changed, and equal on both sides of the bridge: {', '.join(rest)}")
    codes = [exit_codes.PASS]
    for move in moves:
        words = shlex.join(command_of(move, options))
        terminal.console().print(
            f"{move.package} {move.old} to {move.new}: evenbench compare {words}",
            markup=False,
            soft_wrap=True,
        )
        if not options.dry_run:
            try:
                codes.append(_compared(comparison_of(move, options), move))
            except NothingToCompare as error:
                tell(f"evenbench: error: {error}")
                codes.append(NOTHING)
    # A confirmed slowdown of one runtime stands, however noisy the machine was for another.
    return WORSE if WORSE in codes else max(codes)


def _compared(options: compare.CompareOptions, move: BackendUpgrade) -> int:
    return compare.run_in_pairs(options, {"bridge": move.record})
