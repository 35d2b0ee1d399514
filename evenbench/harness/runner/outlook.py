"""What a plan can resolve, predicted before the run from earlier results on this machine."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evenbench.harness.core.plans import Plan
from evenbench.harness.core.types import COMPUTE, Cell
from evenbench.harness.environment import system_info
from evenbench.harness.results import records
from evenbench.harness.results.records import Record
from evenbench.harness.runner.group_schedule import GroupSchedule
from evenbench.harness.runner.part_groups import groups_of
from evenbench.harness.runner.standing import percent
from evenbench.harness.runner.sweep import Part

NEWEST_FILES = 5
"""Results files to search for earlier results, from the newest."""

HERE = ("cpu", "cores")
"""Facts of the environment that make an earlier result one of this machine."""


@dataclass
class Past:
    """A group in earlier results: cost of a sweep, number of sweeps, half-widths reached."""

    seconds: float
    sweeps: int
    half_widths: Sequence[float]
    planned: int = field(default=0, init=False)
    """Sweeps in the prediction so far."""

    def half_width_after(self, sweeps: int) -> float:
        """The widest half-width after a number of sweeps: it shrinks with the square root."""
        widest = max(self.half_widths, default=0.0)
        return widest * math.sqrt(self.sweeps / sweeps) if sweeps else math.inf


def predict(pasts: Sequence[Past], plan: Plan) -> str:
    """The time that the plan needs, or what its budget resolves, as a sentence.

    Sweeps are dealt as in `GroupSchedule.next`: the minimum first, then to the widest ratio.
    """
    for past in pasts:
        past.planned = plan.processes
    spent = sum(past.seconds * past.planned for past in pasts)
    while True:
        waiting = [
            past
            for past in pasts
            if past.half_width_after(past.planned) > plan.half_width
            and past.planned < plan.process_limit
            and spent + past.seconds <= plan.budget_seconds
        ]
        if not waiting:
            break
        widest = max(waiting, key=lambda past: past.half_width_after(past.planned))
        widest.planned += 1
        spent += widest.seconds
    halves = [
        half * math.sqrt(past.sweeps / past.planned) for past in pasts for half in past.half_widths
    ]
    precise = sum(half <= plan.half_width for half in halves)
    minutes = max(1, round(spent / 60))
    return (
        f"by earlier results here, {precise} of {len(halves)} ratios within "
        f"{percent(plan.half_width)} in about {minutes} min of measuring, the widest "
        f"{percent(max(halves))}"
    )


def of(cells: Sequence[Cell], plan: Plan, folder: Path) -> str:
    """The prediction for a run of cells; empty without a half-width or without earlier results."""
    if not math.isfinite(plan.half_width):
        return ""
    known = _earlier({cell.key for cell in cells}, folder)
    parts = [_part(cell, known[cell.key]) for cell in cells if cell.key in known]
    groups = [group for group in groups_of(parts) if len(group.parts) > 1]
    schedule = GroupSchedule(groups, plan, random.Random(0))
    races = schedule.races()
    pasts = []
    for group in groups:
        halves = [race.half_width for race in races if race.group is group]
        seconds = sum(_seconds(known[part.cell.key]) for part in group.parts)
        if halves and all(map(math.isfinite, halves)):
            pasts.append(Past(seconds, group.sweeps, halves))
    return predict(pasts, plan) if pasts else ""


def _earlier(keys: set[str], folder: Path) -> dict[str, Record]:
    """The newest line of each cell, measured in turns on this machine without a failure."""
    described = system_info.describe()
    here = {name: described[name] for name in HERE}
    known: dict[str, Record] = {}
    for line in _newest_lines(folder):
        environment = line.get("environment") or {}
        usable = line.get("outcome") == "ok" and any(line.get("interleaving") or [])
        same = all(environment.get(name) == value for name, value in here.items())
        if usable and same and line["cell"]["key"] in keys:
            known.setdefault(line["cell"]["key"], line)
    return known


def _newest_lines(folder: Path) -> Iterator[Mapping[str, Any]]:
    files = sorted(folder.glob("*.jsonl"), reverse=True)[:NEWEST_FILES]
    for file in files:
        yield from records.stream([file], lambda note: None)


def _part(cell: Cell, line: Record) -> Part:
    """A part with the recorded processes of a line."""
    samples, blocks = line["samples_ns"][COMPUTE], line["blocks"][COMPUTE]
    processes: list[Record] = [
        {"samples_ns": {COMPUTE: laps}, "blocks": {COMPUTE: taken}, "interleaving": turns}
        for laps, taken, turns in zip(samples, blocks, line["interleaving"], strict=True)
    ]
    return Part(cell, processes=processes)


def _seconds(line: Record) -> float:
    seconds = line["process_seconds"]
    return sum(seconds) / len(seconds) if seconds else 0.0
