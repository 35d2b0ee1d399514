"""A recommendation as a table for the terminal, a row per cell, with reasons below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from evenbench.reports import formatting
from evenbench.reports.constraints import ALL
from evenbench.reports.deployment_facts import Facts
from evenbench.reports.model_scope import Scope
from evenbench.reports.pareto import BUSY
from evenbench.reports.recommendation import Advice, Chosen
from evenbench.reports.verdict import NOT_APART

REMARKS = {
    "not told apart": "not told apart from",
    "measured in one process": "1 process, not judged against",
    "measured in another run": "another run than",
    BUSY: "busy machine, not judged against",
}
"""The reasons of `reports.pareto` as remarks before the places of other cells."""


def show(
    model: str, scope: Scope, limits: Mapping[str, float], advice: Advice, console: Console
) -> None:
    """Print the answer, the ranking, cells in doubt, exclusions with reasons, and notes."""
    given = {
        least: [
            f"{constraint.name} {constraint.words(limits[constraint.name])}"
            for constraint in ALL
            if constraint.name in limits and constraint.least is least
        ]
        for least in (False, True)
    }
    bounds = [
        f"at {'least' if least else 'most'} {formatting.listing(words)}"
        for least, words in given.items()
        if words
    ]
    console.print(Text(", ".join([model, *scope.words, *bounds])))
    if advice.ranked:
        console.print(Text(recommended(advice)), style="bold", soft_wrap=True)
        console.print(_ranking(advice.ranked, advice))
    elif not advice.possible:
        nothing = "nothing satisfies that." if limits else "nothing here can be recommended."
        console.print(Text(nothing), style="bold")
        for line in advice.nearest:
            console.print(Text(f"  {line}"), soft_wrap=True)
    if advice.possible:
        _show_possible(advice, console)
    _show_excluded(advice, console)
    for note in scope.notes:
        console.print(Text(f"note: {note}"), soft_wrap=True)


def recommended(advice: Advice) -> str:
    """Return the sentence of the answer: the cell to ship, and cells as fast as it."""
    first, *others = advice.ranked
    ties = [cell.facts.id for cell in others if (first.facts.id, NOT_APART) in cell.not_apart]
    open_ = {why for cell in others for name, why in cell.not_apart if name == first.facts.id} - {
        NOT_APART
    }
    if open_:
        why = formatting.listing(sorted(open_))
        return f"{first.facts.id} has the lowest level, not judged against all others: {why}."
    if not ties:
        return f"Ship {first.facts.id}."
    names = formatting.listing([first.facts.id, *ties], "or")
    return f"Ship {names}: {NOT_APART}, so memory, first output and installed size decide."


def _show_possible(advice: Advice, console: Console) -> None:
    console.print("within every known limit, in doubt where nobody measured", style="bold")
    console.print(_ranking(advice.possible, advice))
    for cell in advice.possible:
        console.print(Text(f"  {cell.facts.id}: {'; '.join(cell.doubts)}"), soft_wrap=True)


def _show_excluded(advice: Advice, console: Console) -> None:
    front = {id(facts) for facts in advice.front}
    if advice.excluded:
        console.print("excluded", style="bold")
    for facts, reasons in advice.excluded:
        mark = " (front)" if id(facts) in front else ""
        console.print(Text(f"  {facts.id}{mark}: {'; '.join(reasons)}"), soft_wrap=True)


def _ranking(cells: Sequence[Chosen], advice: Advice) -> Table:
    front = {id(facts) for facts in advice.front}
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("", "cell", "host to host", "over fp32 eager", "p99", "memory", "accuracy"):
        table.add_column(heading, overflow="fold")
    sizes = any(cell.facts.installed_bytes for cell in cells)
    for heading in ("artifact", *(["installed"] if sizes else []), "first output"):
        table.add_column(heading, overflow="fold")
    for heading in ("front", "remark"):
        table.add_column(heading, overflow="fold")
    places = {cell.facts.id: str(place) for place, cell in enumerate(cells, 1)}
    for place, cell in enumerate(cells, 1):
        facts = cell.facts
        columns = (
            facts.id,
            formatting.latency(facts.result.host_to_host),
            "1×" if facts.eager is facts.result else formatting.ratio(facts.over_eager),
            formatting.duration(facts.p99_ns),
            formatting.size(facts.memory_bytes),
            formatting.number(facts.accuracy, 4),
            formatting.size(facts.size_bytes),
            *([formatting.size(facts.installed_bytes)] if sizes else []),
            formatting.duration(facts.cold_start_ns),
            "front" if id(facts) in front else "",
            "; ".join(filter(None, (*_labels(facts), _remark(cell.not_apart, places)))),
        )
        table.add_row(str(place), *map(Text, columns))
    return table


def _labels(facts: Facts) -> list[str]:
    return [str(label) for label in facts.result.record.get("labels") or ()]


def _remark(not_apart: Sequence[tuple[str, str]], places: Mapping[str, str]) -> str:
    """Return `not told apart from 1 and 3`: by reason, the places of equal cells ahead."""
    by_reason: dict[str, list[str]] = {}
    for name, why in not_apart:
        by_reason.setdefault(why, []).append(places[name])
    shown = {
        why: ahead if len(ahead) <= 3 else [*ahead[:2], f"{len(ahead) - 2} more"]
        for why, ahead in by_reason.items()
    }
    return "; ".join(
        f"{REMARKS.get(why, why)} {formatting.listing(ahead)}" for why, ahead in shown.items()
    )
