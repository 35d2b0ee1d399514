"""Records become points, points become spans: what splits a series, and what does not."""

from __future__ import annotations

from typing import Any

from evenbench.harness.results import series
from evenbench.harness.results.series import ARTIFACT, ERROR, LATENCY, MEMORY


def record(time: str, cpu: str = "A", onnx: str = "1.24", **changed: Any) -> dict[str, Any]:
    return {
        "cell": {"id": "m-b", "key": "k", "device": "cpu"},
        "time": time,
        "outcome": "ok",
        "run": {"id": time},
        "environment": {
            "cpu": cpu,
            "commit": "c" + time,
            "packages": {"onnx": onnx, "evenbench": time},
            "load_average": 3.0,
        },
        "samples_ns": {"compute": [[100, 110, 120], [121, 121, 121]]},
        "memory": {"peak_rss_bytes": [1000, 1000]},
        "artifact": {"bytes": 5},
        "parity": {"needed": 1e-9},
        **changed,
    }


def one(*records: dict[str, Any]) -> series.Series:
    gathering = series.Gathering()
    for each in records:
        gathering.add(each)
    (found,) = gathering.series()
    return found


def test_a_point_has_levels_over_processes() -> None:
    found = one(record("1")).points[0].values
    assert round(found[LATENCY].value, 1) == 115.4
    assert found[LATENCY].processes == 2
    assert found[LATENCY].low is not None
    assert (round(found[MEMORY].value), found[ARTIFACT].value) == (1000, 5)
    assert found[ERROR].value == series.ERROR_FLOOR


def test_points_are_in_the_order_of_their_times() -> None:
    assert [point.time for point in one(record("2"), record("1"), record("3")).points] == [
        "1",
        "2",
        "3",
    ]


def test_points_are_in_the_order_of_their_commits_where_all_are_known() -> None:
    """asv goes through a range backwards, and a clock may be set back."""
    gathering = series.Gathering()
    for each in (record("1"), record("3"), record("2")):
        gathering.add(each)
    order = {"c3": 0, "c2": 1, "c1": 2}
    assert [point.commit for point in gathering.series(order)[0].points] == ["c3", "c2", "c1"]
    gathering.add({**record("9"), "environment": {"commit": "c3"}})
    assert [point.time for point in gathering.series(order)[0].points] == ["3", "9", "2", "1"]
    del order["c2"]
    assert [point.time for point in gathering.series(order)[0].points] == ["1", "2", "3", "9"], (
        "one is unknown: by time"
    )


def test_a_change_of_the_environment_splits_and_is_told() -> None:
    spans = one(record("1"), record("2"), record("3", onnx="1.31")).spans
    assert [span.places for span in spans] == [(0, 1), (2,)]
    assert spans[1].changes == ("onnx 1.24 → 1.31",)
    assert spans[0].environment != spans[1].environment


def test_load_and_evenbench_itself_split_nothing() -> None:
    assert len(one(record("1"), record("2")).spans) == 1


def test_two_machines_that_take_turns_are_two_spans() -> None:
    spans = one(record("1"), record("2", cpu="B"), record("3"), record("4", cpu="B")).spans
    assert [span.places for span in spans] == [(0, 2), (1, 3)]


def test_a_wrong_answer_has_an_error_and_no_speed() -> None:
    assert set(one(record("1", outcome="mismatch", parity={"needed": 6.0})).points[0].values) == {
        ERROR
    }
    assert one(record("1", outcome="failed")).points[0].values == {}


def test_what_has_no_level_is_left_out() -> None:
    broken = record(
        "1",
        samples_ns={"compute": [[0, 0, 0]]},
        artifact=None,
        parity={"needed": float("inf")},
        memory={},
    )
    assert one(broken).points[0].values == {}


def test_of_two_lines_in_one_run_the_later_counts() -> None:
    again = record("1")
    again["time"] = "1b"
    assert [point.time for point in one(record("1"), again).points] == ["1b"]
