"""`evenbench list`: every cell and whether it can run."""

from __future__ import annotations

import argparse
import json

from harness.collection import availability, selection
from harness.commands.arguments import add_json_flag


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The flags of `list`."""
    selection.add_arguments(command)
    add_json_flag(command)


def run(options: argparse.Namespace) -> int:
    """One line per cell, or one JSON array."""
    prospects = list(availability.prospects(selection.select(options)))
    if options.json:
        print(json.dumps(prospects))
        return 0
    width = max(len(prospect["id"]) for prospect in prospects)
    lines = (
        f"{prospect['id']:<{width}}  {availability.prospect_note(prospect)}".rstrip()
        for prospect in prospects
    )
    print("\n".join(lines))
    return 0
