"""Outcomes of cells for pytest and pytest-benchmark."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from harness.core.types import COMPUTE
from harness.results.records import Record
from harness.statistics.estimates import median, process_values

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
        return "harness.plugin.Replay"


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


def extra_info(record: Record) -> dict[str, Any]:
    """The cell with provenance and parity, for pytest-benchmark's `extra_info`."""
    parity, attested = record["parity"] or {}, record["attested"]
    return {
        "cell": record["cell"]["id"],
        "key": record["cell"]["key"],
        "outcome": record["outcome"],
        "boundary": COMPUTE,
        "process_medians_ns": process_medians_ns(record),
        "parity_needed": parity.get("needed"),
        "parity_allowed": parity.get("allowed"),
        "runtime": attested["runtime"],
        "version": attested["version"],
        "input_sha256": record["input_sha256"],
        "artifact_sha256": record["artifact_sha256"],
        "run": record["run"]["id"],
    }
