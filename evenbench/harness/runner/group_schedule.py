"""Decides which group is swept next, with which members, and when a group is finished.

Every group gets the plan's fewest sweeps. Further sweeps go to races that are still open, then to
the widest interval that matters: ratios to the baseline, and between front-runners. Cells whose
ratios are as precise as planned take no further part, nor do cells with ratios out of the plan's
reach.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evenbench.harness.core.plans import Plan
from evenbench.harness.runner.part_groups import PartGroup, Race, races_of
from evenbench.harness.runner.sweep import Part
from evenbench.harness.statistics import ratios
from evenbench.harness.statistics.ratios import Prior

WIDE = 0.10
"""A half-width beyond which a ratio gets further sweeps, whether or not they can suffice."""


@dataclass
class GroupSchedule:
    """The order of sweeps over groups. `next` gives the next group and members to sweep."""

    groups: Sequence[PartGroup]
    plan: Plan
    shuffle: random.Random
    _predicted: dict[str, int] = field(default_factory=dict, init=False)
    _races: tuple[Any, Sequence[Race]] | None = field(default=None, init=False)
    """The state and the races of the last `races`."""

    def races(self) -> Sequence[Race]:
        """All ratios that matter, with the run's prior; computed once per state of the groups."""
        state = [group.state for group in self.groups]
        if self._races is None or self._races[0] != state:
            prior = self._prior()
            races = [race for group in self.groups for race in races_of(group, prior)]
            self._races = state, races
        return self._races[1]

    def next(self, seconds_left: float) -> tuple[PartGroup, list[Part]] | None:
        """The next group with the parts to measure, the reference first; None at the end.

        A first sweep is due whatever time is left. Later sweeps must fit into `seconds_left`, by
        the duration of the group's last sweep.
        """
        due = self.due()
        self._predicted = self.sweeps_left(due)
        first = [group for group in self.groups if group.sweeps == 0 and group.open]
        if first:
            return self._least_swept(first)
        fitting = [
            group
            for group in self.groups
            if group.open and (not group.seconds or group.seconds[-1] <= seconds_left)
        ]
        lacking = [group for group in fitting if group.lacking(self.plan)]
        if lacking:
            return self._least_swept(lacking)
        wide = [
            race
            for race in due
            if race.group in fitting and race.group.sweeps < self.plan.process_limit
        ]
        if not wide:
            return None
        group = max(wide, key=lambda race: (race.is_close, race.weight * race.half_width)).group
        members = [
            part for race in wide if race.group is group for part in (race.slower, race.faster)
        ]
        return group, _with_reference(group, members)

    def is_finished(self, group: PartGroup) -> bool:
        """Whether no further sweep of a group is due, whatever time is left."""
        if group.lacking(self.plan):
            return False
        limited = group.sweeps >= self.plan.process_limit
        return limited or all(race.group is not group for race in self.due())

    def undecided(self) -> list[Race]:
        """The ratios that matter and are not known to the plan's half-width."""
        if not math.isfinite(self.plan.half_width):
            return []
        return [race for race in self.races() if race.half_width > self.plan.half_width]

    def due(self) -> list[Race]:
        """The undecided ratios with a claim to further sweeps.

        Close races, ratios wider than `WIDE`, and ratios within reach of the plan: its most
        sweeps bring them to its half-width, by prediction.
        """
        limit, enough = self.plan.process_limit, self.plan.half_width
        return [
            race
            for race in self.undecided()
            if race.is_close or race.half_width > WIDE or race.half_width_after(limit) <= enough
        ]

    def sweeps_left(self, races: Iterable[Race]) -> dict[str, int]:
        """By group, a prediction of the sweeps needed for `races` within the plan's half-width."""
        left = {group.name: max(0, self.plan.processes - group.sweeps) for group in self.groups}
        for race in races:
            sweeps = race.group.sweeps
            factor = (race.half_width / self.plan.half_width) ** 2
            needed = math.ceil(sweeps * factor) - sweeps if math.isfinite(factor) else 1
            left[race.group.name] = max(left[race.group.name], needed, self.plan.processes - sweeps)
        return left

    def seconds_left(self) -> float | None:
        """A prediction of the time for the sweeps due within the plan; None before the first sweep.

        Groups without a sweep are taken to cost as much per member as the others.
        """
        costs = [group.seconds[-1] / len(group.parts) for group in self.groups if group.seconds]
        if not costs:
            return None
        mean, total = sum(costs) / len(costs), 0.0
        for group in self.groups:
            limit = max(0, self.plan.process_limit - group.sweeps)
            due = min(self._predicted.get(group.name, self.plan.processes), limit)
            total += due * (group.seconds[-1] if group.seconds else mean * len(group.parts))
        spent = sum(sum(group.seconds) for group in self.groups)
        return min(total, max(0.0, self.plan.budget_seconds - spent))

    def _least_swept(self, groups: Sequence[PartGroup]) -> tuple[PartGroup, list[Part]]:
        least = min(group.sweeps for group in groups)
        group = self.shuffle.choice([group for group in groups if group.sweeps == least])
        return group, _with_reference(group, group.lacking(self.plan))

    def _prior(self) -> Prior:
        own = []
        for group in self.groups:
            reference = group.reference
            base = group.times.get(reference.cell.key) if reference else None
            others = [times for times in group.times.values() if times is not base]
            own += [ratios.ratio(times, base) for times in others] if base else []
        return ratios.prior_of(pair for pair in own if pair is not None)


def _with_reference(group: PartGroup, members: Iterable[Part]) -> list[Part]:
    """The reference of the group, then the other members, each once."""
    unique: Mapping[str, Part] = {part.cell.key: part for part in members}
    reference = group.reference
    others = [part for part in unique.values() if part is not reference]
    return [reference, *others] if reference else others
