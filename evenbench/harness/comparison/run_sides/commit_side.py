"""Another commit as a side of a run: cells prepared and measured by the commit's own code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from evenbench.harness.comparison.side_process import REFUSALS, Side, SideFailed, SideProcess
from evenbench.harness.core.plans import Plan
from evenbench.harness.core.types import Cell
from evenbench.harness.runner.child_process import ending
from evenbench.harness.runner.job import PHASE_OF, Reply
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
            raise Refusal(_reply(error, "prepare")) from None
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


class SideWorker:
    """The process of a cell of a commit, with the interface of `launcher.Worker`.

    `origins` has the files of the project's modules that preparation imported, by module.
    """

    def __init__(self, process: SideProcess, origins: Mapping[str, str]) -> None:
        self.process = process
        self.origins = origins
        self.phase = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.process.close()

    def ask(self, command: Mapping[str, Any] | None = None) -> Mapping[str, Any] | Reply:
        """Send a command, if any, and wait for the next message.

        Returns the final `Reply` if the process has ended or failed.
        """
        if command:
            self.process.send(json.dumps(command).encode() + b"\n")
        try:
            while "phase" in (message := self.process.ask()):
                self.phase = message["phase"]
        except SideFailed as error:
            code = self.process.wait(0.1)
            signal = ending(code)[1] if code is not None else ""
            return replace(_reply(error, self.phase or PHASE_OF["measure"]), signal=signal)
        if "value" not in message:
            return message
        value = message["value"]
        return Reply({**value, "origins": {**self.origins, **value["origins"]}})

    def finish(self) -> Reply:
        """Close the commands and wait for the reply. The process has ended afterwards."""
        self.process.send(b"", last=True)
        while not isinstance(message := self.ask(), Reply):
            pass
        return message


def _reply(error: SideFailed, phase: str) -> Reply:
    """The outcome of a failure or refusal, with the side's name in the reason."""
    text, _, log = str(error).partition("\n")
    outcome = next((word[:-2] for word in REFUSALS if error.refusal.startswith(word)), "failed")
    return Reply(None, outcome, phase, text, log)
