"""Outcomes of a run as a table for the terminal, a row per cell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from evenbench.reports import cell_texts, formatting, result_groups, verdict
from evenbench.reports.result_groups import BASELINE, Group, Result
from evenbench.reports.sections import sides

WARNINGS_SHOWN = 8
"""Limit on kinds of warning under the table; a report has all warnings."""

STYLES = {"ok": "green", "mismatch": "bold red", "fallback": "yellow", "failed": "red"}


@dataclass(frozen=True)
class OutcomeRow:
    """A cell as texts.

    `latency` and `speedup` include intervals; `parity` is tolerance needed / allowed.
    """

    cell: str
    outcome: str
    latency: str
    speedup: str
    parity: str
    reason: str


def rows(lines: Sequence[Mapping[str, Any]]) -> list[OutcomeRow]:
    """Return a row per record, by group, correct cells first, fastest first."""
    return _rows(result_groups.groups(result_groups.results(lines)))


def _rows(groups: Sequence[Group]) -> list[OutcomeRow]:
    return [_row(group, result) for group in groups for result in (*group.ranked, *group.unranked)]


def show(lines: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Print a table of all cells, then warnings.

    The time of an incorrect output stands in brackets.
    """
    groups = result_groups.groups(result_groups.results(lines))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("cell", overflow="fold")
    table.add_column("outcome", no_wrap=True)
    table.add_column("compute latency", justify="right")
    table.add_column(f"over {BASELINE}", justify="right")
    table.add_column("parity", justify="right", no_wrap=True)
    table.add_column("reason", overflow="fold", ratio=1)
    for row in _rows(groups):
        table.add_row(*_styled(row))
    console.print(table)
    busy = verdict.machine_words(result_groups.groups(result_groups.results(lines)))
    if busy:
        console.print(Text(busy, style="bold"))
    _show_sides(groups, console)
    for words in _footnotes(lines):
        console.print(Text(words, style="dim"))


def _show_sides(groups: Sequence[Group], console: Console) -> None:
    """Print the cells beside their other sides, if the run has any."""
    listed = sides.rows(groups)
    if not listed:
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("cell", overflow="fold")
    table.add_column("other side", overflow="fold")
    for heading in ("here", "there", "there over here"):
        table.add_column(heading, justify="right")
    table.add_column("here is", overflow="fold", ratio=1)
    for row in listed:
        table.add_row(*map(Text, row))
    console.print(table)


def _footnotes(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """Every warning once, with its number of cells, the most frequent first."""
    counted = Counter(str(warning) for line in lines for warning in line.get("warnings") or [])
    shown = [
        f"warning ({formatting.count(many, 'cell')}): {words}"
        for words, many in counted.most_common(WARNINGS_SHOWN)
    ]
    more = len(counted) - len(shown)
    return [
        *shown,
        *([f"{formatting.count(more, 'more kind')} of warning: see the report"] if more else []),
    ]


def _row(group: Group, result: Result) -> OutcomeRow:
    return OutcomeRow(
        cell=str(result.cell.get("id", "")),
        outcome=result.outcome,
        latency=_short(
            formatting.latency(result.compute), formatting.latency_interval(result.compute)
        ),
        speedup=_short(*verdict.speedup_texts(group, result)),
        parity=cell_texts.parity_text(result),
        reason="; ".join(
            filter(
                None,
                (*map(str, result.record.get("labels") or ()), cell_texts.reason(group, result)),
            )
        ),
    )


def _short(value: str, interval: str) -> str:
    # A terminal is narrow, so a missing interval is shortened.
    return formatting.with_interval(
        value, "1 process" if interval == formatting.NO_INTERVAL else interval
    )


def _styled(row: OutcomeRow) -> list[Text]:
    # Text instead of str: rich would read brackets of a reason or a name as markup.
    # Times that do not count stand in brackets, as pipes and files have no struck-out letters.
    wrong = row.outcome != "ok" and row.latency != formatting.DASH
    return [
        Text(row.cell),
        Text(row.outcome, style=STYLES.get(row.outcome, "dim")),
        Text(f"[{row.latency}]", style="strike dim") if wrong else Text(row.latency),
        Text(row.speedup),
        Text(row.parity),
        Text(row.reason, style="" if row.outcome == "ok" else "dim"),
    ]
