"""A pair of a paired comparison: a process of each side, measured alternately.

Both processes are loaded and warmed up, in random order, then measured in blocks of ABBA or BAAB.
The idle side is stopped, because idle threads would spin on the timed side's cores. Both processes
are pinned to the same cores, so a busy core slows both sides equally.
"""

from __future__ import annotations

import contextlib
import math
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from evenbench.harness.comparison import interference
from evenbench.harness.comparison.side_process import SideFailed, SideProcess
from evenbench.harness.comparison.verdicts import (
    ARTIFACT,
    COLD_START,
    ERROR,
    LATENCY,
    MEMORY,
    Pairing,
)
from evenbench.harness.core.plans import Plan
from evenbench.harness.environment import cpu, system_info
from evenbench.harness.statistics.estimates import median

SAMPLE_NS = 10_000_000
"""The shortest sample, long against reading the clock and stopping processes."""

LEAST_ERROR = 0.01
"""The least parity error, as a share of the tolerance; smaller errors count as this value."""


def take_pair(
    pairing: Pairing, words: Sequence[str], plan: Plan, shuffle: random.Random
) -> dict[str, Any]:
    """Measure a process of each side; returns the pair's record, with ln(head / base) per metric.

    `times_ns` holds the mean lap of each sample, for base and head. The first pair of a cell sets
    `pairing.number`. Raises SideFailed if a side fails.
    """
    begin = time.monotonic()
    with contextlib.ExitStack() as stack:
        sides = _start(pairing, words, plan, shuffle, stack)
        first = next(iter(sides))
        threads = max(int(prepared["threads"]) for prepared in pairing.prepared)
        cores = cpu.random_cores(threads, shuffle)  # new for each pair
        for process in sides.values():
            process.keep_to(cores)
        if not pairing.number:
            pairing.number = max(_calibrate(process) for process in sides.values())
        samples: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])
        for _ in range(pairing.blocks):
            ahead = shuffle.randrange(2)
            for index in (ahead, 1 - ahead, 1 - ahead, ahead):
                samples[index].append(_sample(sides[index], pairing.number))
        ends = [_ask(sides[index], {"do": "finish"})["value"] for index in (0, 1)]
    pressure = system_info.load()["cpu_pressure_percent"]
    times = [_times(pairing, index, samples[index]) for index in (0, 1)]
    latency = median([math.log(head / base) for base, head in zip(*times, strict=True)])
    values = _values(ends, pairing.prepared)
    return {
        "first": pairing.sides[first].name,
        "number": pairing.number,
        "cores": cores,
        "seconds": time.monotonic() - begin,
        "times_ns": times,
        "cpu_ns": [[sample["cpu_ns"] for sample in side] for side in samples],
        "preemptions": [[sample["preemptions"] for sample in side] for side in samples],
        "health": interference.facts([*samples[0], *samples[1]], pressure),
        "ends": ends,
        "values": values,
        "log_ratios": {
            LATENCY: latency,
            **{metric: math.log(head / base) for metric, (base, head) in values.items()},
        },
    }


def _start(
    pairing: Pairing,
    words: Sequence[str],
    plan: Plan,
    shuffle: random.Random,
    stack: contextlib.ExitStack,
) -> dict[int, SideProcess]:
    """A resident process of each side, loaded, warm and stopped, in the order of starting."""
    sides: dict[int, SideProcess] = {}
    for index in shuffle.sample((0, 1), 2):
        side, prepared = pairing.sides[index], pairing.prepared[index]
        spec = side.spec(words, pairing.declared, plan)
        spec = replace(spec, task="measure", folders=prepared["folders"])
        sides[index] = stack.enter_context(SideProcess(side, spec, prepared))
        sides[index].ask()  # the reply comes when the cell is loaded and warm
        sides[index].stop()
    return sides


def _times(pairing: Pairing, index: int, samples: Sequence[Mapping[str, Any]]) -> list[float]:
    """Nanoseconds per lap of each sample. Raises SideFailed if a sample took no time or less."""
    times = [sum(sample["laps_ns"]) / pairing.number for sample in samples]
    if min(times) <= 0:
        raise SideFailed(
            f"{pairing.sides[index].name}: {pairing.cell}: a lap took {min(times):g} ns: the "
            "clock stood still or went backwards, so no time measured here is valid; see "
            "`evenbench doctor`, and measure on another machine"
        )
    return times


def _values(
    ends: Sequence[Mapping[str, Any]], prepared: Sequence[Mapping[str, Any]]
) -> dict[str, list[float]]:
    """Base and head of the metrics with a single number per process."""
    values = {
        MEMORY: [end["peak_rss_bytes"] for end in ends],
        COLD_START: [end["cold_start_seconds"] for end in ends],
        ARTIFACT: [side["artifact_bytes"] for side in prepared],
    }
    if all(end["parity"] for end in ends):
        values[ERROR] = [max(end["parity"]["needed"], LEAST_ERROR) for end in ends]
    return {metric: [base, head] for metric, (base, head) in values.items() if base and head}


def _ask(process: SideProcess, message: Mapping[str, Any]) -> Mapping[str, Any]:
    """Continue a stopped process for a command."""
    process.go()
    try:
        return process.ask(message)
    finally:
        process.stop()


def _sample(process: SideProcess, number: int) -> dict[str, Any]:
    return dict(_ask(process, {"do": "sample", "number": number}))


def _calibrate(process: SideProcess) -> int:
    """The number of laps for `SAMPLE_NS`, found by doubling."""
    number = 1
    while number < 1 << 20:
        if sum(_sample(process, number)["laps_ns"]) >= SAMPLE_NS:
            return number
        number *= 2
    return number
