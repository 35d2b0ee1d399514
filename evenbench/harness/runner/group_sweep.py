"""A sweep of a group: a resident process of every member, measured in turns.

All members are loaded and warmed up one after the other, each with the others stopped, so that cold
start, load and memory are those of a single process. Then each round gives every member a turn. The
idle members are stopped, because idle threads of a pool spin on the cores of the timed member.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from evenbench.harness.core.plans import Plan
from evenbench.harness.core.types import COMPUTE
from evenbench.harness.environment import cpu, gpu, memory
from evenbench.harness.runner.job import Reply
from evenbench.harness.runner.other_side import TurnWorker
from evenbench.harness.runner.sweep import Part
from evenbench.harness.runner.turn_order import balanced_orders
from evenbench.harness.statistics import rounds

FREE_SHARE = 0.1
"""Share of the machine's memory that stays free while members are resident."""

FIRST_NEED = 1.5
"""Guess of a first process's memory, as a multiple of the largest resident member's."""

ROUNDS_SHARE = 0.75
"""Error of a sweep's rounds, as a share of the plan's half-width. Sweeps bring it down further."""

LEAST_ROUNDS = 5
"""Fewest rounds of a sweep for a half-width."""


class Start(Protocol):
    """Starts the worker of a part. The end of the context ends the worker."""

    def __call__(self, part: Part) -> AbstractContextManager[Resident]: ...


@dataclass
class Resident:
    """A started worker, and the function that completes its reply."""

    worker: TurnWorker
    complete: Callable[[Reply], Reply] = lambda reply: reply


@dataclass
class Member:
    """A part of the group in this sweep: its resident worker, and the blocks so far."""

    part: Part
    resident: Resident
    awake_seconds: float = 0.0
    """Time of loading and of all turns; the process is stopped otherwise."""
    device_bytes: int = 0
    """Memory of the device that loading took; 0 on a CPU."""
    times_ns: dict[int, float] = field(default_factory=dict)
    """Median lap of `compute`, by round."""
    state: Mapping[str, Any] = field(default_factory=dict)
    """The last reply of a turn."""

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
        before = gpu.memory_bytes(self.part.cell.device)
        with self.awake() as worker:
            message = worker.ask()
        after = gpu.memory_bytes(self.part.cell.device)
        if before and after:
            self.device_bytes = before[0] - after[0]
        return message if isinstance(message, Reply) else None

    def take_turn(self, number: int) -> Reply | None:
        """Take the turn of a round; returns the reply of a failed process."""
        with self.awake() as worker:
            message = worker.ask({"do": "turn", "number": number})
        if isinstance(message, Reply):
            return message
        self.state = message
        self.times_ns[number] = message["times_ns"][COMPUTE]
        return None

    def finish(self) -> Reply:
        """Judge the outputs and end the process."""
        with self.awake() as worker:
            reply = worker.finish()
        return replace(self.resident.complete(reply), wall_seconds=self.awake_seconds)

    @property
    def is_sampled(self) -> bool:
        """Whether the plan's minimum is reached, or the time is over."""
        return bool(self.state["over"] or self.state["enough"])

    @property
    def is_steady(self) -> bool:
        """Whether the plan's minimum is reached and the last blocks agree, or the time is over."""
        return bool(self.state["over"] or (self.state["enough"] and self.state["stable"]))

    def is_precise(self, reference: Member, half_width: float) -> bool:
        """Whether rounds leave `ROUNDS_SHARE` of `half_width` in the ratio to the reference."""
        if self.state["over"] or not math.isfinite(half_width):
            return self.is_steady
        half = rounds.half_width(self.times_ns, reference.times_ns, LEAST_ROUNDS)
        return self.is_sampled and half is not None and half <= ROUNDS_SHARE * half_width


