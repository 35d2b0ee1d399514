"""Operator profiles in files: Chrome's trace-event format, time by operator type, reading."""

from __future__ import annotations

import json
from numbers import Real
from pathlib import Path
from typing import Any

import pytest

from evenbench.harness.core.measurements import OperatorCall, OperatorProfile
from evenbench.harness.core.types import to_json
from evenbench.harness.results import operator_profiles
from evenbench.reports import result_groups
from evenbench.reports.sections import operators
from tests.reports import synthetic

CALLS = (
    OperatorCall("loop", "Loop", 5_000, 10_000, "thread 7"),
    OperatorCall("a", "Conv", 5_500, 4_000, "thread 7", {"provider": "CPU"}),
    OperatorCall("b", "Conv", 10_000, 3_000, "thread 7"),
    OperatorCall("k", "Gemm", 6_000, 2_000, "thread 8"),
)
"""Two calls within a loop, and a call of another thread at the same time."""


def content(cell: dict[str, Any] | None = None, time: str = "2026-11-30T10:00:00Z", **facts: str):
    profile = to_json(OperatorProfile("a profiler", CALLS, 16_000, "a note"))
    about = {
        "cell": cell or {"id": "net-ort-fp32-cpu-b1", "key": "0123"},
        "time": time,
        "artifact_sha256": "f00",
        **facts,
    }
    return operator_profiles.trace(profile, about)


def faults(trace: Any) -> list[str]:
    """What the trace-event format forbids in a trace, in words."""
    words = []
    if not isinstance(trace, dict) or not isinstance(trace.get("traceEvents"), list):
        return ["no object with traceEvents"]
    open_until: dict[tuple[int, int], list[float]] = {}
    for event in trace["traceEvents"]:
        if not isinstance(event.get("name"), str) or not event["name"]:
            words.append("an event without a name")
        if not all(isinstance(event.get(name), int) for name in ("pid", "tid")):
            words.append("an event without process and thread")
        if event["ph"] == "M":
            if not isinstance(event["args"].get("name"), str):
                words.append("metadata without a name")
            continue
        if event["ph"] != "X":
            words.append(f"phase {event['ph']}")
            continue
        begin, length = event.get("ts"), event.get("dur")
        if not (isinstance(begin, Real) and isinstance(length, Real) and min(begin, length) >= 0):
            words.append("a complete event without ts and dur in µs")
            continue
        above = open_until.setdefault((event["pid"], event["tid"]), [])
        while above and above[-1] <= begin + 0.0005:
            above.pop()
        if above and begin + length > above[-1] + 0.0015:
            words.append("calls of one thread that overlap without nesting")
        above.append(begin + length)
    return words


def test_a_trace_is_in_the_trace_event_format():
    trace = json.loads(json.dumps(content(), allow_nan=False))
    assert faults(trace) == []
    assert [e["args"]["name"] for e in trace["traceEvents"] if e["ph"] == "M"] == [
        "net-ort-fp32-cpu-b1",
        "thread 7",
        "thread 8",
    ]
    first = next(event for event in trace["traceEvents"] if event["ph"] == "X")
    assert (first["ts"], first["dur"]) == (0.0, 10.0), "times are µs from the first call on"


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        ({"ts": -1}, "ts and dur"),
        ({"dur": None}, "ts and dur"),
        ({"dur": 7.5}, "without nesting"),
        ({"tid": "thread 7"}, "process and thread"),
        ({"name": ""}, "name"),
        ({"ph": "Q"}, "phase"),
    ],
)
def test_the_check_of_the_format_bites(spoil: dict[str, Any], fault: str):
    trace = content()
    place = next(i for i, event in enumerate(trace["traceEvents"]) if event["name"] == "b")
    trace["traceEvents"][place] |= spoil
    assert any(fault in words for words in faults(trace))


def test_a_call_within_a_call_counts_for_its_own_type(tmp_path: Path):
    profile = operator_profiles.parse(operator_profiles.write(tmp_path, content()))
    spent = {row.type: (row.calls, round(row.self_ns)) for row in profile.by_type}
    assert spent == {"Conv": (2, 7_000), "Loop": (1, 3_000), "Gemm": (1, 2_000)}
    assert profile.in_operators_ns == pytest.approx(10_000), "parallel calls are counted once"
    assert [row.share for row in operators.rows(profile)] == ["58\xa0%", "25\xa0%", "17\xa0%"]
    words = " ".join(operators.sentences(profile))
    assert "16.0 µs under the profiler, of which 10.0 µs in operators" in words.replace("\xa0", " ")
    assert words.endswith("a note.")


def test_the_newest_profile_counts_and_foreign_files_are_noted(tmp_path: Path):
    folder = tmp_path / operator_profiles.FOLDER
    operator_profiles.write(folder, content(profiler="old"))
    other = content({"id": "net-ort-fp32-cpu-b1-renamed", "key": "0123"}, "2026-11-30T11:00:00Z")
    newest = operator_profiles.write(folder, other)
    (folder / f"empty{operator_profiles.SUFFIX}").write_text("{}")
    (folder / f"torn{operator_profiles.SUFFIX}").write_text('{"traceEvents": [')
    profiles, notes = operator_profiles.read([tmp_path, tmp_path / "absent"])
    assert {key: profile.file for key, profile in profiles.items()} == {"0123": newest}
    assert sorted(note.partition(":")[0] for note in notes) == [
        "empty.trace.json",
        "torn.trace.json",
    ]


def test_names_of_files_hold_any_id():
    name = operator_profiles.file_name({"id": "../a b/" + "x" * 300, "key": "0123"})
    assert "/" not in name
    assert len(name) < 200
    assert name.endswith("-0123.trace.json")


def test_a_profile_of_another_artifact_is_not_shown(tmp_path: Path):
    line = synthetic.record("resnet18", "ort")
    about = {"cell": line["cell"], "artifact_sha256": line["artifact_sha256"]}
    operator_profiles.write(tmp_path / operator_profiles.FOLDER, content(**about))
    profiles, _ = operator_profiles.read([tmp_path])
    (shown,), notes = operators.attached([line], profiles)
    assert not notes
    assert operators.described(shown)["rows"][0][:2] == ["Conv", "2"]
    (row,) = operators.page_rows(result_groups.results([shown]))
    assert row.longest.replace("\xa0", " ") == "Conv 58 %, Loop 25 %, Gemm 17 %"
    assert row.outside.replace("\xa0", " ") == "38 %"
    (left,), notes = operators.attached([{**line, "artifact_sha256": "other"}], profiles)
    assert operators.FIELD not in left
    assert "another artifact" in notes[0]
