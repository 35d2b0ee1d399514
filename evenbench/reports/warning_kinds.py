"""Warnings of all cells of a page by kind, and the conclusions under a warning.

Page and terminal share these words.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import cast

from evenbench.harness.core.records.outcome import OutcomeRecord
from evenbench.harness.results import quality_warnings
from evenbench.reports.result_groups import Group, Result

_NUMBER = re.compile(r"\d+(?:\.\d+)?")

_QUIET = "1 process only", "one process only"
"""Beginnings of warnings about the plan, not about the machine."""


@dataclass(frozen=True)
class Kind:
    """A kind of warning: observation and advice, and ids of the cells.

    Numbers that differ between the cells are ranges: `other processes used 1.0 to 1.5 cores`.
    """

    seen: str
    advice: str
    cells: tuple[str, ...]

    @property
    def of_machine(self) -> bool:
        """Whether the warning is about the machine or the laps, not about the plan."""
        return not self.seen.startswith(_QUIET)


def kinds(members: Iterable[Result]) -> list[Kind]:
    """Return every kind of warning once, the most frequent first."""
    by_key: dict[str, list[tuple[str, str]]] = {}
    for result in members:
        for words in of_cell(result):
            key = _NUMBER.sub("#", words)
            by_key.setdefault(key, []).append((words, str(result.cell.get("id", "?"))))
    listed = [_kind(pairs) for pairs in by_key.values()]
    return sorted(listed, key=lambda kind: -len(kind.cells))


def of_cell(result: Result) -> list[str]:
    """Return the warnings of a cell, with stalled processes of records older than the warning."""
    recorded = [str(warning) for warning in result.record.get("warnings") or []]
    if not result.apart:
        return recorded
    apart = map(str, quality_warnings.apart(cast(OutcomeRecord, result.record)))
    return list(dict.fromkeys([*recorded, *apart]))


def touched(groups: Iterable[Group], cells: Collection[str]) -> list[Group]:
    """Return the groups whose conclusion rests on one of these cells, named by ids.

    A conclusion rests on the fastest cells and on the baseline.
    """
    return [
        group
        for group in groups
        if any(str(result.cell.get("id", "?")) in cells for result in _deciding(group))
    ]


def _deciding(group: Group) -> Sequence[Result]:
    return [*group.fastest, *([group.baseline] if group.baseline else [])]


def _kind(pairs: Sequence[tuple[str, str]]) -> Kind:
    seen, _, advice = _merged([words for words, _ in pairs]).partition("; ")
    return Kind(seen, advice, tuple(dict.fromkeys(cell for _, cell in pairs)))


def _merged(texts: Sequence[str]) -> str:
    """Texts that differ in numbers only, as a text with ranges."""
    columns = zip(*(_NUMBER.findall(text) for text in texts), strict=True)
    ranges = iter([_range(column) for column in columns])
    return _NUMBER.sub(lambda _: next(ranges), texts[0])


def _range(numbers: Sequence[str]) -> str:
    ordered = sorted(set(numbers), key=float)
    return ordered[0] if len(ordered) == 1 else f"{ordered[0]} to {ordered[-1]}"
