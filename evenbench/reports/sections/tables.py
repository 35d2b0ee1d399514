"""Tables of the page: columns, measured values, and the columns shared by all tables."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from evenbench.reports import verdict
from evenbench.reports.result_groups import Group, Result

MEASURE, WORDS, OUTCOME, CODE, HIDDEN, LIMITS = (
    "measure",
    "words",
    "outcome",
    "code",
    "hidden",
    "limits",
)
"""Kinds of a column; a kind decides sorting and drawing."""


@dataclass(frozen=True)
class Column:
    """A column: its heading, its kind, and an explanation of the heading unless obvious.

    `group` is the column set that shows it; every set shows a column without one.
    """

    title: str
    kind: str = WORDS
    help: str = ""
    group: str = ""


@dataclass(frozen=True)
class Table:
    """A table drawn lazily by the page.

    The last value of a row is the index of the cell, for the details.
    """

    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: list[list[Any]] = field(default_factory=list)


IDENTITY = (Column("Model"), Column("Backend"), Column("Setting", HIDDEN))
INDEX = (Column("Labels", HIDDEN), Column("Cell", HIDDEN), Column("Index", HIDDEN))


def measure(shown: str, rank: float | None) -> list[Any]:
    """Return a measured value for the page: its text, and the number for sorting."""
    if rank is None or math.isnan(rank):
        return [shown, None]
    return [shown, math.copysign(1e308, rank) if math.isinf(rank) else rank]


def in_order(groups: Sequence[Group]) -> Iterator[tuple[int, Group, Result]]:
    """Yield every result with its index on the page: group by group, ranked results first."""
    index = 0
    for group in groups:
        for result in (*group.ranked, *group.unranked):
            yield index, group, result
            index += 1


def typical_ns(group: Group) -> float | None:
    """Return the time whose unit suits a whole group: of the fastest result; None without one."""
    fastest = group.ranked[0].compute if group.ranked else None
    return fastest.value if fastest else None


def identity(group: Group, result: Result) -> list[Any]:
    """Return the values of the columns `IDENTITY`."""
    return [str(result.cell.get("model", "")), result.name, verdict.setting(group)]


def indexed(place: int, result: Result) -> list[Any]:
    """Return the values of the columns `INDEX`, for the labels and the details of a cell."""
    labels = [
        *map(str, result.record.get("labels") or []),
        *(["control"] if result.is_control else []),
    ]
    return [labels, f"{result.cell.get('id', '')} {result.run}", place]
