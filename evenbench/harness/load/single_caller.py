"""Call patterns of a single caller: back to back, or after idle gaps."""

from __future__ import annotations

import random

from evenbench.harness.core.session import Laps
from evenbench.harness.core.types import HOST_TO_HOST
from evenbench.harness.load.context import LoadContext, Points
from evenbench.harness.load.laps import ThinnedLaps
from evenbench.harness.measurement import timing

SETTLING = 3
"""Calls back to back before each measured call, to remove the effect of the previous gap."""


def back_to_back(context: LoadContext) -> Points:
    """Make call after call, without pauses.

    A stall is a single long lap, because no other caller waits.
    """
    laps, kept = ThinnedLaps(context.scenario.seed), {}
    begin = context.now()
    count = max(context.rotation, 10)
    while not laps.calls or context.now() - begin < context.limit_ns:
        first = laps.calls
        keep = set(range(first, first + context.rotation))
        taken = timing.run_laps(
            context.session, context.batches, first, count, HOST_TO_HOST, keep, context.now
        )
        for lap in taken.laps_ns:
            laps.add(lap)
        kept.update({lap % context.rotation: outputs for lap, outputs in taken.kept.items()})
    context.judged["one after another"] = kept
    return [
        {
            "batch": context.cell.batch,
            "calls": laps.calls,
            "laps_ns": laps.laps_ns,
            "wall_ns": laps.total_ns,
        }
    ]


def idle_gaps(context: LoadContext) -> Points:
    """Make one call after each gap, with a new order of gaps in every round.

    Before each gap come `SETTLING` calls back to back. So every lap has the same past except for
    the gap, and drift of the machine affects all gaps alike.
    """
    gaps = context.scenario.gaps_ms
    laps: dict[float, list[int]] = {gap: [] for gap in gaps}
    waited: dict[float, list[int]] = {gap: [] for gap in gaps}
    shuffle, calls, kept = random.Random(context.scenario.seed), 0, {}
    for _ in range(max(context.scenario.rounds, -(-context.rotation // len(gaps)))):
        order = list(gaps)
        shuffle.shuffle(order)
        for gap in order:
            _calls(context, calls, SETTLING, keep=False)
            begin = context.now()
            if gap:
                context.sleep(gap / 1e3)
            waited[gap].append(context.now() - begin)
            taken = _calls(context, calls, 1, keep=True)
            laps[gap] += taken.laps_ns
            kept[calls % context.rotation] = taken.kept[calls]
            calls += 1
    context.judged["after gaps"] = kept
    return [{"gap_ms": gap, "laps_ns": laps[gap], "waited_ns": waited[gap]} for gap in gaps]


def _calls(context: LoadContext, first: int, count: int, *, keep: bool) -> Laps:
    kept = {first} if keep else set()
    return timing.run_laps(
        context.session, context.batches, first, count, HOST_TO_HOST, kept, context.now
    )
