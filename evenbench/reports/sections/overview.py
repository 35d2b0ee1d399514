"""Top of the page: headline, verdict per group, and a map of groups and backends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evenbench.harness.core.types import OUTCOMES
from evenbench.reports import cell_texts, formatting, verdict
from evenbench.reports.result_groups import BASELINE, Group, Result
from evenbench.reports.sections import tables

SUMMARY_ROWS = 40
"""Number of open verdicts; further verdicts unfold."""

GLANCE_ROWS = 40
"""Number of groups on the map; the table of cells has all groups."""


@dataclass(frozen=True)
class Head:
    """The top of the page: a sentence, the count per outcome, and notes for the reader."""

    title: str
    sentence: str
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
    busy = verdict.machine_words(groups)
    return Head(
        title=_title(members),
        sentence=_sentence(groups, members, counted["ok"]),
        measured=_measured(members),
        outcomes=[
            (outcome, counted[outcome])
            for outcome in (*OUTCOMES, *sorted(set(counted) - {*OUTCOMES}))
        ],
        notes=[*filter(None, [busy]), *notes, *_own_notes(groups, members)],
    )


def summary(groups: Sequence[Group]) -> dict[str, Any]:
    """Return (open, folded) verdicts of every group with a runtime other than controls."""
    judged = [
        (group, place)
        for place, group in enumerate(groups)
        if not all(result.is_control for result in group.results)
    ]
    verdicts = [(verdict.judge(group), place) for group, place in judged]
    folded = verdicts[SUMMARY_ROWS:]
    return {
        "open": verdicts[:SUMMARY_ROWS],
        "folded": folded,
        "more": f"Show {formatting.count(len(folded), 'more group')}",
        "several_runs": len({group.run for group in groups}) > 1,
    }


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


def _title(members: Sequence[Result]) -> str:
    models = sorted({str(result.cell.get("model", "")) for result in members})
    return (
        formatting.listing(models) if len(models) <= 2 else formatting.count(len(models), "model")
    )


def _sentence(groups: Sequence[Group], members: Sequence[Result], correct: int) -> str:
    backends = {result.cell.get("backend") for result in members if not result.is_control}
    size = (
        f"{formatting.count(len(members), 'cell')} on {formatting.count(len(backends), 'backend')}"
    )
    measured = f"{size}, {correct:,} with an accepted output."
    against = [group for group in groups if group.baseline and len(group.ranked) > 1]
    faster = sum(
        any(verdict.tone(group, result) == verdict.FASTER for result in group.ranked)
        for group in against
    )
    if not any(group.asks_baseline for group in groups):
        return (
            f"{measured} Without {BASELINE}, the fastest of each group is compared with the next."
        )
    if not against:
        return f"{measured} No group has a correct {BASELINE} result to compare with."
    if all(len(group.ranked[0].compute_ns) < 2 for group in against):
        return f"{measured} With 1 process per cell, no speed-up can be judged."
    compared = formatting.count(len(against), "group")
    return (
        f"{measured} In {faster:,} of {compared} a correct runtime is faster than {BASELINE}, "
        "corrected for the number of comparisons."
    )


def _measured(members: Sequence[Result]) -> str:
    runs = {result.run: result.record.get("run") or {} for result in members}
    days = sorted({str(run.get("started") or "")[:10] for run in runs.values()} - {""})
    cpus = sorted(
        {str((result.record.get("environment") or {}).get("cpu") or "") for result in members}
        - {""}
    )
    span = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}" if days else "an unknown day"
    others = ["other machines"] if cpus[2:] else []
    return " · ".join([formatting.count(len(runs), "run"), f"measured {span}", *cpus[:2], *others])


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
