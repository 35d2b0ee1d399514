"""A load scenario as a table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from evenbench.reports.load_results import HEADINGS, TEXT_COLUMNS, Line, notes, rows


def show(lines: Sequence[Line], console: Console) -> None:
    """Print the points of a run as a table, then results per cell, refusals and reasons."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("cell", overflow="fold")
    for heading in HEADINGS[lines[0]["scenario"]["name"]]:
        table.add_column(
            heading, justify="left" if heading in TEXT_COLUMNS else "right", no_wrap=True
        )
    listed = [row for line in lines for row in rows(line)]
    for row in listed:
        table.add_row(*map(Text, row))
    if listed:
        console.print(table)
    for note in notes(lines):
        console.print(Text(note), soft_wrap=True)
