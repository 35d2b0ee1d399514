"""Selection of the newest record per cell, without tearing comparisons apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from evenbench.harness.core import quantities
from evenbench.reports import input_shapes
from evenbench.reports.result_groups import Record

NOTES_SHOWN = 3
"""Limit on notes about single cells; more notes are summed up by run."""


def newest(lines: Sequence[Record]) -> tuple[list[Record], list[str]]:
    """Return a record per cell key, and notes about replaced records.

    The newest record wins, with an exception that keeps comparisons: a correct record in the
    fullest run of its group stays, because a cell measured again alone has no baseline in the new
    run.
    """
    groups = _groups(lines)
    homes = _homes(lines, groups)
    kept: dict[Any, Record] = {}
    replaced: dict[Any, int] = {}
    for line in lines:
        key = _key(line)
        if key in kept:
            replaced[key] = replaced.get(key, 0) + 1
        if key not in kept or _rank(line, groups, homes) >= _rank(kept[key], groups, homes):
            kept[key] = line
    return list(kept.values()), _replaced_notes(
        [(kept[key], count) for key, count in replaced.items()]
    )


def _groups(lines: Sequence[Record]) -> dict[Any, str]:
    """The group of each cell key with its input shapes.

    Older lines have no shapes: the shapes of an equal key, or of another cell of their run and
    group, count.
    """
    known: dict[Any, str] = {}
    for line in lines:
        cell = line.get("cell") or {}
        if input_shapes.of(cell):
            known[_key(line)] = known[_place(line)] = input_shapes.group_of(cell)
    for line in lines:
        if _key(line) in known:
            known.setdefault(_place(line), known[_key(line)])
    return {
        _key(line): known.get(_key(line))
        or known.get(_place(line))
        or input_shapes.group_of(line.get("cell") or {})
        for line in lines
    }


def _key(line: Record) -> Any:
    cell = line.get("cell") or {}
    return cell.get("key") or cell.get("id")


def _place(line: Record) -> tuple[str, str]:
    cell, run = line.get("cell") or {}, line.get("run") or {}
    return str(run.get("id", "")), str(cell.get("group", ""))


def _group(line: Record, groups: Mapping[Any, str]) -> str:
    return groups[_key(line)]


def _homes(lines: Sequence[Record], groups: Mapping[Any, str]) -> dict[str, str]:
    """The run of each group with most correct records, the newest of equals."""
    counted: dict[tuple[str, str], tuple[int, str]] = {}
    for line in lines:
        if line.get("outcome") == "ok":
            key = (
                _group(line, groups),
                str((line.get("run") or {}).get("id", "")),
            )
            count, started = counted.get(key, (0, ""))
            counted[key] = (
                count + 1,
                max(started, str((line.get("run") or {}).get("started", ""))),
            )
    homes: dict[str, tuple[tuple[int, str], str]] = {}
    for (group, run), weight in counted.items():
        homes[group] = max(homes.get(group, ((0, ""), "")), (weight, run))
    return {group: run for group, (_, run) in homes.items()}


def _rank(line: Record, groups: Mapping[Any, str], homes: Mapping[str, str]) -> tuple[bool, Any]:
    run = str((line.get("run") or {}).get("id", ""))
    at_home = line.get("outcome") == "ok" and homes.get(_group(line, groups)) == run
    return at_home, _age(line)


def _age(line: Record) -> tuple[str, str]:
    run = line.get("run") or {}
    return str(run.get("started") or ""), str(line.get("time") or "")


def _replaced_notes(replaced: Sequence[tuple[Record, int]]) -> list[str]:
    """A note per cell for a few cells; a note per run for repeated suites."""
    if len(replaced) <= NOTES_SHOWN:
        return [_replaced_note(record, count) for record, count in replaced]
    runs = Counter(str((record.get("run") or {}).get("id", "")) for record, _ in replaced)
    measured = {
        run: quantities.count(count, "cell was", "cells were") for run, count in runs.items()
    }
    return [
        f"{cells} measured more than once; run {run} is shown" for run, cells in measured.items()
    ]


def _replaced_note(line: Record, count: int) -> str:
    identity = (line.get("cell") or {}).get("id", "?")
    run = (line.get("run") or {}).get("id", "?")
    return f"{identity}: of {count + 1} records the one from run {run} is shown"
