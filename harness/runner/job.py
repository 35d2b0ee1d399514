"""The messages between the runner and a worker process: a job, its payload, and the reply."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any

from harness.core.plans import Plan
from harness.core.types import Cell
from harness.inputs.datasets import Dataset

LOG_TAIL_BYTES = 3000


@dataclass(frozen=True)
class Job:
    """One task for a worker: a name of `harness.worker.TASKS`, the cell, and the task's own
    payload.

    `folders` are the store's entries that the worker may read, `folder` is the stage that it may
    write.
    """

    task: str
    cell: Cell
    payload: Any = None
    folder: str = ""
    folders: Mapping[str, str] = field(default_factory=dict)
    sys_path: tuple[str, ...] = ()


@dataclass(frozen=True)
class SourceDigests:
    """Payload of `prepare` and `tune`: digests of the cell's weights and calibration samples, and
    the trials to add per task.
    """

    weights: str = ""
    calibration: str = ""
    trials: int = 0


@dataclass(frozen=True)
class Measurement:
    """Payload of `measure`: how much to measure, and the labelled dataset to evaluate, if any."""

    plan: Plan
    dataset: Dataset | None = None


@dataclass(frozen=True)
class Reply:
    """A worker's reply: `value` on success, otherwise the outcome, phase, reason, traceback tail
    and signal.

    `error` is the class of the exception, UsageError for its subclasses too, and empty for a crash.
    """

    value: Mapping[str, Any] | None
    outcome: str = "ok"
    phase: str = ""
    reason: str = ""
    traceback: str = ""
    signal: str = ""
    wall_seconds: float = 0.0
    error: str = ""

    @property
    def message(self) -> str:
        """The reason, without the class of a UsageError: its text is written for the user."""
        return self.reason.partition(": ")[2] if self.error == "UsageError" else self.reason


PHASE_OF: Mapping[str, str] = {
    "golden": "parity",
    "measure": "load",
    "pipeline": "load",
    "load": "load",
}
"""The phase of a crash before the worker has reported one; `prepare` for all other tasks."""

COMMANDS: Mapping[str, tuple[Mapping[str, Any], ...]] = {
    "measure": ({"do": "measure"}, {"do": "finish"}),
}
"""What a resident worker is told where nothing else is measured between: sample, then judge."""


class Channel:
    """The worker's end of the conversation: phases and messages out, commands in."""

    def __init__(self, replies: IO[bytes], commands: IO[bytes]) -> None:
        self._replies, self._commands = replies, commands
        self.phase = ""
        """The last phase that began."""

    def enter(self, phase: str) -> None:
        """Report a phase of a measurement as it begins; a crash is booked under the last one."""
        self.phase = phase
        self.tell({"phase": phase})

    def tell(self, message: Mapping[str, Any]) -> None:
        """Send one JSON line to the parent."""
        self._replies.write(json.dumps(message).encode() + b"\n")
        self._replies.flush()

    def commands(self) -> Iterator[Mapping[str, Any]]:
        """The parent's commands in order, until `finish` or the end of the input."""
        for line in self._commands:
            command: dict[str, Any] = json.loads(line)
            if command["do"] == "finish":
                return
            yield command
