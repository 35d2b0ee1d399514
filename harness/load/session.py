"""A load run: every cell of a scenario, measured in several sweeps and written as result lines."""

from __future__ import annotations

import random
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness import __version__
from harness.core import registry
from harness.core.cases import Entry
from harness.core.types import BATCH, HOST_TO_HOST, PHASES, UNWANTED, Cell, Plan
from harness.load import mlperf, scenarios
from harness.load.scenarios import (
    CONCURRENT,
    GAPS,
    SERVER,
    SHAPES,
    SINGLE,
    SWEEP,
    LoadRequest,
    Scenario,
)
from harness.results import records
from harness.runner import outcome, resume
from harness.runner.job import Job, Reply
from harness.runner.preparation import Prepared, Preparer, Refusal
from harness.runner.resume import Ledger

FOLDER = "load"
"""Within the results folder, where readers of outcomes do not look."""

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
"""The flags that mean something in some scenarios only."""


FIELDS = {
    "p99": "bound_ns",
    "vary": "vary",
    "batches": "batches",
    "callers": "callers",
    "gaps": "gaps_ms",
    "rounds": "rounds",
}
FIELDS |= {"rate": "rate_per_second", "seconds": "seconds"}
"""What each of them sets."""


# -- the session -----------------------------------------------------------------------------------


@dataclass
class Part:
    """One prepared cell of a line: the line's own, or that of one batch size. What its processes
    found, and how it ended.
    """

    cell: Cell
    prepared: Prepared | None = None
    processes: list[records.Record] = field(default_factory=list)
    ended: Reply | None = None


