"""A load run: all cells of a scenario, measured in sweeps and written as result lines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from evenbench.harness.core.cases import Entry
from evenbench.harness.core.plans import Plan
from evenbench.harness.core.tensor_specs import BATCH
from evenbench.harness.core.types import HOST_TO_HOST, UNWANTED, Cell
from evenbench.harness.load import mlperf
from evenbench.harness.load.capacity import best_batch
from evenbench.harness.load.points import merge_points, value_of
from evenbench.harness.load.scenarios import (
    CONCURRENT,
    GAPS,
    SERVER,
    SHAPES,
    SINGLE,
    SWEEP,
    LoadRequest,
    Scenario,
)
from evenbench.harness.results import records
from evenbench.harness.results.records import Record
from evenbench.harness.runner import record_parts
from evenbench.harness.runner.job import Job, Reply
from evenbench.harness.runner.journal import Journal, manifest
from evenbench.harness.runner.preparation import Preparer
from evenbench.harness.runner.sweep import Part, Sweep

FOLDER = "load"
"""The folder of load runs in the results folder; readers of outcomes skip this folder."""

FLAGS = {
    "p99": (SWEEP, SERVER),
    "vary": (SHAPES,),
    "batches": (SWEEP, SHAPES),
    "callers": (CONCURRENT, SERVER),
    "gaps": (GAPS,),
    "rounds": (GAPS,),
    "rate": (SERVER,),
    "seconds": (SINGLE, SWEEP, CONCURRENT, SERVER, SHAPES),
}
"""The scenarios of each flag; in other scenarios the flag has no meaning."""

FIELDS = {
    "p99": "bound_ns",
    "vary": "vary",
    "batches": "batches",
    "callers": "callers",
    "gaps": "gaps_ms",
    "rounds": "rounds",
    "rate": "rate_per_second",
    "seconds": "seconds",
}
"""The field of `Scenario` that each flag sets."""


@dataclass
class LoadSession:
    """A run of cells under a scenario and plan. `tell` gets a sentence before each slow step."""

    entries: Sequence[Entry]
    scenario: Scenario
    plan: Plan
    results_folder: Path
    seed: int = 0
    flags: str = ""
    tell: Callable[[str], None] = lambda text: None
    fresh: bool = False
    """Whether to leave an interrupted run of the same cells alone."""
    journal: Journal = field(init=False)
    _bases: dict[str, Entry] = field(init=False)
    _parts: dict[str, list[Part]] = field(init=False)

    def __post_init__(self) -> None:
        self._bases = self._cells()
        self._parts = {key: self._split(entry.cell) for key, entry in self._bases.items()}
        folder = records.folder(self.results_folder / FOLDER)
        scenario = described(self.scenario)
        wanted = manifest(
            self._bases.values(), self.plan, self.seed, records.LOAD, scenario=scenario
        )
        self.journal = Journal.open(folder, wanted, records.LOAD, self.fresh)
        self._preparer = Preparer(
            self.plan.timeout_seconds, lambda kind, text: self.tell(f"making {kind} for {text}")
        )

    @property
    def file(self) -> Path:
        """The results file of this run."""
        return self.journal.run.file

    def measure(self) -> list[Record]:
        """Every cell's line, in order; lines are written to disk at once."""
        sweep = Sweep(self.plan, self.journal, self.seed)
        waiting: dict[int, str] = {}
        for key, parts in self._parts.items():
            if self.journal.was_refused(key):
                continue
            for part in parts:
                self._prepare(part, sweep)
            if not self.journal.stands(key, [part.prepared for part in parts]):
                self._settle(key)
                waiting |= {id(part): key for part in parts}
        parts = [part for parts in self._parts.values() for part in parts if id(part) in waiting]
        sweep.measure(parts, self._work, self._begin, lambda part: self._settle(waiting[id(part)]))
        self.journal.run.finish()
        return [self.journal.lines[key] for key in self._bases]

    def known(self) -> str:
        """How many outcomes and processes are known, as text."""
        return self.journal.known(
            list(self._bases), lambda key: [part.cell.key for part in self._parts[key]]
        )

    def _cells(self) -> dict[str, Entry]:
        """The cells by key. In a scenario with batch sizes, cells of every size are merged."""
        cells: dict[str, Entry] = {}
        for entry in self.entries:
            cell = entry.cell
            if self.scenario.has_batches:
                cell = replace(cell, batch=max(self.scenario.batches))
            cells.setdefault(cell.key, replace(entry, cell=cell))
        return cells

    def _split(self, cell: Cell) -> list[Part]:
        """The parts of a cell's line: a part per batch size of a batch sweep, or a single part."""
        sizes = sorted(self.scenario.batches) if self.scenario.name == SWEEP else [cell.batch]
        return [Part(replace(cell, batch=size)) for size in sizes]

    def _prepare(self, part: Part, sweep: Sweep) -> None:
        part.ended = self._refusal(part.cell)
        if part.ended:
            return
        self.tell(f"preparing {part.cell.id}")
        preparer = self._preparer
        sizes = self.scenario.has_sizes
        sweep.prepare(part, preparer.prepare_sizes if sizes else preparer.prepare)

    def _refusal(self, cell: Cell) -> Reply | None:
        """The reason that the scenario cannot run on a cell, or None."""
        if self.scenario.name == SERVER and not cell.interpreter_name and mlperf.lacks():
            return Reply(None, "unavailable", "prepare", mlperf.lacks())
        model = cell.model
        if cell.batch != 1 and not any(BATCH in spec.shape for spec in model.inputs):
            reason = "declares no batch dimension: every call is one sample"
        elif self.scenario.has_sizes and not model.sizes:
            reason = "declares one size; declare other sizes with sizes= (docs/how-to/load.md)"
        else:
            return None
        return Reply(None, "unsupported", "prepare", f"{model.name} {reason}")

    def _begin(self, part: Part, sweep: int) -> None:
        self.tell(f"{self.scenario.name}: {part.cell.id} {sweep + 1}/{self.plan.processes}")

    def _work(self, part: Part) -> Reply:
        assert part.prepared is not None
        request = LoadRequest(self.plan, self.scenario)
        return self._preparer.work(Job("load", part.cell, request, folders=part.prepared.folders()))

    def _settle(self, key: str) -> None:
        """Write a cell's line after the end of all parts."""
        if key not in self.journal.lines and all(part.ended for part in self._parts[key]):
            self.journal.settle(self._line(self._bases[key], self._parts[key]))

    def _line(self, entry: Entry, parts: Sequence[Part]) -> dict[str, Any]:
        described_parts = [self._described(part) for part in parts]
        wrong = [part for part in described_parts if part["outcome"] in UNWANTED]
        right = [part for part in described_parts if part["outcome"] == "ok"]
        deciding = (wrong or right or described_parts)[0]
        several = len(parts) > 1 and deciding["reason"]
        batch = f"batch {deciding['cell']['batch']}: " if several else ""
        measured = next((part for part in reversed(parts) if part.processes), parts[0])
        command = entry.command.replace("evenbench run", "evenbench load", 1)
        work = self.journal.run
        run = {"id": work.id, "started": work.manifest["started"], "seed": self.seed}
        return {
            "load": records.LOAD.newest,
            **record_parts.head(entry.cell, run, self.plan),
            "case": entry.case,
            "scenario": described(self.scenario),
            "boundary": HOST_TO_HOST,
            "outcome": deciding["outcome"],
            "phase": deciding["phase"],
            "reason": batch + deciding["reason"],
            "parts": described_parts,
            "answer": conclusion(self.scenario, right),
            "environment": record_parts.environment(measured.prepared, measured.processes),
            "reproduce": f"{command} {records.cell_flag(self._declared_id(entry))} {self.flags}",
        }

    def _declared_id(self, entry: Entry) -> str:
        """The declared id of the cell, because the scenario may have replaced the batch size."""
        return next(
            declared.cell.id
            for declared in self.entries
            if replace(declared.cell, batch=entry.cell.batch).key == entry.cell.key
        )

    def _described(self, part: Part) -> dict[str, Any]:
        """A part as JSON. A wrong part keeps the verdict and loses the times."""
        assert part.ended is not None
        processes, last = part.processes, record_parts.last(part.processes)
        timed = processes if part.ended.outcome == "ok" else []
        points = [process["points"] for process in timed]
        return {
            "cell": part.cell.described(),
            **record_parts.ending(part.ended),
            "points": merge_points(self.scenario, part.cell.batch, points) if timed else [],
            "blocks": [process["block"] for process in timed],
            "clock": last.get("clock", "") if timed else "",
            "warm_up": [process["warm_up"] for process in timed],
            "phases_seconds": record_parts.phases(timed) if timed else {},
            "memory": record_parts.peak_memory(timed),
            "gpu": record_parts.gpus(processes),
            "parity": record_parts.worst_parity(processes),
            "sizes": last.get("sizes", []),
            "accuracy": last.get("accuracy"),
            "attested": last.get("attested"),
            **record_parts.sources(part.prepared),
        }


def described(scenario: Scenario) -> dict[str, Any]:
    """The scenario as JSON: name, seed, and the fields set by the scenario's flags."""
    names = [
        field
        for flag, field in FIELDS.items()
        if scenario.name in FLAGS[flag] and (flag != "batches" or scenario.has_batches)
    ]
    known = {field: getattr(scenario, field) for field in names}
    return {"name": scenario.name, "seed": scenario.seed, **known}


def conclusion(scenario: Scenario, parts: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The scenario's conclusion: the best batch, the highest valid rate, or None."""
    points = [point for part in parts for point in part["points"]]
    if scenario.name == SWEEP and points:
        return best_batch(points, scenario.bound_ns)
    if scenario.name == SERVER and points:
        (point,) = points
        rate = value_of(point["rate"])
        reason = next((reason for reason in point["reasons"] if reason), "")
        return {"bound_ns": scenario.bound_ns, "rate_per_second": rate, "reason": reason}
    return None
