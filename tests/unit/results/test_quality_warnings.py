"""Warnings are values: each appears when its cause does, with what to do, and a quiet measurement
has none.
"""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from evenbench.harness.results import quality_warnings


def block(**seen: int) -> dict[str, int]:
    return {
        "wall_ns": 100,
        "cpu_ns": 100,
        "machine_cpu_ns": 100,
        "preemptions": 0,
        "steal_ticks": 0,
        "major_faults": 0,
        **seen,
    }


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
    assert quality_warnings.about(line()) == []


@pytest.mark.parametrize(
    ("changed", "what", "do"),
    [
        (
            {"stability": {"compute": ["stable", "capped", "capped"]}},
            "compute: time ran out before the minimum of laps in 2 of 3",
            "thorough",
        ),
        (
            {"stability": {"host_to_host": ["unstable"]}},
            "host_to_host: laps never settled in 1 of 1",
            "evenbench doctor",
        ),
        (
            blocks(block(machine_cpu_ns=200), block(), block()),
            "contended: other processes used 0.3 cores",
            "stop other work",
        ),
        (
            blocks(block(steal_ticks=2), block(steal_ticks=5)),
            "the hypervisor took 7 clock ticks",
            "dedicated host",
        ),
        (blocks(block(major_faults=4)), "4 page faults went to the disk", "free some memory"),
        ({"process_seconds": [1.0]}, "one process only, so there is no interval", "--plan default"),
        (
            {"warm_up": [{"stable": False}, {"stable": True}]},
            "warm-up did not settle in 1 of 2",
            "thorough",
        ),
    ],
)
def test_every_cause_has_its_warning(changed: dict[str, Any], what: str, do: str) -> None:
    (warning,) = quality_warnings.about(line(**changed))
    assert what in warning.what
    assert do in warning.do
    assert str(warning) == f"{warning.what}; {warning.do}"


@pytest.mark.parametrize(("used_ns", "warned"), [(125, False), (126, True)])
def test_up_to_a_quarter_of_a_core_used_by_others_is_quiet(used_ns: int, warned: bool) -> None:
    assert bool(quality_warnings.about(line(**blocks(block(machine_cpu_ns=used_ns))))) is warned


def test_a_cell_without_a_number_is_not_told_to_run_more_processes() -> None:
    empty = {
        "outcome": "failed",
        "process_seconds": [],
        "blocks": {},
        "stability": {},
        "warm_up": [],
    }
    assert quality_warnings.about(line(**empty)) == []


def test_more_threads_than_cores_are_advised_against_and_run() -> None:
    asked = {"cell": {"threads": 8}, "environment": {"cores": 2}}
    (warning,) = quality_warnings.about(line(**asked))
    assert str(warning) == (
        "8 threads share 2 usable cores; use 2 or fewer, unless oversubscription is what you "
        "measure"
    )
    assert quality_warnings.about(line(cell={"threads": 2}, environment={"cores": 2})) == []


# -- what was tried already is not advised again ---------------------------------------------------


def with_plan(plan: str, **changed: Any) -> dict[str, Any]:
    return line(**{"run": {"plan": plan}, **changed})


@pytest.mark.parametrize(
    "changed",
    [{"stability": {"compute": ["capped"]}}, {"warm_up": [{"stable": False}]}],
    ids=["too few laps", "cold"],
)
def test_the_largest_plan_is_not_advised_to_those_who_used_it(changed: dict[str, Any]) -> None:
    (small,), (large,) = (
        quality_warnings.about(with_plan(plan, **changed)) for plan in ("default", "thorough")
    )
    assert "--plan thorough" in small.do
    assert "--plan" not in large.do
    assert large.do


@pytest.mark.parametrize(
    ("machine", "do", "never"),
    [
        ({"governor": "powersave"}, "frequency-set -g performance", "doctor"),
        ({"governor": "performance", "turbo_off": "0"}, "no_turbo", "governor"),
        ({"governor": "performance", "turbo_off": "1"}, "evenbench doctor", "governor"),
        ({"governor": ""}, "evenbench doctor", "governor"),
    ],
)
def test_clocks_that_are_pinned_already_are_not_advised_to_be(
    machine: dict[str, str], do: str, never: str
) -> None:
    (warning,) = quality_warnings.about(
        line(stability={"compute": ["unstable"]}, environment=machine)
    )
    assert do in warning.do
    assert never not in warning.do


def test_an_unsteady_gpu_is_advised_about_its_own_clocks() -> None:
    (warning,) = quality_warnings.about(
        line(
            stability={"compute": ["unstable"]},
            cell={"device": "cuda:0"},
            environment={"governor": "powersave"},
        )
    )
    assert "nvidia-smi -lgc" in warning.do


@pytest.mark.parametrize(("ticks", "warned"), [(1, False), (2, False), (3, True)])
def test_little_steal_is_quiet(ticks: int, warned: bool) -> None:
    second = {"wall_ns": 10**9, "cpu_ns": 10**9, "machine_cpu_ns": 10**9}
    assert (
        bool(quality_warnings.about(line(**blocks(block(steal_ticks=ticks, **second))))) is warned
    )


@pytest.mark.parametrize(("ticks_per_second", "warned"), [(250, False), (100, True)])
def test_steal_is_counted_in_the_recorded_ticks(ticks_per_second: int, warned: bool) -> None:
    second = {"wall_ns": 10**9, "cpu_ns": 10**9, "machine_cpu_ns": 10**9}
    changed = blocks(block(steal_ticks=4, **second))
    changed["environment"] = {"clock_ticks_per_second": ticks_per_second}
    assert bool(quality_warnings.about(line(**changed))) is warned


