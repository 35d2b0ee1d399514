"""The entries of a run while other sides join, and the entry of a cell of another side."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from evenbench.harness.core.cases import Against, Entry
from evenbench.harness.core.types import Cell
from evenbench.harness.runner.other_side import OtherSide


@dataclass
class Joined:
    """The selected entries with those of other sides, the sides by `Cell.side`, and notes."""

    entries: list[Entry]
    sides: dict[str, OtherSide] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, entries: Sequence[Entry]) -> int:
        """Add entries of cells that are not in the run yet; returns their number."""
        known = {entry.cell.key for entry in self.entries}
        new = {entry.cell.key: entry for entry in entries if entry.cell.key not in known}
        self.entries += new.values()
        return len(new)


def beside(entry: Entry, cell: Cell, text: str, commit: str = "") -> Entry:
    """The entry of a cell of the side `text`, measured beside the selected `entry`."""
    return replace(
        entry,
        cell=cell,
        command=f"{entry.command} --against {shlex.quote(commit[:12] or text)}",
        against=Against(text, entry.cell.id, entry.cell.key, commit),
        then=None,
    )
