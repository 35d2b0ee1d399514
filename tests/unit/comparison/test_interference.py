"""What else ran is told of pairs, a slowdown that cost no CPU time is the machine's, and a clock
that stands still is refused.
"""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from evenbench.harness.comparison import exit_status, interference, verdicts
from evenbench.harness.comparison import process_pair as pairs
from evenbench.harness.comparison.side_process import Side, SideFailed
from evenbench.harness.core import exit_codes
from evenbench.harness.core.plans import PLANS
from evenbench.harness.statistics import paired_test

QUIET = {"marked": 0.0, "foreign_cores": 0.0, "steal": 0.0, "pressure_percent": 0.0}


def pair(slower: float, cpu: float, **health: float) -> dict[str, Any]:
    """A pair whose head took so much longer, and so much more CPU time."""
    end = {"asked_is_used": "", "parity": None}
    return {
        "cpu_ns": [[1000.0] * 4, [1000.0 * cpu] * 4],
        "health": {**QUIET, **health},
        "ends": [end, end],
        "log_ratios": {"latency": math.log(slower)},
        "times_ns": [[1000.0] * 4, [1000.0 * slower] * 4],
        "seconds": 1.0,
    }


def judged(*pairs: dict[str, Any]) -> dict[str, Any]:
    side = Side("base"), Side("head")
    (result,) = verdicts.judged(
        [verdicts.Pairing("c", "c", side, ({}, {}), pairs=[*pairs], confirmation=[*pairs])],
        paired_test.Rule(),
    )
    return result


@pytest.mark.parametrize(
    ("cpu", "marked", "verdict"),
    [
        (1.0, 0.6, "inconclusive"),
        (1.1, 0.6, "slower"),
        (1.0, 0.2, "slower"),
    ],
)
def test_a_slowdown_that_cost_no_cpu_time_is_the_machines(
    cpu: float, marked: float, verdict: str
) -> None:
    result = judged(*[pair(1.1, cpu, marked=marked)] * 8)
    assert result["metrics"]["latency"]["verdict"] == verdict
    assert bool(result["contaminated"]) == (verdict == "inconclusive")
    strict = exit_status.ending([result], strict_health=True)
    assert strict.code == (exit_codes.UNHEALTHY if verdict == "inconclusive" else exit_codes.WORSE)
    assert exit_status.ending([result]).code == (
        exit_codes.PASS if verdict == "inconclusive" else exit_codes.WORSE
    )
    if result["contaminated"]:
        assert (
            "contaminated: its CPU time changed by +0.0 % only, and 60 % of the samples"
            in strict.words[0]
        )
        assert "contaminated" in exit_status.verdict_words(
            "latency", result["metrics"]["latency"], result["contaminated"]
        )
        assert exit_status.ending([result], require_conclusive=True).code == exit_codes.UNDECIDED


def test_a_process_whose_cpu_time_is_not_known_is_not_excused() -> None:
    assert interference.contamination([pair(1.1, 0.0, marked=0.9)] * 8, 0.02) == ""


def test_what_ran_beside_the_pairs_is_told_once() -> None:
    result = judged(*[pair(1.0, 1.0, foreign_cores=1.5, steal=0.031, pressure_percent=42.0)] * 8)
    assert result["health"] == [
        "other processes used 1.5 cores",
        "the hypervisor took 3 % of a core",
        "tasks waited for a core in 42 % of the time",
    ]
    (words,) = exit_status.health_words([result, judged(*[pair(1.0, 1.0)] * 8)])
    assert words.startswith("disturbed: 1 of 2, c for one: other processes used 1.5 cores")
    assert exit_status.health_words([judged(*[pair(1.0, 1.0)] * 8)]) == []


def test_a_pair_knows_what_was_seen_around_its_samples() -> None:
    sample = {
        "laps_ns": [50, 50],
        "cpu_ns": 100,
        "preemptions": 0,
        "steal_ns": 10,
        "machine_cpu_ns": 250,
    }
    found = interference.facts([sample, {**sample, "preemptions": 2}], 7.5)
    assert found == {"marked": 0.5, "foreign_cores": 1.5, "steal": 0.1, "pressure_percent": 7.5}
    old = {name: sample[name] for name in ("laps_ns", "cpu_ns", "preemptions")}
    assert interference.facts([sample, old], None) == {
        "marked": 0.0,
        "foreign_cores": None,
        "steal": None,
        "pressure_percent": None,
    }


class BackwardClock:
    """A side process with a clock that runs backwards."""

    laps_ns = [-5]

    def __init__(self, *given: Any) -> None:
        self.closed = self.ended = False

    def close(self) -> None:
        self.closed = True

    def send(self, data: bytes, *, last: bool) -> None:
        self.ended = last

    def stop(self) -> None: ...

    def go(self) -> None: ...

    def keep_to(self, cores: list[int]) -> None: ...

    def ask(self, message: dict[str, Any] | None = None) -> dict[str, Any]:
        sample = {"laps_ns": self.laps_ns, "cpu_ns": 1, "preemptions": 0}
        if message and message["do"] == "sample":
            return sample
        return {"value": {}} if self.ended else {"ready": True}


@pytest.mark.parametrize("laps_ns", [[-5], [0]])
def test_a_clock_that_does_not_run_forward_is_refused_in_words(
    monkeypatch: pytest.MonkeyPatch, laps_ns: list[int]
) -> None:
    monkeypatch.setattr(BackwardClock, "laps_ns", laps_ns)
    monkeypatch.setattr(pairs, "SideProcess", BackwardClock)
    spec = {"folders": {}, "threads": 1}
    measured = verdicts.Pairing(
        "c", "c", (Side("base"), Side("head")), (spec, dict(spec)), number=1
    )
    with pytest.raises(
        SideFailed, match=r"base: c: a lap took -?\d ns: the clock stood still or went backwards"
    ):
        pairs.take_pair(measured, ["benchmarks"], PLANS["quick"], random.Random(0))
