"""Outcomes of cells for pytest and pytest-benchmark."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pytest

from evenbench.harness.core import registry
from evenbench.harness.core.types import COMPUTE
from evenbench.harness.results.interleaving import sweeps_of
from evenbench.harness.results.records import Record
from evenbench.harness.statistics import ratios
from evenbench.harness.statistics.estimates import median, process_values

SKIPPED = ("unsupported", "unavailable")
"""Outcomes without a verdict on this machine, reported as skips."""

TRACEBACK_LINES = 15


class Replay:
    """A timer for pytest-benchmark with recorded laps.

    Reading 2n is zero and reading 2n + 1 is lap n in seconds, so each pair differs by exactly a
    lap.
    """

    def __init__(self) -> None:
        self.readings: Iterator[float] = iter(())

    def play(self, laps_ns: Sequence[int]) -> None:
        """Read out these laps from now on."""
        self.readings = (reading for lap in laps_ns for reading in (0.0, lap / 1e9))

    def __call__(self) -> float:
        return next(self.readings)

    def __repr__(self) -> str:
        return "evenbench.harness.plugin.Replay"


def without_timing(benchmark: Any, verdict: Callable[[], None]) -> None:
    """Run a verdict through the fixture `benchmark`, if any, without timing.

    pytest-benchmark warns about an unused fixture.
    """
    if benchmark is None:
        verdict()
    else:
        benchmark.disabled = True
        benchmark.pedantic(verdict)


def judge(record: Record) -> None:
    """Skip an unsupported or unavailable cell, and fail a cell with another outcome than `ok`."""
    reason = record["reason"]
    if record["outcome"] in SKIPPED:
        hint = record["hint"]
        pytest.skip(
            f"{record['outcome']}: {reason}" + (f"; {hint}" if hint and hint not in reason else "")
        )
    tail = "\n".join(record["traceback"].splitlines()[-TRACEBACK_LINES:])
    parts = [
        f"{record['outcome']} in {record['phase']}: {reason}",
        tail,
        f"reproduce: {record['reproduce']}",
    ]
    pytest.fail("\n".join(part for part in parts if part), pytrace=False)


def process_medians_ns(record: Record) -> dict[str, list[float]]:
    """The median lap of each process in nanoseconds, by boundary."""
    return {
        boundary: process_values(processes) for boundary, processes in record["samples_ns"].items()
    }


def properties(record: Record) -> list[tuple[str, object]]:
    """Properties of an outcome for junit. Latencies are medians over processes' median laps."""
    medians = process_medians_ns(record)
    latencies = [
        (f"{boundary}_median_seconds", median(values) / 1e9)
        for boundary, values in medians.items()
        if values
    ]
    return [("outcome", record["outcome"]), ("reason", record["reason"]), *latencies]


def over_baseline(record: Record, peers: Iterable[Record]) -> dict[str, Any] | None:
    """The speed-up over the group's baseline within rounds, with the 95 % interval.

    None without a correct baseline in `peers`, without an interval, and for the baseline itself.
    """
    cell = record["cell"]
    eager = [
        peer
        for peer in peers
        if registry.row(peer["cell"]["backend"]).baseline
        and peer["cell"]["group"] == cell["group"]
        and peer["outcome"] == "ok"
    ]
    base = min(eager, key=lambda peer: len(peer["cell"]["options"]), default=None)
    if base is None or base["cell"]["key"] == cell["key"]:
        return None
    pair = ratios.ratio(sweeps_of(base, COMPUTE), sweeps_of(record, COMPUTE))
    estimate = pair.estimate() if pair else None
    if estimate is None or estimate.low is None:
        return None
    return {
        "baseline": base["cell"]["id"],
        "ratio": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
    }


def extra_info(record: Record, peers: Iterable[Record] = ()) -> dict[str, Any]:
    """The cell with provenance, parity and speed-up, for pytest-benchmark's `extra_info`.

    `peers` has the outcomes of the cell's comparison group.
    """
    parity, attested = record["parity"] or {}, record["attested"]
    return {
        "cell": record["cell"]["id"],
        "key": record["cell"]["key"],
        "outcome": record["outcome"],
        "boundary": COMPUTE,
        "process_medians_ns": process_medians_ns(record),
        "over_baseline": over_baseline(record, peers),
        "parity_needed": parity.get("needed"),
        "parity_allowed": parity.get("allowed"),
        "runtime": attested["runtime"],
        "version": attested["version"],
        "input_sha256": record["input_sha256"],
        "artifact_sha256": record["artifact_sha256"],
        "run": record["run"]["id"],
    }
