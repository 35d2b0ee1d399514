"""A run of cells: prepare all cells, sweep their groups, and write an outcome per cell.

This module runs in the parent, which sleeps while a process is timed, and imports neither numpy nor
a runtime.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from evenbench.harness.core import quantities, registry
from evenbench.harness.core.cases import Entry
from evenbench.harness.core.plans import Plan
from evenbench.harness.core.types import Cell
from evenbench.harness.environment import measurement_lock
from evenbench.harness.results import records
from evenbench.harness.results.records import Record
from evenbench.harness.results.run_file import RunFile
from evenbench.harness.runner import (
    journal,
    loading,
    outcome,
    outlook,
    parallel_preparation,
    roofline,
    standing,
)
from evenbench.harness.runner.dataset_scoring import SCORED, LabelledData
from evenbench.harness.runner.group_schedule import GroupSchedule
from evenbench.harness.runner.group_sweep import GroupSweep
from evenbench.harness.runner.job import Job, Measurement, Reply
from evenbench.harness.runner.journal import Journal
from evenbench.harness.runner.other_side import OtherSide
from evenbench.harness.runner.part_groups import PartGroup, groups_of
from evenbench.harness.runner.preparation import Preparer
from evenbench.harness.runner.prepared import Prepared
from evenbench.harness.runner.resident_member import Resident
from evenbench.harness.runner.sweep import Part, record, take_over
from evenbench.harness.runner.turn_rules import UntilPrecise


@dataclass(frozen=True)
class Event:
    """Progress of a run, for a display: `steps` of `total` steps are done.

    A cell takes a step to prepare and a step per process. `kind` is `prepare`, `environment`, a
    kind of store entry, `peaks`, `measure`, `round` or `outcome`; only `outcome` has a `record`.
    `seconds_left` is a prediction for the sweeps still due; None before the first sweep.
    """

    kind: str
    text: str
    steps: int
    total: int
    record: Record | None = None
    seconds_left: float | None = None


@dataclass
class Run:
    """A run of cells under a plan: call `measure` any number of times, then `finish`."""

    entries: Sequence[Entry]
    plan: Plan
    results_folder: Path
    seed: int = 0
    fresh: bool = False
    listen: Callable[[Event], None] = lambda event: None
    labelled: LabelledData | None = None
    """Prepared for every model. The first process of each cell is scored on it."""
    sides: Mapping[str, OtherSide] = field(default_factory=dict)
    """The other sides of the run, by the `side` of their cells."""
    journal: Journal = field(init=False)
    steps: int = field(default=0, init=False)
    total: int = field(default=0, init=False)
    groups: GroupSchedule | None = field(default=None, init=False)
    """The groups being measured, from the first sweep on."""
    resolution: str = field(default="", init=False)
    """How precise the ratios are, and what would resolve the rest; empty without a ratio."""
    _entries: dict[str, Entry] = field(default_factory=dict, init=False)
    _counted: dict[str, int] = field(default_factory=dict, init=False)
    _preparer: Preparer = field(init=False)
    _peaks: roofline.Peaks = field(init=False)

    def __post_init__(self) -> None:
        records.folder(self.results_folder)
        self._preparer = Preparer(self.plan.timeout_seconds, self._tell)
        self._peaks = roofline.Peaks(self._preparer.work, self.plan)
        dataset = {"dataset": self.labelled.key} if self.labelled else {}
        wanted = journal.manifest(self.entries, self.plan, self.seed, records.OUTCOMES, **dataset)
        self.journal = Journal.open(self.results_folder, wanted, records.OUTCOMES, self.fresh)

    @property
    def file(self) -> RunFile:
        """The run on disk."""
        return self.journal.run

    @property
    def done(self) -> dict[str, Record]:
        """The result lines so far, by cell key."""
        return self.journal.lines

    @property
    def resumed(self) -> bool:
        """Whether an interrupted run is being resumed."""
        return self.journal.resumed

    def known(self) -> str:
        """How many outcomes and processes are known, as text."""
        return self.journal.known(sorted({entry.cell.key for entry in self.entries}))

    def outlook(self) -> str:
        """What the plan can resolve, by earlier results in the folder; empty if unknown."""
        return outlook.of([entry.cell for entry in self.entries], self.plan, self.results_folder)

    def measure(self, entries: Sequence[Entry]) -> list[Record]:
        """Every entry's result line, in order. Cells with an outcome are not measured again."""
        with measurement_lock.alone():
            waiting = {
                entry.cell.key: entry for entry in entries if entry.cell.key not in self.done
            }
            self._entries |= waiting
            self.total += len(waiting) * (1 + self.plan.processes)
            parts = [
                Part(entry.cell, beside=entry.against.key if entry.against else "")
                for entry in waiting.values()
            ]
            self._prepare(parts)
            self._measure_peaks(parts)
            self._sweep(parts)
            return [self.done[entry.cell.key] for entry in entries]

    def _prepare(self, parts: Sequence[Part]) -> None:
        """Prepare all parts, several at a time, and take over processes of an interrupted run."""
        own = [part for part in parts if not part.cell.side]
        cells = [part.cell for part in own]

        def begin(cell: Cell) -> None:
            self._tell("prepare", cell.id)

        with closing(self._preparer.prepare_all(cells, begin)) as pairs:
            for part, (_, result) in zip(own, pairs, strict=True):
                self._take_over(part, partial(parallel_preparation.deliver, result))
        for part in parts:
            if part.cell.side:
                begin(part.cell)
                self._take_over(part, self.sides[part.cell.side].prepare)

    def _take_over(self, part: Part, prepare: Callable[[Cell], Prepared]) -> None:
        take_over(part, prepare, self.journal)
        self._count(part)
        self._settle(part)

    def _sweep(self, parts: Sequence[Part]) -> None:
        """Sweep the groups of the parts until the plan is met."""
        groups = groups_of([part for part in parts if part.ended is None])
        shuffle = random.Random(f"{self.seed}:{self.file.id}")
        self.groups = schedule = GroupSchedule(groups, self.plan, shuffle)
        begin = time.monotonic()
        while step := schedule.next(begin + self.plan.budget_seconds - time.monotonic()):
            group, members = step
            self._sweep_group(schedule, group, members)
            if schedule.is_finished(group):
                self._end(group.parts)
        self.resolution = standing.resolution(schedule)
        self._end(parts)

    def _end(self, parts: Sequence[Part]) -> None:
        for part in parts:
            if part.ended is None:
                part.ended = Reply(None)
            self._settle(part)

    def _sweep_group(
        self, schedule: GroupSchedule, group: PartGroup, members: Sequence[Part]
    ) -> None:
        name = f"{group.name} sweep {group.sweeps + 1}"
        so_far = standing.of(group, schedule)
        slots = loading.slots(members)
        sweep = GroupSweep(
            str(group.sweeps),
            members,
            UntilPrecise(self.plan),
            partial(self._start, pauses=slots > 1),
            schedule.shuffle,
            lambda kind, text: self._tell(kind, f"{name}: {text}{so_far}"),
            slots,
        )
        begin = time.monotonic()
        group.sweeps += 1
        self.total += sum(len(part.processes) >= self.plan.processes for part in members)
        for part, reply in sweep.run():
            if part.ended is None:
                record(part, reply, self.journal, self._limit(part))
                self._count(part)
                self._settle(part)
        group.seconds.append(time.monotonic() - begin)

    def finish(self) -> None:
        """Close the run if every cell has an outcome; otherwise a later command can resume."""
        if all(entry.cell.key in self.done for entry in self.entries):
            self.file.finish()

    def _measure_peaks(self, parts: Sequence[Part]) -> None:
        """Measure the machine's peak throughput for cells with counted operations."""
        counted = [
            part.cell
            for part in parts
            if part.prepared and part.prepared.work.get("flops") is not None
        ]
        for cell in self._peaks.unknown(counted):
            conditions = (
                f"{cell.device} at {cell.precision} with {quantities.count(cell.threads, 'thread')}"
            )
            self._tell("peaks", f"the peaks of {conditions}")
            self._peaks.measure(cell)

    def _limit(self, part: Part) -> Mapping[str, Any] | None:
        """The cell's limit on this machine; None if nothing was counted."""
        work = part.prepared.work if part.prepared else {}
        return roofline.of(part.cell, work, self._peaks.of(part.cell)) if work else None

    @contextmanager
    def _start(self, part: Part, /, pauses: bool = False) -> Iterator[Resident]:
        """Start a part's process; a cell's first process is scored on the labelled data."""
        assert part.prepared is not None
        if part.cell.side:
            with self.sides[part.cell.side].start(part.cell) as other:
                yield Resident(other)
            return
        payload = Measurement(self.plan, pauses=pauses)
        job = Job("measure", part.cell, payload, folders=part.prepared.folders())
        with tempfile.TemporaryDirectory() as folder:
            labelled, complete = self.labelled, _unchanged
            control = registry.row(part.cell.backend).role == "control"
            if labelled and not control and not any(map(_is_scored, part.processes)):
                job = scoring = labelled.scoring(job, folder)
                complete = partial(labelled.scored, scoring)
            with self._preparer.start(job) as worker:
                yield loading.resident(worker, complete) if pauses else Resident(worker, complete)

    def _count(self, part: Part) -> None:
        """Update `steps`: a cell takes a step to prepare and a step per process."""
        least = 1 + self.plan.processes
        steps = 1 + len(part.processes)
        steps = max(steps, least) if part.ended else steps
        self.steps += steps - self._counted.get(part.cell.key, 0)
        self._counted[part.cell.key] = steps

    def _settle(self, part: Part) -> None:
        """Write and report the outcome if the part has ended."""
        if part.ended is None or part.cell.key in self.done:
            return
        cell, reply = part.cell, part.ended
        self._count(part)
        entry = self._entries[cell.key]
        run = {"id": self.file.id, "started": self.file.manifest["started"], "seed": self.seed}
        line = outcome.line(
            entry, run, self.plan, reply, part.prepared, part.processes, self._peaks.of(cell)
        )
        self.journal.settle(line)
        self._tell("outcome", cell.id, line)

    def _tell(self, kind: str, text: str, record: Record | None = None) -> None:
        left = self.groups.seconds_left() if self.groups else None
        self.listen(Event(kind, text, self.steps, self.total, record, left))


def _is_scored(process: Record) -> bool:
    return bool(process.get(SCORED))


def _unchanged(reply: Reply) -> Reply:
    return reply
