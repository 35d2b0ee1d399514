"""Blocks of a line by sweep and round, for ratios within a round.

The processes of a group take blocks in turn: a round has a block of every member. A sweep is one
set of resident processes. Two cells are compared within the rounds of a common sweep.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evenbench.harness.statistics.estimates import median

Sweeps = dict[str, dict[int, float]]
"""Sweep → round → median lap of the block, in ns."""

ALONE = "process"
"""Prefix of the sweeps of processes that were not measured in turn with others."""


def sweeps_of(line: Mapping[str, Any], boundary: str) -> Sweeps:
    """The blocks of a result line by sweep and round.

    A process that was measured alone, as in all lines before interleaving, is a sweep with a single
    round, numbered in order: the median lap of the process.
    """
    samples = (line.get("samples_ns") or {}).get(boundary) or []
    alone = [None] * len(samples)
    turns = line.get("interleaving") or alone
    blocks = (line.get("blocks") or {}).get(boundary) if turns is not alone else None
    blocks = blocks or [[]] * len(samples)
    sweeps: Sweeps = {}
    for number, (laps, taken, turn) in enumerate(zip(samples, blocks, turns, strict=True)):
        if turn:
            counts = [block["laps"] for block in taken]
            sweeps[turn["sweep"]] = by_round(laps, counts, turn["rounds"])
        elif laps and (time_ns := median(laps)) > 0:
            sweeps[f"{ALONE} {number}"] = {0: time_ns}
    return sweeps


def by_round(
    laps: Sequence[float], counts: Sequence[int], rounds: Sequence[int]
) -> dict[int, float]:
    """The median lap of each block, by round; blocks without a positive time are left out.

    `counts` has the number of laps of each block, `rounds` the round of each block.
    """
    times: dict[int, float] = {}
    start = 0
    for count, number in zip(counts, rounds, strict=True):
        time_ns = median(laps[start : start + count])
        start += count
        if time_ns > 0:
            times[number] = time_ns
    return times
