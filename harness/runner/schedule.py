"""Which process runs when: everything is prepared first, then all cells are swept K times, each in
a fresh process.

Sweeping all cells once, then again, spreads the K processes of a cell over the session, so that
slow drift shows as spread between processes, which the interval sees, instead of as a bias between
cells, which nothing would. Nothing ever runs beside a process that is being timed, and this process
sleeps meanwhile. It imports neither numpy nor a runtime.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.core import registry
from harness.core.cases import Entry
from harness.core.types import Cell, Plan, digest, to_json
from harness.environment import measurement_lock, system_info
from harness.results import records
from harness.results.records import Record
from harness.results.run_file import RunFile
from harness.runner import outcome, roofline
from harness.runner.dataset_scoring import SCORED, LabelledData
from harness.runner.job import Job, Measurement, Reply
from harness.runner.preparation import Prepared, Preparer, Refusal

KEPT = ("ok", "unsupported")
"""Outcomes that an interrupted run keeps; what was wrong or absent may have been mended since, and
is measured again.
"""


@dataclass(frozen=True)
class Event:
    """What just happened, for a progress display. `steps` of `total` worker processes are done."""

    kind: str
    text: str
    steps: int
    total: int
    record: Record | None = None


@dataclass
class Run:
    """A run of some cells under one plan: `measure` as many as wanted at a time, then `finish`."""

    entries: Sequence[Entry]
    plan: Plan
    results_folder: Path
    seed: int = 0
    fresh: bool = False
    listen: Callable[[Event], None] = lambda event: None
    labelled: LabelledData | None = None
    """Prepared for every model; the first process of each cell is scored on it."""
    file: RunFile = field(init=False)
    done: dict[str, Record] = field(init=False)
    replies: dict[str, list[Record]] = field(init=False)
    steps: int = field(default=0, init=False)
    total: int = field(default=0, init=False)
    resumed: bool = field(default=False, init=False)
    _preparer: Preparer = field(init=False)
    _peaks: roofline.Peaks = field(init=False)

    def __post_init__(self) -> None:
        records.folder(self.results_folder)
        self._preparer = Preparer(self.plan.timeout_seconds, self._tell)
        self._peaks = roofline.Peaks(self._preparer.work, self.plan)
        manifest = {
            "cells": sorted(entry.cell.key for entry in self.entries),
            "plan": to_json(self.plan),
            "seed": self.seed,
            "environment": digest(
                {name: value for name, value in system_info.describe().items() if name != "commit"}
            ),
        }
        if self.labelled:
            manifest["dataset"] = self.labelled.key
        found = None if self.fresh else RunFile.resumable(self.results_folder, manifest)
        self.resumed = found is not None
        self.file = found or RunFile.create(self.results_folder, manifest)
        self.done = self.file.keep_only(KEPT) if found else {}
        self.replies = self.file.processes("measure")

    def measure(self, entries: Sequence[Entry]) -> list[Record]:
        """Every entry's outcome, in order. Cells whose outcome is known already are not run again."""
        with measurement_lock.alone():
            return self._measure(entries)

    def _measure(self, entries: Sequence[Entry]) -> list[Record]:
        waiting = list(
            {entry.cell.key: entry for entry in entries if entry.cell.key not in self.done}.values()
        )
        self.total += len(waiting) * (1 + self.plan.processes)
        ready = self._prepare_all(waiting)
        self._measure_peaks(ready)
        shuffle = random.Random(f"{self.seed}:{self.file.id}")
        for sweep in range(self.plan.processes):
            order = [pair for pair in ready if pair[0].cell.key not in self.done]
            shuffle.shuffle(order)
            for entry, prepared in order:
                self._measure_once(entry, prepared, sweep)
        return [self.done[entry.cell.key] for entry in entries]

    def finish(self) -> None:
        """Close the run where every cell has its outcome; otherwise leave it to be resumed."""
        if all(entry.cell.key in self.done for entry in self.entries):
            self.file.finish()

    # -- preparing ---------------------------------------------------------------------------------

    def _prepare_all(self, entries: Sequence[Entry]) -> list[tuple[Entry, Prepared]]:
        ready = []
        for entry in entries:
            self._tell("prepare", entry.cell.id)
            try:
                ready.append((entry, self._preparer.prepare(entry.cell)))
                self._advance(1)
            except Refusal as refusal:
                self._advance(1 + self.plan.processes)
                self._settle(entry, refusal.reply, None, [])
        return ready

    def _measure_peaks(self, ready: Sequence[tuple[Entry, Prepared]]) -> None:
        """What the machine can do at most, for the cells whose work was counted."""
        for cell in self._peaks.unknown(
            entry.cell for entry, prepared in ready if prepared.work.get("flops") is not None
        ):
            self._tell(
                "peaks",
                f"the peaks of {cell.device} at {cell.precision} with {cell.threads} threads",
            )
            self._peaks.measure(cell)

    # -- measuring ---------------------------------------------------------------------------------

    def _measure_once(self, entry: Entry, prepared: Prepared, sweep: int) -> None:
        cell = entry.cell
        kept = self._processes_of(cell, prepared)
        if len(kept) <= sweep:
            self._tell("measure", f"{cell.id} {sweep + 1}/{self.plan.processes}")
            reply = self._timed(
                Job("measure", cell, Measurement(self.plan), folders=prepared.folders()), kept
            )
            if reply.value is None:
                self._advance(self.plan.processes - sweep)
                self._settle(entry, reply, prepared, kept)
                return
            wrong_bytes = prepared.difference(reply.value)
            if wrong_bytes:
                self._advance(self.plan.processes - sweep)
                self._settle(entry, Reply(None, "failed", "load", wrong_bytes), prepared, kept)
                return
            kept.append(
                {**reply.value, "wall_seconds": reply.wall_seconds, "prepared": prepared.key()}
            )
            self.file.keep_process("measure", cell.key, kept[-1])
        self._advance(1)
        wrong = outcome.verdict(kept[-1])
        if wrong or len(kept) >= self.plan.processes:
            self._advance(self.plan.processes - sweep - 1)
            self._settle(entry, wrong or Reply(None), prepared, kept)

    def _timed(self, job: Job, kept: Sequence[Record]) -> Reply:
        """One measuring process; the first of a cell is scored on the labelled data where there is
        some.
        """
        control = registry.row(job.cell.backend).role == "control"
        if self.labelled is None or control or any(process.get(SCORED) for process in kept):
            return self._preparer.work(job)
        return self.labelled.measure(job, self._preparer.work)

    def _processes_of(self, cell: Cell, prepared: Prepared) -> list[Record]:
        """What was measured of this cell so far; what an interrupted run measured on another
        artifact, or found wrong, does not count.
        """
        made_from = prepared.key()
        replies = self.replies.get(cell.key, [])
        known = [
            reply
            for reply in replies
            if reply.get("prepared") == made_from and outcome.verdict(reply) is None
        ]
        self.replies[cell.key] = known
        return known

    def _settle(
        self, entry: Entry, reply: Reply, prepared: Prepared | None, processes: Sequence[Record]
    ) -> None:
        """The cell's one outcome: written to disk, then told."""
        run = {"id": self.file.id, "started": self.file.manifest["started"], "seed": self.seed}
        record = outcome.line(
            entry, run, self.plan, reply, prepared, processes, self._peaks.of(entry.cell)
        )
        records.append(self.file.file, record)
        self.done[entry.cell.key] = record
        self._tell("outcome", entry.cell.id, record)

    def _advance(self, steps: int) -> None:
        self.steps += steps

    def _tell(self, kind: str, text: str, record: Record | None = None) -> None:
        self.listen(Event(kind, text, self.steps, self.total, record))
