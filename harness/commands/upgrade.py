"""`evenbench bridge OLD NEW`: what a runtime's upgrade between two recorded states did, measured in
pairs: its step, not its drift.

A history breaks where a runtime's version changes, since the machine changed meanwhile too. A
bridge joins it again: both releases in environments of their own, at the same time, on the same
declarations and bytes. It is an ordinary comparison, recorded with a `bridge` entry that says from
which version to which.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.collection import selection
from harness.commands import compare
from harness.commands import console as terminal
from harness.comparison.sides import NothingToCompare
from harness.core.exit_codes import NOTHING, WORSE
from harness.core.plans import PLANS

if TYPE_CHECKING:
    pass
from harness.comparison.upgrade import BackendUpgrade, changes, packages_of, upgrades

EPILOG = """\
  evenbench bridge results/before.jsonl results/after.jsonl
  evenbench bridge .asv/results/vm/1234abcd-env.json .asv/results/vm/5678abcd-env.json -k resnet18

OLD and NEW are results of `evenbench run` (files or folders) or of asv (one file of .asv/results/MACHINE). Every runtime whose
version differs is compared with itself, by the `evenbench compare` command that is shown; other packages that changed are named.

exit codes: those of `evenbench compare`: 1 where it is that of any runtime, otherwise the highest; 5 where no runtime's version changed, or
no cell is chosen
"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The flags of the command."""
    command.add_argument("old", metavar="OLD", help="recorded with the old versions")
    command.add_argument("new", metavar="NEW", help="recorded with the new ones")
    selection.add_arguments(command)
    command.add_argument(
        "--pairs", type=int, default=30, metavar="N", help="of processes at most, per cell (30)"
    )
    command.add_argument(
        "--budget",
        default="",
        metavar="TIME",
        help="of each runtime: stop adding pairs after 90s, 5m or 1h",
    )
    command.add_argument(
        "--plan",
        choices=sorted(PLANS),
        default="default",
        help="whose warm-up and timeout (default)",
    )
    command.add_argument("--seed", type=int, default=0, help="of all orders (0)")
    command.add_argument(
        "--results",
        default="results",
        metavar="DIR",
        help="where the comparisons are written (results)",
    )
    command.add_argument(
        "--dry-run", action="store_true", help="only say what changed, and the commands"
    )


def command_of(move: BackendUpgrade, options: argparse.Namespace) -> list[str]:
    """The words after `evenbench compare` that measure a move."""
    words = [*move.sides, *options.targets]
    for cell in move.cells:
        words += ["--cell", cell]
    for flag in ("pairs", "budget", "plan", "seed", "results"):
        value = str(getattr(options, flag))
        words += [f"--{flag}", value] if value else []
    return [*words, *selection.given(options)]


def run(options: argparse.Namespace) -> int:
    """The command; returns its exit code."""
    from harness.comparison import side_worker

    console, notes = terminal.console(), terminal.console(stderr=True)
    changed = changes(packages_of(Path(options.old)), packages_of(Path(options.new)))
    try:
        found = upgrades(changed, side_worker.chosen(selection.words_of(options)))
    except selection.NoCells as error:
        notes.print(f"evenbench: error: {error}", markup=False, soft_wrap=True)
        return NOTHING
    bridged = {move.package for move in found}
    rest = [f"{name} {old} to {new}" for name, (old, new) in changed.items() if name not in bridged]
    if not found:
        told = f"changed are {', '.join(rest)}" if rest else "no package changed its version"
        notes.print(
            f"{options.old} and {options.new}: no chosen cell's runtime changed; {told}",
            markup=False,
            soft_wrap=True,
        )
        return NOTHING
    if rest:
        notes.print(
            f"also changed, and equal on both sides of the bridge: {', '.join(rest)}",
            markup=False,
            soft_wrap=True,
        )
    codes = [0]
    for move in found:
        words = command_of(move, options)
        console.print(
            f"{move.package} {move.old} to {move.new}: evenbench compare {shlex.join(words)}",
            markup=False,
            soft_wrap=True,
        )
        if not options.dry_run:
            try:
                codes.append(_compared(words, move))
            except NothingToCompare as error:
                notes.print(f"evenbench: error: {error}", markup=False, soft_wrap=True)
                codes.append(NOTHING)
    # What is confirmed of one runtime stands, however restless the machine was for another.
    return WORSE if WORSE in codes else max(codes)


def _compared(words: Sequence[str], move: BackendUpgrade) -> int:
    parser = argparse.ArgumentParser(prog="evenbench compare", allow_abbrev=False)
    compare.add_arguments(parser)
    return compare.run_in_pairs(parser.parse_args(list(words)), {"bridge": move.record})
