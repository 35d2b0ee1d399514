"""A member of a sweep: a resident process, stopped except for loading, turns and the end."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Protocol, TypeVar

from evenbench.harness.environment import gpu
from evenbench.harness.runner.job import Reply
from evenbench.harness.runner.other_side import TurnWorker


class Candidate(Protocol):
    """A member before its process starts: a part of a run, or a side of a comparison."""

    @property
    def name(self) -> str:
        """The name in records, unique within the sweep of a run."""

    @property
    def label(self) -> str:
        """The name on a display."""

    @property
    def device(self) -> str:
        """The device of the cell."""

    @property
    def threads(self) -> int:
        """The threads of the cell."""

    @property
    def peak_bytes(self) -> int:
        """The memory of an earlier process; 0 if unknown."""

    @property
    def start_seconds(self) -> float:
        """The time of starting and loading an earlier process; 0 if unknown."""


C = TypeVar("C", bound=Candidate)
C_contra = TypeVar("C_contra", bound=Candidate, contravariant=True)


@dataclass
class Resident:
    """A started worker, and the function that completes its reply.

    `advance` returns the next message of a pausing worker, and None for a phase; at the `deadline`
    the worker is killed.
    """

    worker: TurnWorker
    complete: Callable[[Reply], Reply] = lambda reply: reply
    advance: Callable[[], Mapping[str, Any] | Reply | None] | None = None
    deadline: float = math.inf


class Start(Protocol[C_contra]):
    """Starts the worker of a candidate. The end of the context ends the worker."""

    def __call__(self, candidate: C_contra, /) -> AbstractContextManager[Resident]: ...


@dataclass(eq=False)
class Member(Generic[C]):
    """A candidate in this sweep: its resident worker, and the turns so far."""

    part: C
    resident: Resident
    awake_seconds: float = 0.0
    """Time of loading and of all turns; the process is stopped otherwise."""
    device_bytes: int = 0
    """Memory of the device that loading took; 0 on a CPU."""
    begin: float = field(default_factory=time.monotonic)
    """When the process was started."""
    turns: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    """The reply of each turn, by round."""

    @property
    def last(self) -> Mapping[str, Any]:
        """The reply of the last turn. Raises ValueError before the first."""
        return self.turns[max(self.turns)]

    @contextmanager
    def awake(self) -> Iterator[TurnWorker]:
        """Continue the stopped process for the time of the context."""
        begin = time.monotonic()
        self.resident.worker.process.go()
        try:
            yield self.resident.worker
        finally:
            self.resident.worker.process.stop()
            self.awake_seconds += time.monotonic() - begin

    def load(self) -> Reply | None:
        """Wait until the cell is warm; returns the reply of a refusal or a failed process."""
        before = gpu.memory_bytes(self.part.device)
        message = self.ask()
        after = gpu.memory_bytes(self.part.device)
        if before and after:
            self.device_bytes = before[0] - after[0]
        return message if isinstance(message, Reply) else None

    def ask(self, command: Mapping[str, Any] | None = None) -> Mapping[str, Any] | Reply:
        """The answer to a command, or the reply of a failed process."""
        with self.awake() as worker:
            return worker.ask(command)

    def advance(self) -> Reply | bool:
        """Whether a pausing process has loaded, or the reply of a failure.

        The loaded process is stopped.
        """
        assert self.resident.advance is not None
        message = self.resident.advance()
        if message is None:
            return False
        self.resident.worker.process.stop()
        self.awake_seconds = time.monotonic() - self.begin
        return message if isinstance(message, Reply) else True

    def take_turn(self, number: int, command: Mapping[str, Any]) -> Reply | None:
        """Take the turn of a round; returns the reply of a failed process."""
        message = self.ask(command)
        if isinstance(message, Reply):
            return message
        self.turns[number] = message
        return None

    def finish(self) -> Reply:
        """Judge the outputs and end the process."""
        with self.awake() as worker:
            reply = worker.finish()
        return replace(self.resident.complete(reply), wall_seconds=self.awake_seconds)
