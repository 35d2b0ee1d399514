"""Pipelines as a table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from evenbench.harness.core.pipeline_terms import STAGES
from evenbench.reports import formatting
from evenbench.reports.pipeline_notes import notes
from evenbench.reports.pipeline_results import Line, has_predecoded
from evenbench.reports.pipeline_rows import rows


def show(lines: Sequence[Line], console: Console) -> None:
    """Print a row per runtime, then reasons for missing numbers, then the notes."""
    rates, lost = _headings(lines)
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("backend", *rates.values(), *lost.values(), *STAGES, ""):
        table.add_column(column, overflow="fold")
    listed = rows(lines)
    for row in listed:
        cells = [
            row["name"],
            *(formatting.with_interval(*row[key]) for key in rates),
            *(row[key][0] for key in lost),
            *row["stages"].values(),
        ]
        remark = row["covered"] if row["outcome"] == "ok" else row["outcome"]
        table.add_row(*map(Text, cells), Text(remark, "yellow" if remark else ""))
    console.print(table)
    for row in listed:
        if row["outcome"] != "ok":
            reason = f"{row['name']}: {row['outcome']}: {row['reason']}"
            console.print(Text(reason, "yellow"), soft_wrap=True)
    for note in notes(lines):
        console.print(Text(f"note: {note}", "dim"), soft_wrap=True)


def _headings(lines: Sequence[Line]) -> tuple[dict[str, str], dict[str, str]]:
    """Headings of the rates and of the dropped frames, by the keys of `rows`."""
    target, in_flight = lines[0]["target_per_second"], lines[0]["in_flight"]
    rates = {
        "sequential": "FPS",
        "overlapped": f"FPS, {in_flight} in flight",
        "after": "FPS after decoding",
    }
    lost = {"dropped": f"dropped at {target:g}"} if target else {}
    if has_predecoded(lines):
        rates["held"] = f"after decoding, {in_flight} in flight"
        lost |= {"held_dropped": "dropped after decoding"} if target else {}
    return rates, lost
