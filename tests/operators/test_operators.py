"""ONNX's operator tests: no false mismatch, and nearly all are ok or rightly unsupported."""

from __future__ import annotations

import pytest

from tests.operators import cases, judged, pool, table

LEAST_SHARE = 0.95
"""The least share of tests that ONNX Runtime passes or refuses in its own words."""


def shown(records: list[judged.Record]) -> str:
    return "\n".join(
        f"{record['case']} on {record['runtime']}: {record['reason']}" for record in records
    )


def test_a_stratified_part_of_the_operator_tests() -> None:
    """150 tests on ONNX Runtime, and a tenth of these on OpenVINO."""
    chosen = cases.stratified(cases.collect(cases.SLOW), 150)
    records = [
        record
        for index, case in enumerate(chosen)
        for record in pool.in_own_folder(case, runtimes=judged.RUNTIMES[: 1 + (index % 10 == 0)])
    ]
    assert len({record["operator"] for record in records}) > 60
    wrong = [r for r in table.false_mismatches(records) if r["runtime"] == "ort"]
    assert not wrong, shown(wrong)
    assert table.share(records, "ort") >= LEAST_SHARE, shown(
        table.by_class(records, "ort")["failed"] + table.by_class(records, "ort")["refused"]
    )


@pytest.mark.nightly
def test_all_operator_tests_through_the_pool() -> None:
    records = pool.run(cases.collect(), False, 2, lambda done: None)
    wrong = [r for r in table.false_mismatches(records) if r["runtime"] == "ort"]
    assert not wrong, shown(wrong)
    lost = [record for record in records if record["outcome"] == "lost"]
    assert not lost, shown(lost)
    assert table.share(records, "ort") >= LEAST_SHARE


def test_a_crash_and_a_hang_cost_one_test_each(monkeypatch: pytest.MonkeyPatch) -> None:
    import os
    import time

    chosen = cases.collect(cases.SLOW)[:4]
    names = [case.name for case in chosen]

    def judge(case, made_up=False, runtimes=judged.RUNTIMES):  # type: ignore[no-untyped-def]
        if case.name == names[1]:
            os._exit(11)
        if case.name == names[2]:
            time.sleep(60)
        return [{"case": case.name, "runtime": "ort", "outcome": "ok"}]

    monkeypatch.setattr(pool, "in_own_folder", judge)
    monkeypatch.setattr(pool, "SECONDS", 1.0)
    records = pool.run(chosen, False, 2, lambda done: None)
    found = {record["case"]: record["outcome"] for record in records}
    assert found == dict(zip(names, ("ok", "lost", "lost", "ok"), strict=True))
    assert {r["reason"] for r in records if r["outcome"] == "lost"} == {
        "crashed",
        "no end in 1 s",
    }


def record(outcome: str, reason: str = "", phase: str = "", case: str = "c") -> judged.Record:
    texts = {"outcome": outcome, "reason": reason, "phase": phase, "runtime": "ort"}
    return {"case": case, "operator": "O", "golden": "", "traceback": "", **texts}


@pytest.mark.parametrize(
    ("found", "name"),
    [
        (record("ok"), "ok"),
        (record("unsupported", "no kernel for X", "load"), "unsupported"),
        (record("unsupported", "no judge can run model: ...", "parity"), "refused"),
        (record("failed", "degenerate reference: y", "parity"), "refused"),
        (record("failed", "reference suspect: a and b disagree", "parity"), "refused"),
        (record("refused", "model.onnx: x is text", "describe"), "refused"),
        (record("refused", "model.onnx: KeyError: 0", "describe"), "failed"),
        (record("failed", "TypeError: unhashable", "load"), "failed"),
        (record("mismatch", "y needs 7 times", "parity"), "mismatch"),
    ],
)
def test_outcomes_are_classed_by_who_said_no(found: judged.Record, name: str) -> None:
    assert table.class_of(found) == name


def test_the_page_counts_outcomes_and_groups_reasons() -> None:
    given = [
        record("ok"),
        record("unsupported", "has no kernel for Foo(1) at fp32", "load", "a"),
        record("unsupported", "has no kernel for Bar(22) at fp32", "load", "b"),
    ]
    text = table.whole(given, [], "heading")
    assert "| unsupported by the runtime | 2 | 0 |" in text
    assert "| 2 | has no kernel for Foo(1) at fp32 | `a` |" in text
    assert table.share(given, "ort") == 1.0


def test_a_documented_fault_is_no_false_mismatch() -> None:
    runtime, case = next(iter(table.DOCUMENTED))
    assert runtime == "ort"
    assert not table.false_mismatches([record("mismatch", case=case)])
    assert table.false_mismatches([record("mismatch", case="another")])
