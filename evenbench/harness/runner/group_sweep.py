"""A sweep of a group: a resident process of every member, measured in turns.

All members are loaded and warmed up one after the other, each with the others stopped, so that cold
start, load and memory belong to a single process. Members of later sweeps load two at a time, and
warm up one after the other. Then each round gives every member a turn. The
idle members are stopped, because idle threads of a pool spin on the cores of the timed member.
`evenbench run` sweeps the cells of a group, `evenbench compare` the two sides of a cell; a
`TurnRule` gives the command of a turn and the number of rounds.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Generic

from evenbench.harness.environment import cpu, gpu, memory
from evenbench.harness.runner.child_process import first_to_speak
from evenbench.harness.runner.job import Reply
from evenbench.harness.runner.resident_member import C, Member, Start
from evenbench.harness.runner.turn_order import balanced_orders
from evenbench.harness.runner.turn_rules import TurnRule

FREE_SHARE = 0.1
"""Share of the machine's memory that stays free while members are resident."""

FIRST_NEED = 1.5
"""Guess of a first process's memory, as a multiple of the largest resident member's."""


@dataclass
class GroupSweep(Generic[C]):
    """A sweep of the group's members, named `name`. The first of `parts` is the reference.

    `listen` gets a kind and a text: `measure` before every step, `round` after every round. With
    `slots` above 1, so many members load at a time, and `start` starts pausing workers.
    """

    name: str
    parts: Sequence[C]
    rule: TurnRule
    start: Start[C]
    shuffle: random.Random
    listen: Callable[[str, str], None] = lambda kind, text: None
    slots: int = 1
    replies: list[tuple[C, Reply]] = field(default_factory=list, init=False)
    """The replies so far; a reference in two sets of processes has two."""
    members: list[Member[C]] = field(default_factory=list, init=False)
    """The members of the last set of processes that took all turns, the reference first."""
    cores: list[int] = field(default_factory=list, init=False)
    """The cores of the last set of processes; empty if the members may use all."""
    _killed: list[C] = field(default_factory=list, init=False)

    def run(self) -> list[tuple[C, Reply]]:
        """Measure all parts; returns the replies, completed by the rule.

        Parts beyond the memory of the machine are measured afterwards, in a further set of
        processes with another process of the reference.
        """
        waiting, number = self._measure(self.name, self.parts), 0
        while waiting:
            number += 1
            waiting = self._measure(f"{self.name}.{number}", [self.parts[0], *waiting])
        return self.replies

    def _measure(self, name: str, parts: Sequence[C]) -> list[C]:
        """Measure as many parts as the memory holds, two at least; returns the others."""
        with ExitStack() as stack:
            self.members, waiting = self._load(parts, stack)
            self.cores = pin(self.members, self.shuffle)
            self._warm_up()
            self._take_turns()
            together = [member.part for member in self.members]
            for member in self.members:
                self.listen("measure", f"judging {member.part.label}")
                reply = self.rule.completed(member.finish(), name, together)
                self.replies.append((member.part, reply))
        return waiting

    def _load(self, parts: Sequence[C], stack: ExitStack) -> tuple[list[Member[C]], list[C]]:
        """The loaded and stopped members; and the parts without room in memory."""
        members: list[Member[C]] = []
        loading: list[Member[C]] = []
        waiting: list[C] = []
        order = self._order(parts)
        while order or loading:
            while order and len(loading) < self.slots:
                part = order.pop(0)
                if len(members) + len(loading) > 1 and not _has_room(part, members, loading):
                    waiting.append(part)
                    continue
                self.listen("measure", f"loading {part.label}")
                loading.append(Member(part, stack.enter_context(self.start(part))))
            if not loading:
                break
            member, failure = self._first_loaded(loading)
            loading.remove(member)
            if failure is None:
                members.insert(0 if member.part is parts[0] else len(members), member)
            elif len(parts) > 2 and members and self._may_lack_memory(member, failure):
                waiting.append(member.part)
            else:
                self._fail(member, failure)
        return members, waiting

    def _order(self, parts: Sequence[C]) -> list[C]:
        """The order of loading: the reference first, but two parts in random order.

        With several slots the slowest comes first, so the others load beside it.
        """
        reference, *others = parts
        order = [reference, *self.shuffle.sample(others, len(others))]
        if self.slots > 1:
            return sorted(order, key=lambda part: -part.start_seconds)
        if len(order) == 2:
            self.shuffle.shuffle(order)
        return order

    def _first_loaded(self, loading: Sequence[Member[C]]) -> tuple[Member[C], Reply | None]:
        """The next member to be loaded or to fail, with the reply of a failure."""
        if self.slots == 1:
            return loading[0], loading[0].load()
        by_process = {one.resident.worker.process: one for one in loading}
        earliest = min(loading, key=lambda member: member.resident.deadline)
        while True:
            process = first_to_speak(list(by_process), earliest.resident.deadline)
            member = by_process[process] if process else earliest
            if loaded := member.advance():
                return member, None if loaded is True else loaded

    def _warm_up(self) -> None:
        """Warm up pausing members, each with the others stopped."""
        for member in list(self.members if self.slots > 1 else ()):
            message = member.ask({"do": "warm_up"})
            self._drop(member, message if isinstance(message, Reply) else None)

    def _may_lack_memory(self, member: Member[C], failure: Reply) -> bool:
        """Whether the kernel killed the process, for the first time in this sweep."""
        killed = failure.signal == "SIGKILL" and not member.resident.worker.process.timed_out
        again = any(part is member.part for part in self._killed)
        self._killed += [member.part] if killed else []
        return killed and not again

    def _fail(self, member: Member[C], failure: Reply) -> None:
        self.replies.append((member.part, member.resident.complete(failure)))

    def _drop(self, member: Member[C], failure: Reply | None) -> None:
        """Without a failure nothing; otherwise the others go on without the member."""
        if failure is not None:
            self._fail(member, failure)
            self.members.remove(member)

    def _take_turns(self) -> None:
        """Rounds until no member needs more by the rule; drops failed members."""
        for member in list(self.members):
            self._drop(member, self.rule.begin(member))
        active = self.members if len(self.members) >= self.rule.least_members else []
        orders: list[list[Member[C]]] = []
        for number in range(self.rule.most_rounds):
            if not active:
                return
            orders = orders or balanced_orders(self.members, self.shuffle)
            for member in [one for one in orders.pop(0) if one in active]:
                self._drop(member, member.take_turn(number, self.rule.command(number)))
            active = self.rule.unfinished(self.members)
            if active:
                self.listen("round", f"round {number + 1}")


