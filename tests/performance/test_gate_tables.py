"""The tables of `make aa`: counted right, and those of the pages are those of the record."""

from __future__ import annotations

from typing import Any

import pytest

from tests.performance import bench_gate, bench_record, gate_tables, rules


def line(effect: float = 0.0, verdict: str = "equivalent", **verdicts: str) -> dict[str, Any]:
    """A comparison of twelve pairs."""
    return {
        "workload": "w",
        "condition": "as found",
        "effect": effect,
        "verdicts": {"latency": verdict, **verdicts},
        "ratio": 1.0,
        "log_ratios": [0.001, -0.001, 0.002, -0.002] * 3,
        "seconds": 12.0,
        "others": {name: [index == 0, index == 1] for index, name in enumerate(rules.RULES)},
        "date": "2026-01-01",
        "machine": "a CPU, 2 cores, Python 3.11.7",
    }


def test_the_upper_limit_of_no_alarm_in_300_is_one_percent() -> None:
    assert gate_tables.upper_limit(0, 300) == pytest.approx(1 - 0.05 ** (1 / 300))
    assert gate_tables.upper_limit(3, 300) > 0.02


def test_an_alarm_of_any_metric_counts_and_more_work_that_is_found_does_not() -> None:
    lines = [
        line(),
        line(memory="slower"),
        line(verdict="faster"),
        line(effect=0.05, verdict="slower"),
    ]
    assert len(gate_tables.alarms(lines)) == 2
    told = gate_tables.false_alarms(lines)
    assert "| as found: w | 3 | 1 |" in told
    assert (
        gate_tables.power(lines).splitlines()[-1]
        == "| as found: w | 5% | 1 of 1 | 100% | 1 of 1 | 12 s |"
    )
    late = [*lines, line(effect=0.05, verdict="slower") | {"seconds": 61.0}]
    assert (
        gate_tables.power(late).splitlines()[-1]
        == "| as found: w | 5% | 2 of 2 | 100% | 1 of 2 | 36 s |"
    )


def test_other_rules_count_both_directions_of_base_against_itself_and_one_of_more_work() -> None:
    told = gate_tables.others([line(), line(effect=0.1, verdict="slower")])
    first, second, third, *_ = told.splitlines()[
        3:
    ]  # after the header, its rule, and the gate's own row
    assert first.endswith("| 100.0% | 100.0% |")
    assert second.endswith("| 100.0% | 0.0% |")
    assert third.endswith("| 0.0% | 0.0% |")


def test_the_rules_call_twice_the_time_slower_and_the_same_time_not() -> None:
    same = [[1.0, 1.01, 0.99, 1.0, 1.02, 0.98] * 2] * 8
    twice = [[2.1 * value for value in process] for process in same]
    for name, rule in rules.RULES.items():
        assert rule(same, twice), name
        assert not rule(twice, same), name
        assert not rule(same, same), name


def test_the_kinds_have_every_comparison_that_is_promised() -> None:
    wanted = bench_gate.kinds(300, 20)
    null = {
        name: sum(kind.wanted for kind in wanted if kind.condition == name and not kind.effect)
        for name in bench_gate.CONDITIONS
    }
    assert min(null.values()) >= 150
    assert sum(null.values()) >= 300
    powers = {(kind.condition, kind.effect): kind.wanted for kind in wanted if kind.effect}
    assert powers == {
        ("as found", 0.02): 10,
        ("as found", 0.05): 20,
        ("as found", 0.1): 10,
        ("noisy neighbour", 0.1): 20,
    }
    for kind in wanted:
        assert bench_gate.head_of(kind) != kind.workload.base or not kind.effect


def test_a_record_that_is_not_whole_says_how_much_is_to_come() -> None:
    wanted = bench_gate.kinds(bench_gate.COMPARISONS, bench_gate.TRIALS)
    every = sum(kind.wanted for kind in wanted)
    assert "1 comparisons; " + str(every) + " more are to come" in gate_tables.heading([line()]), (
        "its workload is none of those wanted"
    )
    some = [
        {**line(kind.effect), "workload": kind.workload.name, "condition": kind.condition}
        for kind in wanted
    ]
    assert (
        f"{len(wanted)} comparisons; {every - len(wanted)} more are to come"
        in gate_tables.heading(some)
    )
    whole = [each for kind, each in zip(wanted, some, strict=True) for _ in range(kind.wanted)]
    assert gate_tables.heading(whole).rstrip().endswith(f"{every} comparisons.")


def test_the_pages_show_the_record() -> None:
    lines = gate_tables.judged(bench_record.read(bench_gate.RECORD))
    for file, text in gate_tables.pages(lines).items():
        assert file.read_text(encoding="utf-8") == text, (
            f"{file.name} does not show the record: run `make aa`"
        )
