"""A paired session: the order of a pair's samples, the number of pairs, and failing cells."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import random
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from evenbench.harness.comparison import ci_reports, exit_status
from evenbench.harness.comparison import process_pair as pairs
from evenbench.harness.comparison import session as paired
from evenbench.harness.comparison.side_process import Side, SideFailed
from evenbench.harness.comparison.side_worker import Change, Spec
from evenbench.harness.comparison.sides import NothingToCompare
from evenbench.harness.comparison.verdicts import BLOCKS, Pairing, judged
from evenbench.harness.core import exit_codes
from evenbench.harness.environment import measurement_lock
from evenbench.harness.statistics import paired_test

PREPARED = {"threads": 1}


def session(failures: Mapping[tuple[str, str], str], cells: int = 5) -> paired.PairedSession:
    """Cells `c0` to `c4`; `failures` maps (side, cell) to a refusal or an error."""
    compared = paired.PairedSession(
        Side("base"), Side("head"), [], {f"c{number}": f"c{number}" for number in range(cells)}
    )

    def prepare(side: Side, cell: str) -> Mapping[str, Any]:
        words = failures.get((side.name, cell))
        if words is None:
            return PREPARED
        raise SideFailed(f"{side.name}: {cell} {words}", words if words.startswith("un") else "")

    compared.prepare = prepare  # type: ignore[method-assign]
    return compared


def both(cell: str, words: str) -> dict[tuple[str, str], str]:
    return {("base", cell): words, ("head", cell): words}


def test_cells_that_neither_side_can_run_are_left_out_and_reported() -> None:
    compared = session(
        {**both("c0", "unavailable: tvm is not installed"), **both("c3", "unsupported: no int8")}
    )
    compared.prepare_all()
    assert {pairing.cell for pairing in compared.pairings} == {"c1", "c2", "c4"}
    assert not any(pairing.failure for pairing in compared.pairings)
    assert (
        compared.exclusions()
        == "neither side can run here: c0, c3 (unavailable: tvm is not installed)"
    )
    assert session({}).exclusions() == ""


@pytest.mark.parametrize(
    ("failures", "words"),
    [
        ({("head", "c0"): "unsupported: no int8"}, "head: c0 unsupported: no int8"),
        ({("base", "c0"): "unsupported: no int8"}, "so head has nothing to be compared with"),
        (both("c0", "failed: crashed"), "so head has nothing to be compared with"),
        (
            {("base", "c0"): "unsupported: no int8", ("head", "c0"): "failed: crashed"},
            "so head has nothing to be compared with",
        ),
    ],
)
def test_a_cell_that_only_one_side_can_run_is_a_failure(
    failures: dict[tuple[str, str], str], words: str
) -> None:
    compared = session(failures)
    compared.prepare_all()
    (failed,) = [pairing for pairing in compared.pairings if pairing.failure]
    assert failed.cell == "c0"
    assert words in failed.failure
    assert compared.left_out == {}


def test_without_a_runnable_cell_there_is_no_comparison() -> None:
    with pytest.raises(
        NothingToCompare,
        match=r"c0, c1, c2, c3, c4 and 2 more \(unavailable: no GPU\); nothing is left",
    ):
        session(
            {
                key: words
                for number in range(7)
                for key, words in both(f"c{number}", "unavailable: no GPU").items()
            },
            7,
        ).prepare_all()


@pytest.mark.parametrize(("cells", "wanted"), [(2, 2), (5, 3), (40, 4)])
def test_three_cells_or_a_tenth_have_controls_after_earlier_failures(
    cells: int, wanted: int
) -> None:
    compared = session({("head", "c0"): "failed: crashed"} if cells > 2 else {}, cells)
    compared.prepare_all()
    controls = [pairing for pairing in compared.pairings if pairing.control]
    assert len(controls) == wanted
    assert all(pairing.sides == (compared.base, compared.base) for pairing in controls)


def end(reason: str = "") -> dict[str, Any]:
    return {
        "asked_is_used": "",
        "parity": {"verdict": "fail" if reason else "pass", "reason": reason},
    }


def pair(*ends: dict[str, Any], ratio: float = 0.0) -> dict[str, Any]:
    """A pair of processes with this log ratio of latency."""
    health = {"marked": 0.0, "foreign_cores": 0.0, "steal": 0.0, "pressure_percent": 0.0}
    return {
        "ends": ends,
        "log_ratios": {"latency": ratio},
        "times_ns": [[1e6] * 4, [1e6 * math.exp(ratio)] * 4],
        "seconds": 1.0,
        "health": health,
        "cpu_ns": [[1.0], [1.0]],
    }


def test_wrong_outputs_of_a_single_process_make_the_cell_wrong() -> None:
    """A race makes outputs wrong now and then; the last process alone would hide the fault."""
    good, bad = pair(end(), end()), pair(end(), end("logits are off"))
    sides = Side("base"), Side("head")
    (result,) = judged(
        [Pairing("c", "c", sides, ({}, {}), pairs=[bad, *[good] * 7])], paired_test.Rule()
    )
    assert result["wrong"] == ["", "logits are off (in 1 of 8 processes)"]
    assert exit_status.ending([result]).code == exit_codes.WORSE
    (result,) = judged([Pairing("c", "c", sides, ({}, {}), pairs=[bad] * 8)], paired_test.Rule())
    assert result["wrong"] == ["", "logits are off"]


def test_a_stalled_process_is_left_out_and_named() -> None:
    sides = Side("base"), Side("head")
    steady_pairs = [pair(end(), end(), ratio=0.001 * number) for number in range(-4, 5)]
    stalled = [*steady_pairs, pair(end(), end(), ratio=1.5)]
    (result,) = judged([Pairing("c", "c", sides, ({}, {}), pairs=stalled)], paired_test.Rule())
    latency = result["metrics"]["latency"]
    assert (latency["verdict"], latency["screen"]["pairs"]) == ("equivalent", 9)
    assert result["health"] == ["left out 1 of 10 pairs: a process stalled (1 of head)"]


def test_an_unmeasurable_control_is_reported_and_invalidates_the_comparison() -> None:
    pairing = Pairing(
        "c",
        "c",
        (Side("base"), Side("base")),
        ({}, {}),
        control=True,
        failure="base: c crashed\nlog",
    )
    (result,) = judged([pairing], paired_test.Rule())
    end_ = exit_status.ending([result])
    assert (end_.code, end_.words[1]) == (exit_codes.UNHEALTHY, "c (control): base: c crashed\nlog")
    comparison = {"base": "a", "head": "b", "seed": 0, "exit": 7, "notes": [], "cells": [result]}
    assert [finding.words for finding in ci_reports.findings(comparison)] == [
        "could not be measured: base: c crashed"
    ]


class ScriptedProcess:
    """A side process that logs calls and fails if another process runs during a sample."""

    ended = False

    def __init__(
        self, log: list[tuple[str, str]], name: str, others: list[ScriptedProcess]
    ) -> None:
        self.log, self.name, self.running, self.others = log, name, True, others
        self.log.append(("built", name))
        assert not any(other.running for other in others), "what was built before is stopped"
        others.append(self)

    def close(self) -> None:
        self.log.append(("closed", self.name))

    def send(self, data: bytes, *, last: bool) -> None:
        self.ended = last

    def go(self) -> None:
        self.running = True

    def stop(self) -> None:
        self.running = False

    def keep_to(self, cores: list[int]) -> None: ...

    def ask(self, message: dict[str, Any] | None = None) -> dict[str, Any]:
        assert self.running
        assert not any(other.running for other in self.others if other is not self), (
            "never two at a time"
        )
        if message and message["do"] == "sample":
            self.log.append(("sample", self.name))
            return {
                "laps_ns": [pairs.SAMPLE_NS] * message["number"],
                "cpu_ns": 1,
                "preemptions": 0,
            }
        end = {"peak_rss_bytes": 1, "cold_start_seconds": 1.0, "parity": None}
        return {"value": end} if self.ended else {"ready": True}


def test_a_pair_is_measured_in_complemented_blocks_with_the_idle_side_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = {"folders": {}, "threads": 1, "artifact_bytes": 5}
    built, blocks = set(), set()
    for seed in range(20):
        log: list[tuple[str, str]] = []
        others: list[ScriptedProcess] = []
        monkeypatch.setattr(
            pairs,
            "SideProcess",
            lambda side, *_, log=log, others=others: ScriptedProcess(log, side.name, others),
        )
        pairing = Pairing("c", "c", (Side("base"), Side("head")), (spec, spec), number=1)
        compared = pairs.take_pair(pairing, [], paired.PLANS["quick"], random.Random(seed))
        samples = "".join(name[0] for what, name in log if what == "sample")
        assert len(samples) == 4 * BLOCKS
        blocks |= {samples[start : start + 4] for start in range(0, len(samples), 4)}
        built.add(log[0][1])
        assert compared["first"] == log[0][1]
        assert sorted(log[-2:]) == [("closed", "base"), ("closed", "head")]
        assert [len(side) for side in compared["times_ns"]] == [2 * BLOCKS] * 2
    assert blocks == {"bhhb", "hbbh"}
    assert built == {"base", "head"}


def swept(
    monkeypatch: pytest.MonkeyPatch,
    ratios: Mapping[str, Callable[[random.Random], float]],
    **more: Any,
) -> tuple[Any, list[str]]:
    """Run a session with the given log ratios by cell.

    Returns the results and the order of the pairs, controls marked with `*`.
    """
    order: list[str] = []
    noise = random.Random(1)

    def take(pairing: Pairing, words: object, plan: object, lot: object) -> dict[str, Any]:
        order.append(pairing.cell + "*" * pairing.control)
        ratio = noise.gauss(0, 0.002) if pairing.control else ratios[pairing.cell](noise)
        return pair(end(), end(), ratio=ratio)

    monkeypatch.setattr(paired, "take_pair", take)
    monkeypatch.setattr(measurement_lock, "alone", contextlib.nullcontext)
    compared = session({}, 0)
    compared.cells = {name: name for name in ratios}
    for name, value in more.items():
        setattr(compared, name, value)
    return {(result["cell"], result["control"]): result for result in compared.run()}, order


def steady(by: float) -> Callable[[random.Random], float]:
    return lambda noise: by + noise.gauss(0, 0.002)


def test_pairs_are_spread_over_the_session_and_flagged_cells_are_measured_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cells = {"same": steady(0.0), "slow": steady(0.1), "wild": lambda noise: noise.gauss(0, 0.3)}
    results, order = swept(monkeypatch, cells)
    sweeps = [order[start : start + 6] for start in range(0, 48, 6)]
    assert all(
        sorted(sweep) == ["same", "same*", "slow", "slow*", "wild", "wild*"] for sweep in sweeps
    ), "all cells once, then again"
    assert len({tuple(sweep) for sweep in sweeps}) > 1, "in a new order each time"
    assert {
        cell: len(result["pairs"]) for (cell, control), result in results.items() if not control
    } == {"same": 8, "slow": 8, "wild": 30}
    assert {
        key: len(result["confirmation"])
        for key, result in results.items()
        if result["confirmation"]
    } == {("slow", False): 8}
    assert order[-8:] == ["slow"] * 8, "confirmed after everything else"
    slow = results["slow", False]
    assert slow["metrics"]["latency"]["verdict"] == "slower"
    assert not {id(pair) for pair in slow["pairs"]} & {id(pair) for pair in slow["confirmation"]}, (
        "by pairs of its own alone"
    )
    assert results["same", False]["metrics"]["latency"]["verdict"] == "equivalent"
    assert results["wild", False]["metrics"]["latency"]["verdict"] == "inconclusive"


@pytest.mark.parametrize("again", [0.0, -0.1])
def test_a_slowdown_without_confirmation_is_no_alarm(
    again: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = itertools.count()
    results, _ = swept(
        monkeypatch,
        {"c": lambda noise: (0.1 if next(taken) < 8 else again) + noise.gauss(0, 0.002)},
    )
    latency = results["c", False]["metrics"]["latency"]
    assert (latency["screen"]["verdict"], latency["verdict"]) == ("slower", "inconclusive")
    assert (
        exit_status.verdict_words("latency", latency)
        == "inconclusive: slower at first, not confirmed by processes of its own"
    )
    assert exit_status.ending([*results.values()]).code == exit_codes.PASS


def test_at_the_end_of_the_time_cells_keep_the_measured_pairs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = itertools.count(step=10.0)
    monkeypatch.setattr(paired, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr(paired.PairedSession, "_allot", lambda self: None)
    _, short = swept(monkeypatch, {"c": lambda noise: noise.gauss(0, 0.3)}, seconds=1.0)
    assert [short.count("c"), short.count("c*")] == [8, 8], (
        "a verdict needs eight, whatever they take"
    )
    _, longer = swept(monkeypatch, {"c": lambda noise: noise.gauss(0, 0.3)}, seconds=640.0)
    assert 8 < longer.count("c") < 30


def test_a_quarter_of_the_time_is_reserved_for_confirmation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = itertools.count(step=10.0)
    monkeypatch.setattr(paired, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr(paired.PairedSession, "_allot", lambda self: None)
    results, _ = swept(monkeypatch, {"c": lambda noise: noise.gauss(1.0, 0.2)}, seconds=1000.0)
    result = results["c", False]
    assert len(result["pairs"]) <= 0.75 * 1000 / 20, (
        "the clock moves by 10 each time it is read, and that is twice per pair"
    )
    assert len(result["confirmation"]) == pytest.approx(0.25 * 1000 / 20, abs=1)
    assert result["metrics"]["latency"]["verdict"] == "slower"


def test_a_failed_cell_is_not_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(noise: random.Random) -> float:
        raise SideFailed("head: c was ended by SIGSEGV")

    results, order = swept(monkeypatch, {"c": fails, "d": steady(0.0)})
    assert order.count("c") == 1
    assert results["c", False]["failure"] == "head: c was ended by SIGSEGV"
    assert results["d", False]["metrics"]["latency"]["verdict"] == "equivalent"
    assert exit_status.ending([*results.values()]).code == exit_codes.WORSE


def test_a_side_of_an_earlier_commit_ignores_unknown_fields() -> None:
    """The parent may be of a later commit, with further settings in the plan."""
    spec = Side("base", Change("ort", (("spinning", "off"),))).spec(
        ["benchmarks"], "c", paired.PLANS["quick"]
    )
    later = json.loads(spec.written())
    later["plan"]["patience"] = 3
    assert Spec.read(json.dumps({**later, "mood": "good"}).encode()) == spec
