"""`evenbench bridge OLD NEW`: what a runtime's upgrade between two recorded states did, measured in pairs: its step, not its drift.

A history breaks where a runtime's version changes, since the machine changed meanwhile too. A bridge joins it again: both releases
in environments of their own, at the same time, on the same declarations and bytes. It is an ordinary comparison, recorded with a
`bridge` entry that says from which version to which.
"""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness import compare, results, targets, terminal
from harness.codes import NOTHING, WORSE
from harness.sides import NothingToCompare
from harness.types import PLANS, UsageError

if TYPE_CHECKING:
    from harness.types import Cell

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
    targets.add_arguments(command)
    command.add_argument("--pairs", type=int, default=30, metavar="N", help="of processes at most, per cell (30)")
    command.add_argument("--budget", default="", metavar="TIME", help="of each runtime: stop adding pairs after 90s, 5m or 1h")
    command.add_argument("--plan", choices=sorted(PLANS), default="default", help="whose warm-up and timeout (default)")
    command.add_argument("--seed", type=int, default=0, help="of all orders (0)")
    command.add_argument("--results", default="results", metavar="DIR", help="where the comparisons are written (results)")
    command.add_argument("--dry-run", action="store_true", help="only say what changed, and the commands")


@dataclass(frozen=True)
class Move:
    """One backend's upgrade: the distribution that it is named after, both versions, and its cells in the declarations."""

    backend: str
    package: str
    old: str
    new: str
    cells: tuple[str, ...]

    @property
    def sides(self) -> tuple[str, str]:
        """`ort@1.24.1` and `ort@1.31.1`."""
        return f"{self.backend}@{self.old}", f"{self.backend}@{self.new}"

    @property
    def record(self) -> dict[str, dict[str, str]]:
        """What the comparison says of itself."""
        return {"from": {self.package: self.old}, "to": {self.package: self.new}}


def packages_of(path: Path) -> dict[str, str]:
    """The version of every package that a recorded state names, by distribution in lower case.

    Raises UsageError for what is neither results nor one of asv's result files, or names a package in two versions.
    """
    if path.suffix == ".json":
        return {name.removeprefix("pip+").lower(): version for name, version in _asv_requirements(path).items()}
    lines = results.read([path]).lines
    if not lines:
        raise UsageError(f"{path}: no outcomes; give results of `evenbench run`, or a file of .asv/results/MACHINE")
    found: dict[str, str] = {}
    for line in lines:
        if "@" in line["cell"]["backend"]:
            continue  # its packages are those of an environment that its name already tells
        for name, version in (line.get("environment") or {}).get("packages", {}).items():
            if found.setdefault(name.lower(), version) != version:
                raise UsageError(f"{path} holds {name} {found[name.lower()]} and {version}; name the file of one run")
    return found


def _asv_requirements(path: Path) -> Mapping[str, str]:
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: {error}; give results of `evenbench run`, or a file of .asv/results/MACHINE") from error
    requirements = value.get("requirements") if isinstance(value, dict) else None
    if not isinstance(requirements, dict) or not requirements:
        raise UsageError(f"{path}: no result of asv that says its requirements; give a file of .asv/results/MACHINE")
    return requirements


def changes(old: Mapping[str, str], new: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """The packages that both states have, in different versions; this project's own version is no matter of environments."""
    shared = sorted({*old} & {*new} - {"evenbench"})
    return {name: (old[name], new[name]) for name in shared if old[name] != new[name]}


def moves(changed: Mapping[str, tuple[str, str]], cells: Mapping[str, Cell]) -> list[Move]:
    """One per backend of the cells (by declared id) whose runtime changed: its first distribution is what `backend@version` means."""
    from harness import registry

    by_backend: dict[str, list[str]] = {}
    for name, cell in cells.items():
        if "@" not in cell.backend and not registry.row(cell.backend).environment:
            by_backend.setdefault(cell.backend, []).append(name)
    found = []
    for backend, names in by_backend.items():
        package = next(iter(registry.find(backend).distributions), "").lower()
        if package in changed:
            found.append(Move(backend, package, *changed[package], tuple(names)))
    return found


def command_of(move: Move, options: argparse.Namespace) -> list[str]:
    """The words after `evenbench compare` that measure a move."""
    words = [*move.sides, *options.targets]
    for cell in move.cells:
        words += ["--cell", cell]
    for flag in ("pairs", "budget", "plan", "seed", "results"):
        value = str(getattr(options, flag))
        words += [f"--{flag}", value] if value else []
    return [*words, *targets.given(options)]


def run(options: argparse.Namespace) -> int:
    """The command; returns its exit code."""
    from harness import arm

    console, notes = terminal.console(), terminal.console(stderr=True)
    changed = changes(packages_of(Path(options.old)), packages_of(Path(options.new)))
    try:
        found = moves(changed, arm.chosen(compare.words_of(options)))
    except targets.NoCells as error:
        notes.print(f"evenbench: error: {error}", markup=False, soft_wrap=True)
        return NOTHING
    bridged = {move.package for move in found}
    rest = [f"{name} {old} to {new}" for name, (old, new) in changed.items() if name not in bridged]
    if not found:
        told = f"changed are {', '.join(rest)}" if rest else "no package changed its version"
        notes.print(f"{options.old} and {options.new}: no chosen cell's runtime changed; {told}", markup=False, soft_wrap=True)
        return NOTHING
    if rest:
        notes.print(f"also changed, and equal on both sides of the bridge: {', '.join(rest)}", markup=False, soft_wrap=True)
    codes = [0]
    for move in found:
        words = command_of(move, options)
        console.print(f"{move.package} {move.old} to {move.new}: evenbench compare {shlex.join(words)}", markup=False, soft_wrap=True)
        if not options.dry_run:
            try:
                codes.append(_compared(words, move))
            except NothingToCompare as error:
                notes.print(f"evenbench: error: {error}", markup=False, soft_wrap=True)
                codes.append(NOTHING)
    # What is confirmed of one runtime stands, however restless the machine was for another.
    return WORSE if WORSE in codes else max(codes)


def _compared(words: Sequence[str], move: Move) -> int:
    parser = argparse.ArgumentParser(prog="evenbench compare", allow_abbrev=False)
    compare.add_arguments(parser)
    return compare.run_in_pairs(parser.parse_args(list(words)), {"bridge": move.record})
