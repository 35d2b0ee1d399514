"""A pair of a paired comparison: a sweep of a cell's two sides, a process of each.

`GroupSweep` starts the processes, stops the idle side, and orders the turns; two members take
turns as ABBA or BAAB. Here are a turn of a pair, a sample, and the record of a pair.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from evenbench.harness.comparison import interference
from evenbench.harness.comparison.side_process import Side, SideFailed, SideProcess, SideWorker
from evenbench.harness.comparison.verdicts import (
    ARTIFACT,
    COLD_START,
    ERROR,
    LATENCY,
    MEMORY,
    Pairing,
)
from evenbench.harness.core.plans import Plan
from evenbench.harness.environment import system_info
from evenbench.harness.runner.group_sweep import GroupSweep
from evenbench.harness.runner.job import Reply
from evenbench.harness.runner.resident_member import Member, Resident
from evenbench.harness.runner.turn_rules import TurnRule
from evenbench.harness.statistics.estimates import median

SAMPLE_NS = 10_000_000
"""The shortest sample, long against reading the clock and stopping processes."""

MOST_LAPS = 1 << 20
"""The largest number of laps per sample, for a clock that does not advance."""

LEAST_ERROR = 0.01
"""The least parity error, as a share of the tolerance; smaller errors count as this value."""


@dataclass(frozen=True)
class PairSide:
    """A side of a pair, prepared: a candidate of the sweep."""

    name: str
    side: Side
    prepared: Mapping[str, Any]
    peak_bytes = 0
    start_seconds = 0.0

    @property
    def label(self) -> str:
        """The name of the side."""
        return self.side.name

    @property
    def device(self) -> str:
        """The device of the cell."""
        return str(self.prepared.get("described", {}).get("device", "cpu"))

    @property
    def threads(self) -> int:
        """The threads of the cell."""
        return int(self.prepared["threads"])


@dataclass
class PairedSamples(TurnRule):
    """Samples of equally many laps on both sides, in `blocks` of ABBA or BAAB.

    `number` is the laps of a sample; 0 sets the number of the faster side for `SAMPLE_NS`.
    """

    blocks: int
    number: int
    least_members = 2
    _given: bool = field(init=False)

    def __post_init__(self) -> None:
        self.most_rounds = 2 * self.blocks
        self._given = self.number > 0

    def begin(self, member: Member[Any]) -> Reply | None:
        """Double the laps of a sample until the sample is long enough."""
        number, taken_ns = 1, 0
        while not self._given:
            message = member.ask(self._sample(number))
            if isinstance(message, Reply):
                return message
            taken_ns = sum(message["laps_ns"])
            if taken_ns >= SAMPLE_NS or number >= MOST_LAPS:
                self.number = max(self.number, number)
                break
            number *= 2
        return None

    def command(self, number: int) -> Mapping[str, Any]:
        """A sample of `compute`, after an untimed lap."""
        return self._sample(self.number)

    def unfinished(self, members: Sequence[Member[Any]]) -> list[Member[Any]]:
        """Both sides; nobody once a side has failed."""
        return list(members) if len(members) == 2 else []

    def _sample(self, number: int) -> Mapping[str, Any]:
        return {"do": "sample", "number": number}


def take_pair(
    pairing: Pairing, words: Sequence[str], plan: Plan, shuffle: random.Random
) -> dict[str, Any]:
    """Measure a process of each side; returns the pair's record, with ln(head / base) per metric.

    `times_ns` holds the mean lap of each sample, for base and head. The first pair of a cell sets
    `pairing.number`. Raises SideFailed if a side fails.
    """
    begin = time.monotonic()
    first: list[str] = []

    @contextmanager
    def start(part: PairSide) -> Iterator[Resident]:
        first.append(part.label)
        spec = part.side.spec(words, pairing.declared, plan)
        spec = replace(spec, task="measure", folders=part.prepared["folders"])
        with SideWorker(SideProcess(part.side, spec, part.prepared)) as worker:
            yield Resident(worker)

    both = zip(pairing.sides, pairing.prepared, strict=True)
    rule = PairedSamples(pairing.blocks, pairing.number)
    parts = [PairSide(pairing.cell, side, prepared) for side, prepared in both]
    sweep = GroupSweep(pairing.cell, parts, rule, start, shuffle)
    ends = [_value(reply) for _, reply in sweep.run()]
    pairing.number = rule.number
    samples = [list(member.turns.values()) for member in sweep.members]
    pressure = system_info.load()["cpu_pressure_percent"]
    times = [_times(pairing, index, samples[index]) for index in (0, 1)]
    latency = median([math.log(head / base) for base, head in zip(*times, strict=True)])
    values = _values(ends, pairing.prepared)
    return {
        "first": first[0],
        "number": pairing.number,
        "cores": sweep.cores,
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


def _value(reply: Reply) -> Mapping[str, Any]:
    """The final record of a side. Raises SideFailed without a record."""
    if reply.value is None:
        raise SideFailed(f"{reply.reason}\n{reply.traceback}".strip())
    return reply.value


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
