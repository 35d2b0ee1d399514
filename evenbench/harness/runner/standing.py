"""The standing of a run as text: the ranking of a group so far, and how precise the ratios are."""

from __future__ import annotations

import math
from collections.abc import Sequence

from evenbench.harness.core.plans import PLANS, PRECISE_PROCESSES
from evenbench.harness.runner.group_schedule import GroupSchedule
from evenbench.harness.runner.part_groups import PartGroup, Race

SHOWN = 3
"""Members of a ranking in a line of progress."""


def of(group: PartGroup, schedule: GroupSchedule) -> str:
    """`; so far ort 1.91x, openvino 1.74x of torch-eager, widest ±4.1 %`; empty without a ratio."""
    races = [race for race in schedule.races() if race.group is group and race.ratio]
    reference = group.reference
    ranked = sorted(
        (race for race in races if race.slower is reference),
        key=lambda race: -race.ratio.log if race.ratio else 0.0,
    )
    if not ranked or reference is None:
        return ""
    names = [f"{race.faster.cell.backend_label} {_times(race)}" for race in ranked[:SHOWN]]
    widest = max(race.half_width for race in races)
    half = f", widest {percent(widest)}" if math.isfinite(widest) else ""
    return f"; so far {', '.join(names)} of {reference.cell.backend}{half}"


def _times(race: Race) -> str:
    return f"{math.exp(race.ratio.log):.3g}x" if race.ratio else "?"


def percent(half_width: float) -> str:
    """A half-width of a log ratio as `±2.3 %`."""
    return f"±{100 * math.expm1(half_width):.2g} %" if math.isfinite(half_width) else "unknown"


def resolution(schedule: GroupSchedule) -> str:
    """How many ratios are as precise as planned, and what would resolve the rest.

    `22 of 24 ratios within ±3 %; widest ±4.4 %: openvino over ort, resnet18-...; about 3 more
    sweeps (2 min) would resolve them: ...`. Empty without a half-width in the plan, or without a
    ratio.
    """
    races = schedule.races()
    half_width = schedule.plan.half_width
    if not races or not math.isfinite(half_width):
        return ""
    wide = [race for race in races if race.half_width > half_width]
    first = f"{len(races) - len(wide)} of {len(races)} ratios within {percent(half_width)}"
    if not wide:
        return first
    worst = max(wide, key=lambda race: race.half_width)
    faster, slower = worst.faster.cell.backend_label, worst.slower.cell.backend_label
    pair = f"{faster} over {slower}, {worst.group.name}"
    return f"{first}; widest {percent(worst.half_width)}: {pair}{_remedy(schedule, wide)}"


def _remedy(schedule: GroupSchedule, wide: Sequence[Race]) -> str:
    """The number and time of sweeps that would bring all ratios to the plan's half-width."""
    if any(not math.isfinite(race.half_width) for race in wide):
        return f"; {_flags(schedule, schedule.plan.processes)} gives processes for an interval"
    predicted = schedule.sweeps_left(wide)
    groups = {race.group.name: race.group for race in wide}.values()
    seconds = [group.seconds[-1] * predicted[group.name] for group in groups if group.seconds]
    if len(seconds) < len(groups):
        return ""
    sweeps = sum(predicted[group.name] for group in groups)
    minutes = max(1, math.ceil(sum(seconds) / 60))
    more = "1 more sweep" if sweeps == 1 else f"{sweeps} more sweeps"
    most = max(group.sweeps + predicted[group.name] for group in groups)
    flags = _flags(schedule, most, sum(seconds))
    return f"; about {more} ({minutes} min) would resolve them: {flags}"


def _flags(schedule: GroupSchedule, sweeps: int, seconds: float = 0.0) -> str:
    """The flags for `sweeps` of a group, and for `seconds` more than the budget, if any."""
    plan = schedule.plan
    flags = []
    if sweeps > plan.process_limit:
        thorough = PLANS["thorough"]
        if sweeps > thorough.process_limit:
            return "a quieter machine"
        flags += [] if sweeps <= PRECISE_PROCESSES else [f"--plan {thorough.name}"]
        flags.append(f"--half-width {100 * plan.half_width:g}%")
    if math.isfinite(plan.budget_seconds):
        flags.append(f"--budget {math.ceil((plan.budget_seconds + seconds) / 60)}m")
    return " ".join(flags) or "the same command again, on a quieter machine"
