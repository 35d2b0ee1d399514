"""`evenbench list`: all cells with their ability to run."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evenbench.harness.collection import availability, selection, selection_flags
from evenbench.harness.collection.selection_flags import ALL_DECLARED, Selection
from evenbench.harness.commands import arguments, console
from evenbench.harness.commands.parser import Parser
from evenbench.harness.core import exit_codes, quantities
from evenbench.harness.core.plans import PLANS

if TYPE_CHECKING:
    from rich.console import Console

EPILOG = """\
Examples:
  evenbench list
  evenbench list -k "fp32 and not cpp" --json
Docs: README.md
"""

EXIT_CODES = {exit_codes.PASS: "at least one cell is selected, able to run or not"}


@dataclass(frozen=True)
class ListOptions:
    """The options of `evenbench list`."""

    selection: Selection = ALL_DECLARED
    json: bool = False


def add_arguments(command: Parser) -> None:
    """Add the flags."""
    selection_flags.add_arguments(command)
    arguments.add_json_flag(command)


def run(options: ListOptions) -> int:
    """Print a table on a terminal, a line per cell in a pipe, or a JSON array."""
    prospects = list(availability.prospects(selection.select(options.selection)))
    if options.json:
        print(json.dumps(prospects))
        return exit_codes.PASS
    if sys.stdout.isatty():
        show(prospects, console.console())
        return exit_codes.PASS
    width = max(len(prospect["id"]) for prospect in prospects)
    lines = (
        f"{prospect['id']:<{width}}  {availability.prospect_note(prospect)}".rstrip()
        for prospect in prospects
    )
    print("\n".join(lines))
    return exit_codes.PASS


def show(prospects: Sequence[Mapping[str, Any]], terminal: Console) -> None:
    """Print a heading and a line per cell with its ability to run, then counts and time."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("cell", no_wrap=True, overflow="ellipsis", min_width=24)
    table.add_column("can run", overflow="fold")
    for prospect in prospects:
        note = availability.prospect_note(prospect)
        table.add_row(
            Text(prospect["id"]), Text(note, style="yellow") if note else Text("yes", style="green")
        )
    terminal.print(table)
    terminal.print(Text(f"\n{summary(prospects)}", style="bold"))


def summary(prospects: Sequence[Mapping[str, Any]]) -> str:
    """Return counts and the least time: `27 cells: 5 models on 6 backends; 25 can run; ...`."""
    able = [prospect for prospect in prospects if not availability.prospect_note(prospect)]
    models, backends = (
        len({prospect[name] for prospect in prospects}) for name in ("model", "backend")
    )
    plan = PLANS["default"]
    minutes = max(1, round(len(able) * plan.typical_seconds / 60))
    return (
        f"{quantities.count(len(prospects), 'cell')}: {quantities.count(models, 'model')} on "
        f"{quantities.count(backends, 'backend')}; {len(able)} can run, in about {minutes} min "
        f"with --plan {plan.name}, without preparation"
    )
