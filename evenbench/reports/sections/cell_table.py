"""A single table of cells: the columns of all tables of cells, in sets for a reader to choose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from evenbench.reports import formatting
from evenbench.reports.result_groups import Group
from evenbench.reports.sections import cells, roofline
from evenbench.reports.sections.tables import (
    HIDDEN,
    IDENTITY,
    INDEX,
    LIMITS,
    MEASURE,
    Column,
    Table,
)

SETS = {
    "speed": "Speed",
    "start": "Start-up and memory",
    "answers": "Correctness",
    "bound": "Hardware bound",
    "files": "Files and commands",
}
"""Column sets by name, with their headings."""

ALWAYS = {"Model", "Backend", "Setting", "Outcome"}


def table(groups: Sequence[Group]) -> Table:
    """Return every cell with the columns of all sets; a dash for a missing value."""
    matrix = cells.matrix(groups)
    sets = {
        "start": cells.phases(groups),
        "answers": cells.parity(groups),
        "bound": roofline.table(groups),
        "files": cells.hashes(groups),
    }
    first = [_within(column, "speed") for column in matrix.columns[: -len(INDEX)]]
    known = {column.title for column in first}
    kept = {
        name: [
            place
            for place in range(len(IDENTITY), len(part.columns) - len(INDEX))
            if part.columns[place].title not in known
        ]
        for name, part in sets.items()
    }
    more = [
        _within(sets[name].columns[place], name)
        for name, places in kept.items()
        for place in places
    ]
    by_index = {name: {row[-1]: row for row in part.rows} for name, part in sets.items()}
    rows = [
        [
            *row[: -len(INDEX)],
            *(
                _value(by_index[name].get(row[-1]), sets[name].columns[place], place)
                for name, places in kept.items()
                for place in places
            ),
            *row[-len(INDEX) :],
        ]
        for row in matrix.rows
    ]
    return replace(matrix, columns=(*first, *more, *INDEX), rows=rows)


def filled_sets(whole: Table) -> dict[str, str]:
    """Return the sets with a value in any row, by name, with their headings."""
    names = {
        column.group
        for place, column in enumerate(whole.columns)
        if column.group
        and any(row[place] not in (formatting.DASH, "", _NOTHING) for row in whole.rows)
    }
    return {name: heading for name, heading in SETS.items() if name in names}


_NOTHING: list[Any] = [formatting.DASH, None]


def _within(column: Column, name: str) -> Column:
    if column.title in ALWAYS or column.kind in (HIDDEN, LIMITS):
        return column
    return replace(column, group=name)


def _value(row: Sequence[Any] | None, column: Column, place: int) -> Any:
    if row is not None:
        return row[place]
    return _NOTHING if column.kind == MEASURE else formatting.DASH
