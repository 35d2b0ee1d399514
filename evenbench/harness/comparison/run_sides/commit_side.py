"""Another commit as a side of a run: cells prepared and measured by the commit's own code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from evenbench.harness.comparison import side_process
from evenbench.harness.comparison.side_process import Side, SideFailed, SideProcess, SideWorker
from evenbench.harness.core.plans import Plan
from evenbench.harness.core.types import Cell
from evenbench.harness.runner.job import Reply
from evenbench.harness.runner.prepared import Prepared, Refusal


@dataclass
class CommitSide:
    """A commit in a worktree. `words` select the cells there, as on the command line."""

    side: Side
    words: tuple[str, ...]
    plan: Plan
    _prepared: dict[str, Mapping[str, Any]] = field(default_factory=dict, init=False)

    def prepare(self, cell: Cell) -> Prepared:
        """All entries of a cell, made in a process of the commit. Raises Refusal."""
        try:
            with SideProcess(self.side, self._spec(cell)) as process:
                value = process.ask()["value"]
        except SideFailed as error:
            raise Refusal(side_process.failed(error, "prepare")) from None
        if "prepared" not in value:
            reason = (
                f"the evenbench of {self.side.name} takes no turns; "
                "`evenbench compare` measures it in pairs"
            )
            raise Refusal(Reply(None, "failed", "prepare", reason))
        self._prepared[cell.key] = value
        return Prepared.read(value["prepared"], self.side.commit)

    def start(self, cell: Cell) -> SideWorker:
        """The resident process of a prepared cell."""
        prepared = self._prepared[cell.key]
        spec = replace(self._spec(cell), task="turns", folders=prepared["folders"])
        return SideWorker(SideProcess(self.side, spec, prepared), prepared["origins"])

    def _spec(self, cell: Cell) -> Any:
        return self.side.spec(self.words, replace(cell, side="").id, self.plan)