@dataclass
class GroupSweep:
    """A sweep of the group's members, named `name`. The first of `parts` is the reference.

    `listen` gets a kind and a text: `measure` before every step, `round` after every round.
    """

    name: str
    parts: Sequence[Part]
    plan: Plan
    start: Start
    shuffle: random.Random
    listen: Callable[[str, str], None] = lambda kind, text: None
    replies: list[tuple[Part, Reply]] = field(default_factory=list, init=False)
    """The replies so far; a reference in two sets of processes has two."""
    _killed: set[str] = field(default_factory=set, init=False)

    def run(self) -> list[tuple[Part, Reply]]:
        """Measure all parts; returns the replies, with the sweep and members.

        Parts beyond the memory of the machine are measured afterwards, in a further set of
        processes with another process of the reference.
        """
        waiting, number = self._measure(self.name, self.parts), 0
        while waiting:
            number += 1
            waiting = self._measure(f"{self.name}.{number}", [self.parts[0], *waiting])
        return self.replies

    def _measure(self, name: str, parts: Sequence[Part]) -> list[Part]:
        """Measure as many parts as the memory holds, two at least; returns the others."""
        with ExitStack() as stack:
            members, waiting = self._load(parts, stack)
            pin(members, self.shuffle)
            self._take_turns(members)
            cells = [member.part.cell.id for member in members]
            for member in members:
                self.listen("measure", f"judging {member.part.cell.backend_label}")
                self.replies.append((member.part, _with_turns(member.finish(), name, cells)))
        return waiting

    def _load(self, parts: Sequence[Part], stack: ExitStack) -> tuple[list[Member], list[Part]]:
        """The loaded, warm and stopped members; and the parts without room in memory."""
        members: list[Member] = []
        waiting: list[Part] = []
        reference, *others = parts
        for part in (reference, *self.shuffle.sample(others, len(others))):
            if len(members) > 1 and not _has_room(part, members):
                waiting.append(part)
                continue
            self.listen("measure", f"loading {part.cell.backend_label}")
            member = Member(part, stack.enter_context(self.start(part)))
            failure = member.load()
            if failure is None:
                members.append(member)
            elif members and self._may_lack_memory(member, failure):
                waiting.append(part)
            else:
                self._fail(member, failure)
        return members, waiting

    def _may_lack_memory(self, member: Member, failure: Reply) -> bool:
        """Whether the kernel killed the process, for the first time in this sweep."""
        key = member.part.cell.key
        killed = failure.signal == "SIGKILL" and not member.resident.worker.process.timed_out
        again = key in self._killed
        self._killed |= {key} if killed else set()
        return killed and not again

    def _fail(self, member: Member, failure: Reply) -> None:
        self.replies.append((member.part, member.resident.complete(failure)))

    def _take_turns(self, members: list[Member]) -> None:
        """Rounds until every member is precise enough, or has used its time; drops failed ones."""
        orders = balanced_orders(members, self.shuffle)
        active = list(members)
        for number in range(self.plan.most_rounds if members else 0):
            for member in [one for one in orders[number % len(orders)] if one in active]:
                failure = member.take_turn(number)
                if failure is not None:
                    self._fail(member, failure)
                    members.remove(member)
            active = self._unfinished(members)
            if not active:
                return
            self.listen("round", f"round {number + 1}")

    def _unfinished(self, members: Sequence[Member]) -> list[Member]:
        """The members that need more rounds, with the reference as long as any other does."""
        if len(members) < 2:
            return [member for member in members if not member.is_steady]
        reference, *others = members
        if reference.state["over"]:
            wanting = [member for member in others if not member.is_sampled]
        else:
            half_width = self.plan.half_width
            wanting = [member for member in others if not member.is_precise(reference, half_width)]
        return [reference, *wanting] if wanting or not reference.is_sampled else []


def pin(members: Sequence[Member], shuffle: random.Random) -> list[int]:
    """Keep all members to the same cores, random in each sweep, if the cells leave some free.

    A busy core then slows all members equally. Devices keep all cores for their drivers.
    """
    cells = [member.part.cell for member in members]
    if len(cells) < 2 or any(cell.device != "cpu" for cell in cells):
        return []
    cores = cpu.random_cores(max(cell.threads for cell in cells), shuffle)
    for member in members:
        member.resident.worker.process.keep_to(cores)
    return cores


def _has_room(part: Part, members: Sequence[Member]) -> bool:
    """Whether the machine and the device have memory left for a further member.

    Its earlier processes say how much of the machine's memory the member needs.
    """
    known = [process["peak_rss_bytes"] for process in part.processes]
    sizes = [member.resident.worker.process.resident_bytes() for member in members]
    need = max(known) if known else FIRST_NEED * max(sizes)
    if memory.available_bytes() - need <= FREE_SHARE * memory.total_bytes():
        return False
    device = gpu.memory_bytes(part.cell.device)
    if device is None:
        return True
    free, total = device
    return free - FIRST_NEED * max(member.device_bytes for member in members) > FREE_SHARE * total


def _with_turns(reply: Reply, sweep: str, members: Sequence[str]) -> Reply:
    """The reply, with sweep and members in the record of turns; a single member has no record."""
    if reply.value is None:
        return reply
    turns = {**reply.value["interleaving"], "sweep": sweep, "members": list(members)}
    return replace(
        reply, value={**reply.value, "interleaving": turns if len(members) > 1 else None}
    )
