"""Outcomes of a run for the terminal: a table per model, a line per cell, and the answer."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from evenbench.reports import answer, cell_texts, formatting, result_groups, verdict, warning_kinds
from evenbench.reports.result_groups import BASELINE, Group, Result
from evenbench.reports.sections import sides

WARNINGS_SHOWN = 3
"""Limit on kinds of warning under the table; a report has all warnings."""

WIDE = 100
"""From this many columns on, a line has the interval of the latency and the parity."""

STYLES = {"ok": "green", "mismatch": "bold red", "fallback": "yellow", "failed": "red"}

_STANDINGS = {
    verdict.FASTER: ("faster", "green"),
    verdict.SLOWER: ("slower", "yellow"),
    verdict.EVEN: ("equivalent", ""),
    verdict.UNRESOLVED: (verdict.NOT_APART, ""),
    verdict.BASE: ("baseline", "dim"),
    verdict.UNKNOWN: ("", "dim"),
}


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
    """Print a table per group, warnings, and the answer.

    The time of an incorrect output stands in brackets.
    """
    members = result_groups.results(lines)
    groups = result_groups.groups(members)
    settings = {verdict.setting(group) for group in groups}
    if len(settings) == 1:
        console.print(Text(settings.pop(), style="dim"))
    _show_groups(groups, console, setting_in_heading=bool(settings))
    _show_sides(groups, console)
    for reason in _reasons(groups):
        console.print(Padding(reason, (0, 0, 0, 2)))
    for words in _footnotes(members):
        console.print(Text(words, style="dim"))
    title, *rest = answer.answer(groups, members).lines
    console.print()
    console.print(Text(title, style="bold"))
    for sentence in rest:
        console.print(Text(sentence))


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


def _show_groups(groups: Sequence[Group], console: Console, setting_in_heading: bool) -> None:
    """Print a heading per group and a line per cell, with columns aligned over all groups.

    Only the last column is cut where a line is long.
    """
    headings = ["", *_headings(groups, console.width), "verdict"]
    tables = [
        [_cells(group, result, headings) for result in (*group.ranked, *group.unranked)]
        for group in groups
    ]
    columns = zip(*(line for lines in tables for line in lines), strict=True)
    needed = [
        max(len(heading), *(len(cell) for cell in column))
        for heading, column in zip(headings, columns, strict=True)
    ]
    room = console.width
    widths = [min(needed[0], NAME_WIDTH), *needed[1:-1]]
    console.print(_table([[Text(heading, style="dim") for heading in headings]], widths, room))
    for place, (group, lines) in enumerate(zip(groups, tables, strict=True)):
        title = Text("\n" if place else "").append(str(group.first.get("model", "")), style="bold")
        if setting_in_heading:
            title.append(f"  {verdict.setting(group)}", style="dim")
        console.print(title)
        console.print(_table(lines, widths, room))


def _table(lines: Sequence[Sequence[Text]], widths: Sequence[int], room: int) -> Table:
    table = Table.grid(padding=(0, GAP, 0, 0), pad_edge=False)
    for place, width in enumerate(widths):
        table.add_column(
            width=width,
            justify="right" if place else "left",
            no_wrap=True,
            overflow="ellipsis",
        )
    rest = room - sum(widths) - GAP * len(widths)
    table.add_column(width=max(rest, NARROWEST), no_wrap=True, overflow="ellipsis")
    for line in lines:
        table.add_row(*line)
    return table


NAME_WIDTH = 28
"""The widest name of a runtime with its options that is shown in full."""

GAP, NARROWEST = 2, 8
"""Columns between two numbers, and the least width of the verdict."""

LATENCY, SPEEDUP, PARITY, INTERVAL = "latency", f"× {BASELINE}", "parity", "95 % interval"


def _headings(groups: Sequence[Group], width: int) -> list[str]:
    """The columns of numbers that fit; an interval stands after its number."""
    wide = width >= WIDE
    speedup = [SPEEDUP, INTERVAL] if any(group.asks_baseline for group in groups) else []
    latency = [LATENCY, INTERVAL] if wide or not speedup else [LATENCY]
    return [*latency, *speedup, *([PARITY] if wide else [])]


def _cells(group: Group, result: Result, headings: Sequence[str]) -> list[Text]:
    speedup, ratio_interval = verdict.speedup_texts(group, result)
    latency_interval = formatting.latency_interval(result.compute)
    intervals = {LATENCY: latency_interval, SPEEDUP: ratio_interval}
    numbers = {
        LATENCY: _latency(result),
        SPEEDUP: Text(speedup),
        PARITY: Text(cell_texts.parity_text(result)),
    }
    cells = [Text(f"  {result.name}")]
    for before, heading in itertools.pairwise(headings[:-1]):
        if heading == INTERVAL:
            cells.append(Text(_interval(intervals[before]), style="dim"))
        else:
            cells.append(numbers[heading])
    return [*cells, _verdict(group, result)]


def _latency(result: Result) -> Text:
    # Times that do not count stand in brackets, as pipes and files have no struck-out letters.
    text = formatting.latency(result.compute)
    if result.outcome != "ok" and text != formatting.DASH:
        return Text(f"[{text}]", style="strike dim")
    return Text(text)


def _interval(text: str) -> str:
    # A terminal is narrow, so a missing interval is shortened.
    return "1 process" if text == formatting.NO_INTERVAL else text


def _verdict(group: Group, result: Result) -> Text:
    """The outcome or the standing, then labels and the number of warnings."""
    warned = len(warning_kinds.of_cell(result))
    counted = [formatting.count(warned, "warning")] if warned else []
    labels = [*map(str, result.record.get("labels") or ()), *counted]
    text = _standing(group, result)
    for more in labels:
        text.append(f"{'; ' if text else ''}{more}", style="dim")
    return text


def _standing(group: Group, result: Result) -> Text:
    if result.outcome != "ok":
        return Text(result.outcome, style=STYLES.get(result.outcome, "dim"))
    if not result.ranks:
        return Text("control", style="dim")
    unsteady = len(result.compute_ns) < 2 or not formatting.judged(result.compute)
    if unsteady or group.withheld(result):
        return Text(formatting.NOT_JUDGED, style="dim")
    words, style = _STANDINGS[verdict.tone(group, result)]
    if result in group.fastest and len(group.ranked) > 1:
        base = "; baseline" if result is group.baseline else ""
        words = f"{'fastest' if len(group.fastest) == 1 else 'tied fastest'}{base}"
    return Text(words, style=style)


def _reasons(groups: Sequence[Group]) -> list[Text]:
    """The reason of every cell without a correct output, in full."""
    return [
        Text.assemble(
            (f"{result.outcome} ", STYLES.get(result.outcome, "dim")),
            (f"{result.cell.get('id', '')}: ", ""),
            (cell_texts.reason(group, result), "dim"),
        )
        for group in groups
        for result in group.unranked
        if result.outcome != "ok"
    ]


def _footnotes(members: Sequence[Result]) -> list[str]:
    """The most frequent kinds of warning, with their number of cells."""
    kinds = warning_kinds.kinds(members)
    shown = [
        f"warning ({formatting.count(len(kind.cells), 'cell')}): "
        f"{'; '.join(filter(None, [kind.seen, kind.advice]))}"
        for kind in kinds[:WARNINGS_SHOWN]
    ]
    more = len(kinds) - len(shown)
    return [
        *shown,
        *([f"{formatting.count(more, 'more kind')} of warning: see the report"] if more else []),
    ]


def _row(group: Group, result: Result) -> OutcomeRow:
    return OutcomeRow(
        cell=str(result.cell.get("id", "")),
        outcome=result.outcome,
        latency=formatting.with_interval(
            formatting.latency(result.compute),
            _interval(formatting.latency_interval(result.compute)),
        ),
        speedup=formatting.with_interval(*map(_interval, verdict.speedup_texts(group, result))),
        parity=cell_texts.parity_text(result),
        reason="; ".join(
            filter(
                None,
                (*map(str, result.record.get("labels") or ()), cell_texts.reason(group, result)),
            )
        ),
    )