@dataclass
class Session:
    """Some cells under one scenario and plan. `tell` gets a sentence before anything slow starts."""

    entries: Sequence[Entry]
    scenario: Scenario
    plan: Plan
    results_folder: Path
    seed: int = 0
    flags: str = ""
    tell: Callable[[str], None] = lambda text: None
    fresh: bool = False
    """Whether to leave an interrupted run of the same as it is."""
    file: Path = field(init=False)
    run: dict[str, Any] = field(init=False)
    ledger: Ledger = field(init=False)

    def __post_init__(self) -> None:
        folder = records.folder(self.results_folder / FOLDER)
        wanted = resume.manifest(
            self._bases(), self.plan, self.seed, records.LOAD, scenario=told_of(self.scenario)
        )
        self.ledger = Ledger.open(folder, wanted, records.LOAD, self.fresh)
        self.file, known = (
            self.ledger.run.file,
            {"id": self.ledger.run.id, "started": self.ledger.run.manifest["started"]},
        )
        plan = {"plan": self.plan.name, "processes": self.plan.processes}
        self.run = {**known, "seed": self.seed, **plan, "evenbench": __version__}
        self._preparer = Preparer(
            self.plan.timeout_seconds, lambda kind, text: self.tell(f"making {kind} for {text}")
        )

    def measure(self) -> list[records.Record]:
        """Every cell's line, in order; each is on the disk when it is known. What an interrupted
        run found is not measured again.
        """
        waiting = {key: (entry, self._parts(entry.cell)) for key, entry in self._bases().items()}
        for key, (entry, parts) in waiting.items():
            if self.ledger.was_refused(key):
                continue
            for part in parts:
                self._prepare(part)
            if not self.ledger.stands(key, [part.prepared for part in parts]):
                self._settle(entry, parts)
        shuffle = random.Random(self.seed)
        for sweep in range(self.plan.processes):
            left = [each for key, each in waiting.items() if key not in self.ledger.lines]
            order = [
                (entry, parts, part)
                for entry, parts in left
                for part in parts
                if not part.ended and len(part.processes) <= sweep
            ]
            shuffle.shuffle(order)
            for entry, parts, part in order:
                self.tell(f"{self.scenario.name}: {part.cell.id} {sweep + 1}/{self.plan.processes}")
                self._once(part)
                self._settle(entry, parts)
        self.ledger.run.finish()
        return [self.ledger.lines[key] for key in waiting]

    def known(self) -> str:
        """How much is known, in words."""
        bases = self._bases()
        return self.ledger.words(
            list(bases), lambda key: [part.cell.key for part in self._parts(bases[key].cell)]
        )

    def _bases(self) -> dict[str, Entry]:
        """The cells by key. Where batch sizes are the scenario's, cells that differ in theirs alone
        are one.
        """
        found: dict[str, Entry] = {}
        for entry in self.entries:
            cell = (
                replace(entry.cell, batch=max(self.scenario.batches))
                if self.scenario.has_batches
                else entry.cell
            )
            found.setdefault(cell.key, replace(entry, cell=cell))
        return found

    def _parts(self, cell: Cell) -> list[Part]:
        sizes = sorted(self.scenario.batches) if self.scenario.name == SWEEP else [cell.batch]
        return [Part(replace(cell, batch=size)) for size in sizes]

    def _prepare(self, part: Part) -> None:
        lacking = (
            mlperf.lacks()
            if self.scenario.name == SERVER and not part.cell.interpreter_name
            else ""
        )
        fixed = self._fixed(part.cell)
        if lacking:
            part.ended = Reply(None, "unavailable", "prepare", lacking)
        elif fixed:
            part.ended = Reply(None, "unsupported", "prepare", f"{part.cell.model.name} {fixed}")
        else:
            self.tell(f"preparing {part.cell.id}")
            prepare = (
                self._preparer.prepare_sizes if self.scenario.has_sizes else self._preparer.prepare
            )
            try:
                part.prepared = prepare(part.cell)
            except Refusal as refusal:
                part.ended = refusal.reply
                return
            part.processes = self.ledger.processes(part.cell.key, part.prepared)
            if len(part.processes) >= self.plan.processes:
                part.ended = Reply(None)

    def _fixed(self, cell: Cell) -> str:
        """What the scenario changes and the cell's model has one of, in words, or an empty string."""
        if cell.batch != 1 and not any(BATCH in spec.shape for spec in cell.model.inputs):
            return "declares no batch dimension: every call is one sample"
        if self.scenario.has_sizes and not cell.model.sizes:
            return "declares one size; give it others with sizes= (docs/load.md)"
        return ""

    def _once(self, part: Part) -> None:
        """One process of one part."""
        assert part.prepared is not None
        job = Job(
            "load",
            part.cell,
            LoadRequest(self.plan, self.scenario),
            folders=part.prepared.folders(),
        )
        reply = self._preparer.work(job)
        if reply.value is None:
            part.ended = reply
            return
        other = part.prepared.difference(reply.value)
        part.processes.append({**reply.value, "wall_seconds": reply.wall_seconds})
        wrong = Reply(None, "failed", "load", other) if other else outcome.verdict(reply.value)
        if not wrong:
            self.ledger.keep(part.cell.key, part.prepared, part.processes[-1])
        if wrong or len(part.processes) == self.plan.processes:
            part.ended = wrong or Reply(None)

    def _settle(self, entry: Entry, parts: Sequence[Part]) -> None:
        """The cell's one line, once all of its parts have ended: written to the disk."""
        if all(part.ended for part in parts) and entry.cell.key not in self.ledger.lines:
            self.ledger.settle(self._line(entry, parts))

    def _line(self, entry: Entry, parts: Sequence[Part]) -> dict[str, Any]:
        told = [self._told(part) for part in parts]
        wrong = [each for each in told if each["outcome"] in UNWANTED]
        right = [each for each in told if each["outcome"] == "ok"]
        deciding = (wrong or right or told)[0]
        which = (
            f"batch {deciding['cell']['batch']}: " if len(told) > 1 and deciding["reason"] else ""
        )
        measured = [part for part in parts if part.processes]
        last = measured[-1] if measured else parts[0]
        command = entry.command.replace("evenbench run", "evenbench load", 1)
        return {
            "load": records.LOAD.newest,
            "run": self.run,
            "time": records.timestamp(),
            "case": entry.case,
            "cell": entry.cell.described(),
            "role": registry.row(entry.cell.backend).role,
            "scenario": told_of(self.scenario),
            "boundary": HOST_TO_HOST,
            "outcome": deciding["outcome"],
            "phase": deciding["phase"],
            "reason": which + deciding["reason"],
            "parts": told,
            "answer": answer(self.scenario, right),
            "environment": outcome.environment_of(last.prepared, last.processes),
            "reproduce": f"{command} --cell {shlex.quote(self._named(entry))} {self.flags}",
        }

    def _named(self, entry: Entry) -> str:
        """The id of the cell as it was declared, whose batch the scenario may have replaced."""
        same = [
            each.cell.id
            for each in self.entries
            if replace(each.cell, batch=entry.cell.batch).key == entry.cell.key
        ]
        return same[0]

    def _told(self, part: Part) -> dict[str, Any]:
        """One part as JSON. A wrong answer keeps its verdict and loses its times."""
        assert part.ended is not None
        right, taken, prepared = part.ended.outcome == "ok", part.processes, part.prepared
        last = taken[-1] if taken else {}
        phases = {
            phase: [
                each["phases_seconds"][phase] for each in taken if phase in each["phases_seconds"]
            ]
            for phase in PHASES
        }
        worst = max(
            (each["parity"] for each in taken if each["parity"]),
            key=lambda found: float(found["needed"]),
            default=None,
        )
        return {
            "cell": part.cell.described(),
            "outcome": part.ended.outcome,
            "phase": part.ended.phase,
            "reason": part.ended.reason,
            "traceback": part.ended.traceback,
            "signal": part.ended.signal,
            "points": scenarios.points(
                self.scenario, part.cell.batch, [each["points"] for each in taken]
            )
            if right
            else [],
            "blocks": [each["block"] for each in taken] if right else [],
            "clock": last.get("clock", "") if right else "",
            "warm_up": [each["warm_up"] for each in taken] if right else [],
            "phases_seconds": phases if right else {},
            "memory": {
                "peak_rss_bytes": [each["peak_rss_bytes"] for each in taken] if right else []
            },
            "gpu": [each["gpu"] for each in taken if each["gpu"]],
            "parity": worst,
            "sizes": last.get("sizes", []),
            "accuracy": last.get("accuracy"),
            "attested": last.get("attested"),
            "artifact_sha256": prepared.artifact.sha256 if prepared else "",
            "input_sha256": prepared.inputs.facts["sha256"] if prepared else "",
            "weights": prepared.weights if prepared else None,
        }


def told_of(scenario: Scenario) -> dict[str, Any]:
    """The scenario as JSON: its name, its seed, and what else it knows."""
    names = [
        field
        for flag, field in FIELDS.items()
        if scenario.name in FLAGS[flag] and (flag != "batches" or scenario.has_batches)
    ]
    known = {field: getattr(scenario, field) for field in names}
    return {"name": scenario.name, "seed": scenario.seed, **known}


def answer(scenario: Scenario, parts: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """What a reader came for, where the scenario has one: the best batch, or the highest valid
    rate.
    """
    points = [point for part in parts for point in part["points"]]
    if scenario.name == SWEEP and points:
        return scenarios.best_batch(points, scenario.bound_ns)
    if scenario.name == SERVER and points:
        (point,) = points
        rate = scenarios.value_of(point["rate"])
        reason = next((reason for reason in point["reasons"] if reason), "")
        return {"bound_ns": scenario.bound_ns, "rate_per_second": rate, "reason": reason}
    return None
