"""`evenbench list`: all cells with their ability to run."""

from __future__ import annotations

import json
from dataclasses import dataclass

from evenbench.harness.collection import availability, selection, selection_flags
from evenbench.harness.collection.selection_flags import ALL_DECLARED, Selection
from evenbench.harness.commands import arguments
from evenbench.harness.commands.parser import Parser
from evenbench.harness.core import exit_codes

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
    """Print a line per cell, or a JSON array."""
    prospects = list(availability.prospects(selection.select(options.selection)))
    if options.json:
        print(json.dumps(prospects))
        return exit_codes.PASS
    width = max(len(prospect["id"]) for prospect in prospects)
    lines = (
        f"{prospect['id']:<{width}}  {availability.prospect_note(prospect)}".rstrip()
        for prospect in prospects
    )
    print("\n".join(lines))
    return exit_codes.PASS
