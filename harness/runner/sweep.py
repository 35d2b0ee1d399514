"""Sweeps: every cell is measured once per sweep, in a fresh process and a new random order.

All cells are measured once, then all cells again, so a cell's processes spread over the run. Slow
drift of the machine then shows as spread between processes and widens the interval, instead of
favouring early or late cells. No other worker runs during timing.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from harness.core.plans import Plan
from harness.core.types import Cell
from harness.results.records import Record
from harness.runner import outcome
from harness.runner.job import Reply
from harness.runner.journal import Journal
from harness.runner.prepared import Prepared, Refusal

T = TypeVar("T")


def rounds(
    items: Sequence[T], most: int, wants: Callable[[T, int], bool], shuffle: random.Random
) -> Iterator[tuple[int, T]]:
    """Yield (sweep number, item) for all items of each sweep, in a new order per sweep.

    `wants(item, sweep)` selects the items at the beginning of each of `most` sweeps.
    """
    for sweep in range(most):
        waiting = [item for item in items if wants(item, sweep)]
        shuffle.shuffle(waiting)
        for item in waiting:
            yield sweep, item


@dataclass
class Part:
    """A cell to measure: the prepared entries, the processes so far, and the end."""

    cell: Cell
    prepared: Prepared | None = None
    processes: list[Record] = field(default_factory=list)
    ended: Reply | None = None
    """The refusal or failure, or `Reply(None)` after enough measured processes."""


@dataclass
class Sweep:
    """Measures a part in a fresh process per sweep, and keeps processes in a journal."""

    plan: Plan
    journal: Journal
    seed: int

    def prepare(self, part: Part, prepare: Callable[[Cell], Prepared]) -> None:
        """Prepare a part, and take over the processes of an interrupted run."""
        try:
            part.prepared = prepare(part.cell)
        except Refusal as refusal:
            part.ended = refusal.reply
            return
        part.processes = self.journal.processes(part.cell.key, part.prepared)
        if len(part.processes) >= self.plan.processes:
            part.ended = Reply(None)

    def measure(
        self,
        parts: Sequence[Part],
        work: Callable[[Part], Reply],
        begin: Callable[[Part, int], None],
        end: Callable[[Part], None],
    ) -> None:
        """Measure all unfinished parts.

        `work` does a part's job in a fresh process. `begin` is called before each process with the
        sweep's number, from 0; `end` is called after each process, even if the part continues.
        """
        shuffle = random.Random(f"{self.seed}:{self.journal.run.id}")
        for sweep, part in rounds(parts, self.plan.processes, _wants, shuffle):
            begin(part, sweep)
            self._once(part, work(part))
            end(part)

    def _once(self, part: Part, reply: Reply) -> None:
        assert part.prepared is not None
        if reply.value is None:
            part.ended = reply
            return
        different = part.prepared.difference(reply.value)
        if different:
            part.ended = Reply(None, "failed", "load", different)
            return
        part.processes.append({**reply.value, "wall_seconds": reply.wall_seconds})
        part.ended = outcome.verdict(part.processes[-1])
        if part.ended is None:
            self.journal.keep(part.cell.key, part.prepared, part.processes[-1])
            if len(part.processes) >= self.plan.processes:
                part.ended = Reply(None)


def _wants(part: Part, sweep: int) -> bool:
    return part.ended is None and len(part.processes) <= sweep
