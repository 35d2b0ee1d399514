"""Calls of one caller: one after another, or after gaps."""

from __future__ import annotations

import random

from harness.core.types import HOST_TO_HOST
from harness.load.context import Points, Scene
from harness.load.laps import Thinned
from harness.measurement import timing

SETTLING = 3
"""Calls back to back before each measured one, so that what the gap before the last one left behind
is gone.
"""


def in_turn(scene: Scene) -> Points:
    """Call after call by one caller, each as soon as the one before is answered. A stall is one
    long lap: nobody else was waiting.
    """
    laps, kept = Thinned(scene.scenario.seed), {}
    begin = scene.now()
    count = max(scene.rotation, 10)
    while not laps.calls or scene.now() - begin < scene.limit_ns:
        first = laps.calls
        keep = set(range(first, first + scene.rotation))
        taken = timing.run_laps(
            scene.session, scene.batches, first, count, HOST_TO_HOST, keep, scene.now
        )
        for lap in taken.laps_ns:
            laps.add(lap)
        kept.update({lap % scene.rotation: outputs for lap, outputs in taken.kept.items()})
    scene.kept["one after another"] = kept
    return [
        {
            "batch": scene.cell.batch,
            "calls": laps.calls,
            "laps_ns": laps.laps_ns,
            "wall_ns": laps.total_ns,
        }
    ]


def idle_gaps(scene: Scene) -> Points:
    """One call after each gap, the gaps in a new order every round; before each come calls back to
    back, then the gap, and then the lap.

    So that every lap has the same past but for the gap, and drift of the machine meets all gaps
    alike.
    """
    gaps = scene.scenario.gaps_ms
    laps: dict[float, list[int]] = {gap: [] for gap in gaps}
    waited: dict[float, list[int]] = {gap: [] for gap in gaps}
    shuffle, calls, kept = random.Random(scene.scenario.seed), 0, {}
    whole = max(scene.scenario.rounds, -(-scene.rotation // len(gaps)))
    for _ in range(whole):
        order = list(gaps)
        shuffle.shuffle(order)
        for gap in order:
            timing.run_laps(
                scene.session, scene.batches, calls, SETTLING, HOST_TO_HOST, set(), scene.now
            )
            begin = scene.now()
            if gap:
                scene.sleep(gap / 1e3)
            waited[gap].append(scene.now() - begin)
            taken = timing.run_laps(
                scene.session, scene.batches, calls, 1, HOST_TO_HOST, {calls}, scene.now
            )
            laps[gap] += taken.laps_ns
            kept[calls % scene.rotation] = taken.kept[calls]
            calls += 1
    scene.kept["after gaps"] = kept
    return [{"gap_ms": gap, "laps_ns": laps[gap], "waited_ns": waited[gap]} for gap in gaps]
