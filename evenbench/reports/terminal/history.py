"""The history of cells as a table for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from evenbench.harness.results import records
from evenbench.reports import formatting, history_results
from evenbench.reports.history_results import METRICS, rows


def show(value: Mapping[str, Any], console: Console) -> None:
    """Print a row per cell, then steps with the commands to accept each, then the notes."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in (
        "cell",
        *(name.lower() for name in METRICS.values()),
        "results",
        "environments",
        "last",
        "",
    ):
        table.add_column(column, overflow="fold")
    for row in rows(value):
        metrics = [formatting.with_interval(*shown) for shown in row["metrics"]]
        state = "; ".join(row["states"]) or ("" if row["outcome"] == "ok" else row["outcome"])
        cells = (row["name"], *metrics, row["results"], row["environments"], " ".join(row["last"]))
        table.add_row(*map(Text, cells), Text(state, "yellow" if state else ""))
    console.print(table)
    for change in value["alarms"]:
        step = history_results.step(change, value["cells"])
        size = f"{step['change']} ({step['values']}), {step['margin']}"
        head = f"{step['cell']}: {step['metric'].lower()} {step['kind']}, {size}"
        style = "red" if step["kind"] == "worse" else "green"
        console.print(
            Text(f"{head}, since {step['commit']}, {step['points']} after it", style),
            soft_wrap=True,
        )
        for words in step["confirmed"]:
            console.print(Text(f"  in pairs: {words}"), soft_wrap=True)
        if not step["confirmed"] and change["commit_before"] not in ("", change["commit"]):
            sides = f"{change['commit_before'][:12]} {change['commit'][:12]}"
            console.print(
                Text(
                    f"  confirm it: evenbench compare {sides} {records.cell_flag(change['cell'])}"
                ),
                soft_wrap=True,
            )
        console.print(Text(f"  accept it: {step['accept']}"), soft_wrap=True)
    for note in value["notes"]:
        console.print(Text(f"note: {note}", "dim"), soft_wrap=True)
