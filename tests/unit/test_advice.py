"""Warnings are values: each appears when its cause does, with what to do, and a quiet measurement has none."""

from __future__ import annotations

from typing import Any

import pytest

from harness import advice


def block(**seen: int) -> dict[str, int]:
    return {"wall_ns": 100, "cpu_ns": 100, "machine_cpu_ns": 100, "preemptions": 0, "steal_ticks": 0, "major_faults": 0, **seen}


def line(**changed: Any) -> dict[str, Any]:
    """A quiet measurement in three processes of four blocks each."""
    quiet = {
        "outcome": "ok",
        "stability": {"compute": ["stable"] * 3, "host_to_host": ["stable"] * 3},
        "blocks": {"compute": [[block()] * 4] * 3},
        "process_seconds": [1.0, 1.0, 1.0],
        "warm_up": [{"stable": True}] * 3,
    }
    return {**quiet, **changed}


def blocks(*seen: dict[str, int]) -> dict[str, Any]:
    return {"blocks": {"compute": [list(seen)]}}


def test_a_quiet_measurement_has_no_warning() -> None:
    assert advice.about(line()) == []


@pytest.mark.parametrize(
    ("changed", "what", "do"),
    [
        (
            {"stability": {"compute": ["stable", "capped", "capped"]}},
            "compute: time ran out before the minimum of laps in 2 of 3",
            "thorough",
        ),
        ({"stability": {"host_to_host": ["unstable"]}}, "host_to_host: laps never settled in 1 of 1", "evenbench doctor"),
        (blocks(block(machine_cpu_ns=200), block(), block()), "contended: other processes used 0.3 cores", "stop what else runs"),
        (blocks(block(steal_ticks=2), block(steal_ticks=5)), "the hypervisor took 7 clock ticks", "host of its own"),
        (blocks(block(major_faults=4)), "4 page faults went to the disk", "free some memory"),
        ({"process_seconds": [1.0]}, "one process only, so there is no interval", "--plan default"),
        ({"warm_up": [{"stable": False}, {"stable": True}]}, "warm-up did not settle in 1 of 2", "thorough"),
    ],
)
def test_every_cause_has_its_warning(changed: dict[str, Any], what: str, do: str) -> None:
    (warning,) = advice.about(line(**changed))
    assert what in warning.what
    assert do in warning.do
    assert str(warning) == f"{warning.what}; {warning.do}"


@pytest.mark.parametrize(("used_ns", "warned"), [(125, False), (126, True)])
def test_up_to_a_quarter_of_a_core_used_by_others_is_quiet(used_ns: int, warned: bool) -> None:
    assert bool(advice.about(line(**blocks(block(machine_cpu_ns=used_ns))))) is warned


def test_a_cell_without_a_number_is_not_told_to_run_more_processes() -> None:
    empty = {"outcome": "failed", "process_seconds": [], "blocks": {}, "stability": {}, "warm_up": []}
    assert advice.about(line(**empty)) == []


def test_more_threads_than_cores_are_advised_against_and_run() -> None:
    asked = {"cell": {"threads": 8}, "environment": {"cores": 2}}
    (warning,) = advice.about(line(**asked))
    assert str(warning) == "8 threads share 2 usable cores; ask for 2 or fewer, unless that is what you measure"
    assert advice.about(line(cell={"threads": 2}, environment={"cores": 2})) == []
