"""Groups of parts, and their ratios that matter, with the precision of each."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from evenbench.harness.core import registry
from evenbench.harness.core.plans import Plan
from evenbench.harness.core.types import COMPUTE
from evenbench.harness.results.interleaving import Sweeps, by_round
from evenbench.harness.runner.sweep import Part
from evenbench.harness.statistics import ratios
from evenbench.harness.statistics.ratios import NO_PRIOR, Prior, Ratio

FRONT_WEIGHT = 2.0
"""Weight of a ratio between front-runners, and of a ratio to another side of the same cell, against
the weight 1 of a ratio to the baseline.
"""


@dataclass
class PartGroup:
    """The prepared parts of a comparison group, and the sweeps so far."""

    name: str
    parts: list[Part]
    sweeps: int = 0
    """Sweeps begun so far, including those of an interrupted run."""
    seconds: list[float] = field(default_factory=list)
    """Duration of each sweep of this command."""
    _times: tuple[Any, Mapping[str, Sweeps]] | None = field(default=None, init=False, repr=False)
    """The state and the blocks of the last `times`: thousands of laps per process."""

    def __post_init__(self) -> None:
        numbers = [
            int(process["interleaving"]["sweep"].partition(".")[0])
            for part in self.parts
            for process in part.processes
            if process.get("interleaving")
        ]
        processes = [len(part.processes) for part in self.parts]
        self.sweeps = max([*(number + 1 for number in numbers), *processes], default=0)

    @property
    def open(self) -> list[Part]:
        """The parts without an end."""
        return [part for part in self.parts if part.ended is None]

    @property
    def right(self) -> list[Part]:
        """The parts without a failure, refusal or wrong outputs so far."""
        return [part for part in self.parts if part.ended is None or part.ended.outcome == "ok"]

    @property
    def reference(self) -> Part | None:
        """The baseline with the fewest options; without a baseline, the fastest part so far."""
        eager = [part for part in self.right if registry.row(part.cell.backend).baseline]
        if eager:
            return min(eager, key=lambda part: (bool(part.beside), len(part.cell.options)))
        return min(self.right, key=lambda part: (_is_control(part), _time_of(part)), default=None)

    @property
    def state(self) -> tuple[tuple[str, int], ...]:
        """The right parts and their numbers of processes: equal as long as no ratio has changed."""
        return tuple((part.cell.key, len(part.processes)) for part in self.right)

    @property
    def times(self) -> Mapping[str, Sweeps]:
        """The blocks of `compute` of right runtimes (no controls) with a process, by cell key."""
        state = self.state
        if self._times is None or self._times[0] != state:
            runtimes = [part for part in self.right if part.processes and not _is_control(part)]
            self._times = state, {part.cell.key: sweeps_of(part) for part in runtimes}
        return self._times[1]

    def lacking(self, plan: Plan) -> list[Part]:
        """The open parts with fewer processes than the plan's minimum."""
        return [part for part in self.open if len(part.processes) < plan.processes]


def groups_of(parts: Iterable[Part]) -> list[PartGroup]:
    """The comparison groups of parts, in order.

    A cell with several requests in flight is a group of its own: overlapping laps leave no
    moment for the end of a turn.
    """
    groups: dict[str, list[Part]] = {}
    for part in parts:
        cell = part.cell
        alone = f" {cell.key}" if cell.option.get("hint") == "throughput" else ""
        groups.setdefault(cell.group + alone, []).append(part)
    return [PartGroup(name, members) for name, members in groups.items()]


def sweeps_of(part: Part) -> Sweeps:
    """The blocks of `compute` of a part's processes, by sweep and round."""
    return {
        process["interleaving"]["sweep"]: by_round(
            process["samples_ns"][COMPUTE],
            [block["laps"] for block in process["blocks"][COMPUTE]],
            process["interleaving"]["rounds"],
        )
        for process in part.processes
        if process.get("interleaving")
    }


def _is_control(part: Part) -> bool:
    return registry.row(part.cell.backend).role != "runtime"


def _time_of(part: Part) -> float:
    level = ratios.level(sweeps_of(part))
    return level.value if level else math.inf


@dataclass(frozen=True)
class Race:
    """A ratio that matters: two parts of a group, and how precisely the ratio is known."""

    group: PartGroup
    slower: Part
    faster: Part
    ratio: Ratio | None
    weight: float = 1.0

    @property
    def half_width(self) -> float:
        """Half the 95 % interval of the log ratio; infinite if unknown."""
        half = self.ratio.half_width() if self.ratio else None
        return math.inf if half is None else half

    @property
    def is_close(self) -> bool:
        """Whether the order is unclear: the 95 % interval contains 1, or is unknown."""
        return self.ratio is None or abs(self.ratio.log) <= self.half_width

    def half_width_after(self, sweeps: int) -> float:
        """A prediction: a half-width shrinks with the square root of the number of sweeps."""
        return self.half_width * math.sqrt(self.ratio.sweeps / sweeps) if self.ratio else math.inf


def races_of(group: PartGroup, prior: Prior = NO_PRIOR) -> list[Race]:
    """The ratios of a group that matter.

    To the reference, of front-runners to the fastest, and of a cell to its other sides.
    """
    times, reference = group.times, group.reference
    parts = {part.cell.key: part for part in group.right if part.cell.key in times}
    if reference is None or reference.cell.key not in times or len(parts) < 2:
        return []

    def race(slower: Part, faster: Part, weight: float = 1.0) -> Race:
        pair = ratios.ratio(times[slower.cell.key], times[faster.cell.key], prior)
        return Race(group, slower, faster, pair, weight)

    pairs = [race(reference, part) for part in parts.values() if part is not reference]
    ahead = max(pairs, key=lambda pair: pair.ratio.log if pair.ratio else -math.inf)
    leader = ahead.faster if ahead.ratio and ahead.ratio.log > 0 else reference
    front = [
        race(part, leader, FRONT_WEIGHT)
        for part in parts.values()
        if part is not leader and part is not reference and leader is not reference
    ]
    beside = [
        race(part, parts[part.beside], FRONT_WEIGHT)
        for part in parts.values()
        if part.beside in parts and reference not in (part, parts[part.beside])
    ]
    listed = [*pairs, *beside, *(pair for pair in front if pair.is_close)]
    return list({frozenset((id(r.slower), id(r.faster))): r for r in listed}.values())
