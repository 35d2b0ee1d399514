"""A run of cells: prepare all cells, measure in sweeps, and write an outcome per cell.

This module runs in the parent, which sleeps while a process is timed, and imports neither numpy nor
a runtime.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from harness.core import registry
from harness.core.cases import Entry
from harness.core.plans import Plan
from harness.environment import measurement_lock
from harness.results import records
from harness.results.records import Record
from harness.results.run_file import RunFile
from harness.runner import journal, outcome, parallel_preparation, roofline
from harness.runner.dataset_scoring import SCORED, LabelledData
from harness.runner.job import Job, Measurement, Reply
from harness.runner.journal import Journal
from harness.runner.preparation import Preparer
from harness.runner.sweep import Part, Sweep


@dataclass(frozen=True)
class Event:
    """Progress of a run, for a display: `steps` of `total` steps are done.

    A cell takes a step to prepare and a step per process. `kind` is `prepare`, `environment`, a
    kind of store entry, `peaks`, `measure` or `outcome`; only `outcome` has a `record`.
    """

    kind: str
    text: str
    steps: int
    total: int
    record: Record | None = None


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
    journal: Journal = field(init=False)
    steps: int = field(default=0, init=False)
    total: int = field(default=0, init=False)
    _entries: dict[str, Entry] = field(default_factory=dict, init=False)
    _counted: dict[str, int] = field(default_factory=dict, init=False)
    _preparer: Preparer = field(init=False)
    _peaks: roofline.Peaks = field(init=False)

    def __post_init__(self) -> None:
        records.folder(self.results_folder)
        self._preparer = Preparer(self.plan.timeout_seconds, self._tell)
        self._peaks = roofline.Peaks(self._preparer.work, self.plan)
        keys = [entry.cell.key for entry in self.entries]
        dataset = {"dataset": self.labelled.key} if self.labelled else {}
        wanted = journal.manifest(keys, self.plan, self.seed, records.OUTCOMES, **dataset)
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

    def measure(self, entries: Sequence[Entry]) -> list[Record]:
        """Every entry's result line, in order. Cells with an outcome are not measured again."""
        with measurement_lock.alone():
            waiting = {
                entry.cell.key: entry for entry in entries if entry.cell.key not in self.done
            }
            self._entries |= waiting
            self.total += len(waiting) * (1 + self.plan.processes)
            sweep = Sweep(self.plan, self.journal, self.seed)
            parts = [Part(entry.cell) for entry in waiting.values()]
            begin = partial(self._tell, "prepare")
            cells = [part.cell for part in parts]
            with closing(self._preparer.prepare_all(cells, lambda cell: begin(cell.id))) as pairs:
                for part, (_, result) in zip(parts, pairs, strict=True):
                    sweep.prepare(part, partial(parallel_preparation.deliver, result))
                    if part.prepared is None:
                        self._end(part)
                    else:
                        self._count(part)
            self._measure_peaks(parts)
            for part in parts:
                if part.prepared and part.ended:
                    self._end(part)  # an interrupted run measured all of its processes
            sweep.measure(parts, self._work, self._begin, self._end)
            return [self.done[entry.cell.key] for entry in entries]

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
            conditions = f"{cell.device} at {cell.precision} with {cell.threads} threads"
            self._tell("peaks", f"the peaks of {conditions}")
            self._peaks.measure(cell)

    def _begin(self, part: Part, sweep: int) -> None:
        self._tell("measure", f"{part.cell.id} {sweep + 1}/{self.plan.processes}")

    def _work(self, part: Part) -> Reply:
        """Measure a part in a fresh process; score a cell's first process on the labelled data."""
        assert part.prepared is not None
        job = Job("measure", part.cell, Measurement(self.plan), folders=part.prepared.folders())
        control = registry.row(part.cell.backend).role == "control"
        scored = any(process.get(SCORED) for process in part.processes)
        if self.labelled is None or control or scored:
            return self._preparer.work(job)
        return self.labelled.measure(job, self._preparer.work)

    def _count(self, part: Part) -> None:
        """Update `steps`: a cell takes a step to prepare and a step per process."""
        most = 1 + self.plan.processes
        steps = most if part.ended else 1 + len(part.processes)
        self.steps += steps - self._counted.get(part.cell.key, 0)
        self._counted[part.cell.key] = steps

    def _end(self, part: Part) -> None:
        """Update `steps`; write and report the outcome if the part has ended."""
        self._count(part)
        if part.ended is None:
            return
        cell, reply = part.cell, part.ended
        entry = self._entries[cell.key]
        run = {"id": self.file.id, "started": self.file.manifest["started"], "seed": self.seed}
        record = outcome.line(
            entry, run, self.plan, reply, part.prepared, part.processes, self._peaks.of(cell)
        )
        self.journal.settle(record)
        self._tell("outcome", cell.id, record)

    def _tell(self, kind: str, text: str, record: Record | None = None) -> None:
        self.listen(Event(kind, text, self.steps, self.total, record))