def pin(members: Sequence[Member[C]], shuffle: random.Random) -> list[int]:
    """Keep all members to the same cores, random in each sweep, if the cells leave some free.

    A busy core then slows all members equally. Devices keep all cores for their drivers.
    """
    parts = [member.part for member in members]
    if len(parts) < 2 or any(part.device != "cpu" for part in parts):
        return []
    cores = cpu.random_cores(max(part.threads for part in parts), shuffle)
    for member in members:
        member.resident.worker.process.keep_to(cores)
    return cores


def _has_room(part: C, members: Sequence[Member[C]], loading: Sequence[Member[C]]) -> bool:
    """Whether the machine and the device have memory left beside `members` and those `loading`.

    Earlier processes say how much of the machine's memory the part needs.
    """
    growing = [_resident_bytes(member) for member in loading]
    sizes = [*map(_resident_bytes, members), *growing]
    need = part.peak_bytes or FIRST_NEED * max(sizes)
    for member, size in zip(loading, growing, strict=True):
        need += max(0, member.part.peak_bytes - size)
    if memory.available_bytes() - need <= FREE_SHARE * memory.total_bytes():
        return False
    device = gpu.memory_bytes(part.device)
    if device is None:
        return True
    free, total = device
    return free - FIRST_NEED * max(member.device_bytes for member in members) > FREE_SHARE * total


def _resident_bytes(member: Member[C]) -> int:
    return member.resident.worker.process.resident_bytes()
