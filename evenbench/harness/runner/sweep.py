"""The parts of a run and their processes, and the sweeps of `evenbench load` and `pipeline`.

In those sweeps, every cell is measured once, in a fresh process and a new random order, then all
cells again. Slow drift of the machine then shows as spread between processes and widens the
interval, instead of favouring early or late cells. No other worker runs during timing.
`evenbench run` measures groups in turn instead (`group_sweep.py`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from evenbench.harness.core.plans import Plan
from evenbench.harness.core.types import Cell
from evenbench.harness.results.records import Record
from evenbench.harness.runner import outcome
from evenbench.harness.runner.job import Reply
from evenbench.harness.runner.journal import Journal
from evenbench.harness.runner.prepared import Prepared, Refusal

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
    beside: str = ""
    """Key of the cell beside which this cell of another side is measured; usually empty."""

    @property
    def name(self) -> str:
        """The id of the cell."""
        return self.cell.id

    @property
    def label(self) -> str:
        """The backend, for a display."""
        return self.cell.backend_label

    @property
    def device(self) -> str:
        """The device of the cell."""
        return self.cell.device

    @property
    def threads(self) -> int:
        """The threads of the cell."""
        return self.cell.threads

    @property
    def peak_bytes(self) -> int:
        """The peak memory of the largest process so far; 0 before the first."""
        return max((process["peak_rss_bytes"] for process in self.processes), default=0)

    @property
    def start_seconds(self) -> float:
        """The cold start of a process loaded alone, in seconds; 0 before the first."""
        starts = (process.get("cold_start_seconds") for process in self.processes)
        return next((seconds for seconds in starts if seconds is not None), 0.0)


@dataclass
class Sweep:
    """Measures a part in a fresh process per sweep, and keeps processes in a journal."""

    plan: Plan
    journal: Journal
    seed: int

    def prepare(self, part: Part, prepare: Callable[[Cell], Prepared]) -> None:
        """Prepare a part; a part with enough processes of an interrupted run ends here."""
        take_over(part, prepare, self.journal)
        self._end_complete(part)

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
            record(part, work(part), self.journal)
            self._end_complete(part)
            end(part)

    def _end_complete(self, part: Part) -> None:
        if part.ended is None and len(part.processes) >= self.plan.processes:
            part.ended = Reply(None)


def take_over(part: Part, prepare: Callable[[Cell], Prepared], journal: Journal) -> None:
    """Prepare a part, and take over processes of an interrupted run; a refusal ends the part."""
    try:
        part.prepared = prepare(part.cell)
    except Refusal as refusal:
        part.ended = refusal.reply
        return
    part.processes = journal.processes(part.cell.key, part.prepared)


def record(
    part: Part, reply: Reply, journal: Journal, limit: Mapping[str, Any] | None = None
) -> None:
    """Add a measured process to a part and the journal; a failure or wrong outputs end the part.

    `limit` is the cell's limit on this machine, if known.
    """
    assert part.prepared is not None
    if reply.value is None:
        part.ended = reply
        return
    different = part.prepared.difference(reply.value)
    if different:
        part.ended = Reply(None, "failed", "load", different)
        return
    part.processes.append({**reply.value, "wall_seconds": reply.wall_seconds})
    part.ended = outcome.verdict(part.processes[-1], part.cell, limit)
    if part.ended is None:
        journal.keep(part.cell.key, part.prepared, part.processes[-1])


def _wants(part: Part, sweep: int) -> bool:
    return part.ended is None and len(part.processes) <= sweep
