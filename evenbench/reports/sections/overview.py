"""Top of the page: headline, verdict per group, and a map of groups and backends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evenbench.harness.core.types import OUTCOMES
from evenbench.reports import answer, cell_texts, formatting, verdict, warning_kinds
from evenbench.reports.answer import Answer
from evenbench.reports.result_groups import BASELINE, Group, Result
from evenbench.reports.sections import tables

SUMMARY_ROWS = 40
"""Number of open verdicts; further verdicts unfold."""

GLANCE_ROWS = 40
"""Number of groups on the map; the table of cells has all groups."""


@dataclass(frozen=True)
class Head:
    """The top of the page: the answer, shared facts, the count per outcome, and notes.

    `outcomes` has only outcomes that occurred, and is empty if every cell is `ok`.
    """

    answer: Answer
    measured: str
    outcomes: list[tuple[str, int]]
    notes: list[str]


@dataclass(frozen=True)
class Square:
    """A square of the map: large and small text, outcome, standing, and index of the cell."""

    large: str
    small: str
    outcome: str
    tone: str
    words: str
    index: int


GlanceRow = tuple[str, str, list[list[Square]]]
"""A group on the map: model, setting, and the squares per column."""


@dataclass(frozen=True)
class Glance:
    """The map: a heading per column, and rows of title, setting and squares per column."""

    columns: list[str]
    rows: list[GlanceRow]
    left_out: str


def head(groups: Sequence[Group], members: Sequence[Result], notes: Sequence[str]) -> Head:
    """The headline of the page."""
    counted = Counter(result.outcome for result in members)
    wanted = (*OUTCOMES, *sorted(set(counted) - {*OUTCOMES}))
    return Head(
        answer=answer.answer(groups, members),
        measured=_measured(groups, members),
        outcomes=[(outcome, counted[outcome]) for outcome in wanted if counted[outcome]]
        if set(counted) != {"ok"}
        else [],
        notes=[*notes, *_own_notes(groups, members)],
    )


def constant_setting(groups: Sequence[Group]) -> str:
    """Return the setting shared by all groups, said once; empty if groups differ."""
    settings = {verdict.setting(group) for group in groups}
    return settings.pop() if len(settings) == 1 else ""


def summary(groups: Sequence[Group]) -> dict[str, Any]:
    """Return open and folded verdicts of every group with a runtime other than controls.

    Each with its count of cells under a warning, and its place.
    """
    judged = [
        (group, place)
        for place, group in enumerate(groups)
        if not all(result.is_control for result in group.results)
    ]
    verdicts = [(verdict.judge(group), _warned(group), place) for group, place in judged]
    folded = verdicts[SUMMARY_ROWS:]
    return {
        "open": verdicts[:SUMMARY_ROWS],
        "folded": folded,
        "more": f"Show {formatting.count(len(folded), 'more group')}",
        "several_runs": len({group.run for group in groups}) > 1,
        "settings": not constant_setting(groups),
        "host": any(one.host_to_host != formatting.DASH for one, _, _ in verdicts),
    }


def _warned(group: Group) -> str:
    """How many cells of a group carry a warning: `4 of 7`; empty for none."""
    runtimes = [result for result in group.results if not result.is_control]
    warned = sum(bool(warning_kinds.of_cell(result)) for result in runtimes)
    return f"{warned} of {len(runtimes)}" if warned else ""


def glance(groups: Sequence[Group]) -> Glance:
    """Return the map of groups and backends, torch eager first, other backends by name."""
    names = sorted(
        {result.name for group in groups for result in group.results},
        key=lambda name: (name != BASELINE, name),
    )
    controls = {result.name for group in groups for result in group.results if result.is_control}
    columns = sorted(names, key=lambda name: name in controls)
    squares: dict[int, dict[str, list[Square]]] = {}
    for index, group, result in tables.in_order(groups[:GLANCE_ROWS]):
        squares.setdefault(id(group), {}).setdefault(result.name, []).append(
            _square(group, result, index)
        )
    several = len({group.run for group in groups}) > 1
    rows = [
        _glance_row(group, columns, squares[id(group)], several) for group in groups[:GLANCE_ROWS]
    ]
    more = len(groups) - len(rows)
    return Glance(
        columns,
        rows,
        f"{formatting.count(more, 'more group')}: see the table of every cell." if more > 0 else "",
    )


def percentile_words(members: Sequence[Result]) -> str:
    """Return the sentence on the calls that percentiles describe."""
    kinds = sorted({cell_texts.calls(result) for result in members if result.compute_ns})
    each = " or ".join(kinds)
    return f"They describe {each}{', as the details of a cell say' if len(kinds) > 1 else ''}."


def choices(members: Sequence[Result]) -> dict[str, list[str]]:
    """Return the choices of the filters over the table of cells."""
    values = {
        key: sorted({str(result.cell.get(key, "")) for result in members})
        for key in ("model", "precision")
    }
    names = sorted({result.name for result in members})
    outcomes = {result.outcome for result in members}
    return {
        "outcome": [outcome for outcome in OUTCOMES if outcome in outcomes],
        "backend": names,
        **values,
    }


def _glance_row(
    group: Group, columns: Sequence[str], squares: dict[str, list[Square]], several_runs: bool
) -> GlanceRow:
    setting = (
        f"{verdict.setting(group)} · run {group.run}" if several_runs else verdict.setting(group)
    )
    return str(group.first.get("model", "")), setting, [squares.get(name, []) for name in columns]


def _square(group: Group, result: Result, index: int) -> Square:
    speedup = group.speedup(result)
    timed = formatting.latency(result.compute)
    if result.ranks:
        large = (
            "baseline"
            if result is group.baseline
            else formatting.ratio(speedup)
            if speedup
            else timed
        )
        small = timed if large != timed else ""
    else:
        large, small = (
            ("control" if result.is_control and result.outcome == "ok" else result.outcome),
            timed,
        )
    tone = verdict.tone(group, result) if result.ranks else "none"
    words = f"{result.cell.get('id', '')}: {cell_texts.reason(group, result)}"
    return Square(
        large, "" if small == formatting.DASH else small, result.outcome, tone, words, index
    )


def _measured(groups: Sequence[Group], members: Sequence[Result]) -> str:
    """The facts shared by the page: setting, machine, day, and how many cells are correct."""
    runs = {result.run: result.record.get("run") or {} for result in members}
    days = sorted({str(run.get("started") or "")[:10] for run in runs.values()} - {""})
    machines = list(dict.fromkeys(filter(None, map(_machine, members))))
    span = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}" if days else "an unknown day"
    correct = sum(result.outcome == "ok" for result in members)
    facts = [
        constant_setting(groups),
        *machines[:2],
        "other machines" if machines[2:] else "",
        f"measured {span}",
        formatting.count(len(runs), "run") if len(runs) > 1 else "",
        f"{correct:,} of {formatting.count(len(members), 'cell')} correct",
    ]
    return " · ".join(filter(None, facts))


def _machine(result: Result) -> str:
    environment = result.record.get("environment") or {}
    cpu, cores = str(environment.get("cpu") or ""), environment.get("cores")
    return f"{cpu}, {formatting.count(cores, 'core')}" if cpu and cores else cpu


def _own_notes(groups: Sequence[Group], members: Sequence[Result]) -> list[str]:
    notes = []
    runs = {result.run for result in members}
    if len(runs) > 1:
        notes.append(
            f"These are {len(runs)} runs. Speed-ups and rankings stay within one run: "
            "machines and days differ."
        )
    alone = sorted(
        {result.run for result in members if result.ranks and len(result.compute_ns) < 2}
    )
    if alone:
        notes.append(
            "Cells with 1 process have no interval, so their noise is unknown "
            f"(run {formatting.listing(alone[:3])})."
        )
    without = [group for group in groups if group.baseline is None and group.ranked]
    bare = sum(group.asks_baseline for group in without)
    if bare:
        notes.append(
            f"{formatting.count(bare, 'group has', 'groups have')} no correct {BASELINE} result, "
            "so no speed-ups."
        )
    if len(without) > bare:
        count = formatting.count(len(without) - bare, "group was", "groups were")
        notes.append(
            f"{count} measured without {BASELINE}: cells compare with the fastest of the group."
        )
    return notes
