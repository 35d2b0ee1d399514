"""A process far slower than the others of its cell is a warning with its factor and its cause.

The numbers are computed by hand.
"""

from __future__ import annotations

from typing import Any, cast

import pytest

from evenbench.harness.core.records.outcome import OutcomeRecord
from evenbench.harness.results import processes_apart, quality_warnings


def block(**seen: int) -> dict[str, int]:
    """A block of two busy threads on two cores."""
    quiet = {"preemptions": 0, "steal_ticks": 0, "major_faults": 0, "laps": 3}
    return {"wall_ns": 1000, "cpu_ns": 2000, "machine_cpu_ns": 2000, **quiet, **seen}


def line(*levels: int, **changed: Any) -> OutcomeRecord:
    """A cell with a process at each level, of three laps."""
    record = {
        "outcome": "ok",
        "cell": {"id": "b"},
        "run": {"plan": "thorough"},
        "stability": {},
        "process_seconds": [1.0] * len(levels),
        "warm_up": [],
        "samples_ns": {"compute": [[level] * 3 for level in levels]},
        "blocks": {"compute": [[block()] for _ in levels]},
        **changed,
    }
    return cast(OutcomeRecord, record)


@pytest.mark.parametrize(
    ("slow", "why", "do"),
    [
        (
            {"cpu_ns": 1000, "machine_cpu_ns": 1000},
            "its threads shared a core (CPU time over wall time 1.0, else 2.0)",
            "use fewer threads",
        ),
        (
            {"steal_ticks": 3, "wall_ns": 10**9, "cpu_ns": 2 * 10**9, "machine_cpu_ns": 2 * 10**9},
            "the hypervisor took 0.03 cores",
            "measure on a dedicated host",
        ),
        ({"machine_cpu_ns": 2600}, "other processes used 0.6 cores", "stop other work"),
        (
            {},
            "the record has no cause: possibly one of two modes, such as memory layout",
            "levels and ratios leave the process out",
        ),
    ],
)
def test_a_stalled_process_has_its_factor_and_its_cause(
    slow: dict[str, int], why: str, do: str
) -> None:
    """The median of 0.35, 0.32 and 55.7 ms is 0.35, and 55.7 / 0.35 is 159.1."""
    blocks = {"compute": [[block()], [block()], [block(**slow)]]}
    record = line(350_000, 320_000, 55_700_000, blocks=blocks)
    (warning,) = quality_warnings.apart(record)
    assert warning.what == (
        f"process 3 of 3 stands apart, compute took 159 times the median process: {why}"
    )
    assert warning.do.startswith(do)
    assert str(warning) in map(str, quality_warnings.about(record))


def test_the_sweep_of_an_interleaved_line_names_its_process() -> None:
    """Rounds of 100, 102 and 104 ns in two sweeps, and twice that in the second of three."""
    turns = [
        {"sweep": name, "members": ["a"], "rounds": [0, 1, 2], "untimed_laps": [1, 1, 1]}
        for name in ("s1", "s2", "s3")
    ]
    quick, slow = [100, 102, 104], [200, 204, 208]
    record = line(
        *(1, 1, 1),
        samples_ns={"compute": [quick, slow, quick]},
        blocks={
            "compute": [
                [block(laps=1)] * 3,
                [block(laps=1, cpu_ns=1000, machine_cpu_ns=1000)] * 3,
                [block(laps=1)] * 3,
            ]
        },
        interleaving=turns,
    )
    (apart,) = processes_apart.of_line(record)
    assert (apart.process, apart.of, apart.factor) == (2, 3, pytest.approx(2.0))
    assert list(apart.causes) == [processes_apart.SHARED_CORE]


@pytest.mark.parametrize(
    "levels",
    [
        (350_000, 320_000, 340_000),
        (350_000, 340_000, 10_000),
        (320_000, 55_700_000),
        (1_000_000, 1_300_000, 1_000_000, 1_300_000),
    ],
    ids=["equal", "a fast process", "two processes", "two modes"],
)
def test_no_process_stands_apart(levels: tuple[int, ...]) -> None:
    assert processes_apart.of_line(line(*levels)) == []


def test_a_line_without_blocks_has_no_evidence() -> None:
    (apart,) = processes_apart.of_line(line(350_000, 320_000, 55_700_000, blocks={}))
    assert apart.why == "the record has no evidence of the cause"


def test_a_run_names_the_cells_once_and_no_second_mode() -> None:
    laps = {"compute": [[level] * 20 for level in (1_000_000, 1_300_000, 1_000_000)]}
    (warning,) = quality_warnings.about_run([line(1, 1, 1, samples_ns=laps)])
    assert warning.what == "a process stands apart: 1 cell (b) of 1"