def test_pressure_is_told_where_nothing_else_explains_it() -> None:
    (warning,) = quality_warnings.about(line(environment={"cpu_pressure_percent": 23.4}))
    assert warning.what == "tasks waited for a core in 23 % of the last 10 s"
    assert quality_warnings.about(line(environment={"cpu_pressure_percent": 10.0})) == []
    (only,) = quality_warnings.about(
        line(environment={"cpu_pressure_percent": 23.4}, **blocks(block(machine_cpu_ns=200)))
    )
    assert "contended" in only.what


# -- of a run --------------------------------------------------------------------------------------


def timed(name: str, *processes: list[float], **changed: Any) -> dict[str, Any]:
    laps = {"compute": [[round(lap) for lap in process] for process in processes]}
    return line(**{"cell": {"id": name}, "samples_ns": laps, "run": {"plan": "default"}, **changed})


def around(level: float, count: int = 24, seed: float = 0) -> list[float]:
    draw = random.Random(f"{seed}{level}")
    return [level * math.exp(draw.gauss(0, 0.01)) for _ in range(count)]


def test_a_quiet_run_has_no_warning() -> None:
    assert quality_warnings.about_run([]) == []
    cells = [
        timed(f"c{number}", *(around(1e6 * (1 + number), seed=sweep) for sweep in range(3)))
        for number in range(5)
    ]
    assert quality_warnings.about_run(cells) == []


@pytest.mark.parametrize(("factor", "words"), [(1.1, "10% slower"), (1 / 1.1, "9% faster")])
def test_drift_of_all_cells_is_told_once(factor: float, words: str) -> None:
    cells = [
        timed(
            f"c{n}",
            *(around(1e6 * (1 + n) * factor ** (sweep / 2), seed=sweep) for sweep in range(3)),
        )
        for n in range(5)
    ]
    (warning,) = quality_warnings.about_run(cells)
    assert f"from the first of 3 sweeps to the last the cells became {words}" in warning.what
    assert "levels do not" in warning.do


def test_laps_that_switch_are_told_from_processes_that_differ() -> None:
    switching = [*around(1e6, 20), *around(1.3e6, 20)]
    (within,) = quality_warnings.about_run([timed("a", switching, switching)])
    assert "compute laps lie at two levels in 1 cell (a)" in within.what
    halves = [around(level, seed=seed) for seed in (0, 1) for level in (1e6, 1.3e6)]
    (between,) = quality_warnings.about_run([timed("b", *halves)])
    assert "processes lie at two levels in 1 cell (b)" in between.what
    assert between.do == "use --half-width 3%: up to 12 processes"
    (large,) = quality_warnings.about_run([timed("b", *halves, run={"plan": "thorough"})])
    assert "--plan" not in large.do


def test_single_cells_are_counted_and_some_are_named() -> None:
    busy = blocks(block(machine_cpu_ns=200))
    cells = [timed(f"c{number}", around(1e6), **busy) for number in range(5)] + [
        timed("quiet", around(1e6))
    ]
    (warning,) = quality_warnings.about_run(cells)
    assert warning.what == "contended: 5 cells (c0, c1, c2, ...) of 6"
    assert "stop other work" in warning.do


def test_a_governor_that_changes_clocks_is_told_once_and_a_pinned_one_is_not() -> None:
    (warning,) = quality_warnings.about_run(
        [timed(name, around(1e6), environment={"governor": "powersave"}) for name in "abc"]
    )
    assert warning.what.startswith("clocks: the governor is powersave")
    assert (
        quality_warnings.about_run(
            [timed("a", around(1e6), environment={"governor": "performance"})]
        )
        == []
    )


def test_only_correct_runtimes_are_looked_at() -> None:
    busy = blocks(block(machine_cpu_ns=200))
    assert (
        quality_warnings.about_run(
            [
                timed("a", around(1e6), outcome="mismatch", **busy),
                timed("b", around(1e6), role="control", **busy),
            ]
        )
        == []
    )


def test_laps_that_get_faster_throughout_are_told() -> None:
    laps_ns = [int(1e6 * (2 - number / 40)) for number in range(40)]
    falling = {
        "samples_ns": {"compute": [laps_ns, [10**6] * 40]},
        "blocks": {"compute": [[block(laps=2)] * 20] * 2},
    }
    (warning,) = quality_warnings.about(line(**falling))  # type: ignore[arg-type]
    assert "faster from the first third of a process to the last in 1 of 2" in warning.what


@pytest.mark.parametrize(
    ("threads", "lap_ns", "cpu_ns", "told"),
    [(2, 10**7, 105, True), (2, 10**7, 180, False), (2, 10**6, 105, False), (1, 10**7, 105, False)],
)
def test_threads_without_work_are_told_in_long_laps(
    threads: int, lap_ns: int, cpu_ns: int, told: bool
) -> None:
    used = block(laps=1, cpu_ns=cpu_ns, machine_cpu_ns=cpu_ns)
    seen = {
        "cell": {"threads": threads, "device": "cpu"},
        "samples_ns": {"compute": [[lap_ns] * 4]},
        "blocks": {"compute": [[used] * 4]},
    }
    warnings = quality_warnings.about(line(**seen))  # type: ignore[arg-type]
    assert any("threads were asked for" in warning.what for warning in warnings) == told
