"""The messages between the runner and a worker process: a job, its payload, and the reply."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import IO, Any

from evenbench.harness.core import serialization
from evenbench.harness.core.plans import Plan
from evenbench.harness.core.types import Cell
from evenbench.harness.inputs.datasets import Dataset
from evenbench.harness.runner.module_origins import Origin

LOG_TAIL_BYTES = 3000


@dataclass(frozen=True)
class Job:
    """A worker's job: a name of `harness.worker.TASKS`, the cell, and the task's payload.

    The worker may read `folders`, entries of the store, and write `folder`, a stage. With an
    `origin` the worker checks the places of the project's modules and reports them as `origins`.
    """

    task: str
    cell: Cell
    payload: Any = None
    folder: str = ""
    folders: Mapping[str, str] = field(default_factory=dict)
    sys_path: tuple[str, ...] = ()
    origin: Origin | None = None


@dataclass(frozen=True)
class SourceDigests:
    """Payload of `prepare` and `tune`: digests of weights and calibration samples, and trials.

    `trials` is the mean number of trials per tuning task to reach, recorded trials included.
    """

    weights: str = ""
    calibration: str = ""
    trials: int = 0


@dataclass(frozen=True)
class Measurement:
    """Payload of `measure`: how much to measure, and the labelled dataset to evaluate, if any.

    With `pauses` the process waits between loading and warm-up.
    """

    plan: Plan
    dataset: Dataset | None = None
    pauses: bool = False


def read_message(line: bytes) -> dict[str, Any] | None:
    """The message in a line of the reply pipe; None for anything that the harness never writes.

    Code in a worker can write into any descriptor. NaN and infinities, which JSON lacks, are none
    of the harness's in a measured value, and a results file cannot hold them.
    """
    strange: list[str] = []
    try:
        message = serialization.parsed(line, parse_constant=strange.append)
    except ValueError:
        return None
    if not isinstance(message, dict):
        return None
    if "value" in message:
        is_value = message["value"] is None or isinstance(message["value"], dict)
        if not is_value or not set(message) <= REPLIED:
            return None
    return None if strange else message


@dataclass(frozen=True)
class Reply:
    """A worker's reply: `value` on success, otherwise the outcome and the reason.

    `traceback` is the tail of the traceback or the log, `signal` the name of a fatal signal.
    `error` is the class of the exception, UsageError for subclasses too, and empty for a crash. No
    text has control characters, or lines that a CI job would obey.
    """

    value: Mapping[str, Any] | None
    outcome: str = "ok"
    phase: str = ""
    reason: str = ""
    traceback: str = ""
    signal: str = ""
    wall_seconds: float = 0.0
    error: str = ""

    def __post_init__(self) -> None:
        for name in ("reason", "traceback"):
            object.__setattr__(self, name, serialization.harmless(getattr(self, name)))

    @property
    def message(self) -> str:
        """The reason, without the class of a UsageError: its text is written for the user."""
        return self.reason.partition(": ")[2] if self.error == "UsageError" else self.reason


REPLIED = {item.name for item in fields(Reply)} - {"wall_seconds"}
"""The keys of a final reply on the pipe."""

PHASE_OF: Mapping[str, str] = {
    "golden": "parity",
    "measure": "load",
    "pipeline": "load",
    "load": "load",
    "profile": "load",
}
"""The phase of a crash before the worker's first phase; `prepare` for all other tasks."""


class Channel:
    """The worker's end of the pipes: phases and messages out, commands in."""

    def __init__(self, replies: IO[bytes], commands: IO[bytes]) -> None:
        self._replies, self._commands = replies, commands
        self.phase = ""
        """The last phase that began."""

    def enter(self, phase: str) -> None:
        """Report the beginning of a phase. A later crash is recorded under this phase."""
        self.phase = phase
        self.tell({"phase": phase})

    def tell(self, message: Mapping[str, Any]) -> None:
        """Send a JSON line to the parent."""
        self._replies.write(json.dumps(message).encode() + b"\n")
        self._replies.flush()

    def commands(self) -> Iterator[Mapping[str, Any]]:
        """The parent's commands in order, until `finish` or the end of the input."""
        for line in self._commands:
            command: dict[str, Any] = json.loads(line)
            if command["do"] == "finish":
                return
            yield command
