"""The log of MLCommons' load generator: its verdict, reason and percentiles."""

from __future__ import annotations

import json
from typing import Any

import pytest

from evenbench.harness.load import mlperf_log


def log(**entries: Any) -> str:
    lines = [
        ":::MLLOG " + json.dumps({"key": key, "value": value, "metadata": {"is_error": False}})
        for key, value in entries.items()
    ]
    return "\n".join(["something else", *lines])


SERVED: dict[str, Any] = {
    "effective_scenario": "Server",
    "result_validity": "INVALID",
    "result_invalid_reason": "Reduce target QPS to improve latency. ",
    "early_stopping_result": " * Run unsuccessful.  * Processed 300 queries.",
    "result_query_count": 300,
    "result_overlatency_query_count": 17,
    "result_completed_samples_per_sec": 471.711,
    "result_scheduled_samples_per_sec": 789.483,
    "result_50.00_percentile_latency_ns": 1,
    "result_90.00_percentile_latency_ns": 2,
    "result_99.00_percentile_latency_ns": 3,
    "result_max_latency_ns": 4,
    "loadgen_version": "6",
}


def test_a_verdict_has_the_generators_own_reason() -> None:
    found = mlperf_log.verdict(mlperf_log.read(log(**SERVED)))
    assert (found["verdict"], found["too_late"]) == ("INVALID", 17)
    assert (
        found["reason"]
        == "Reduce target QPS to improve latency. Run unsuccessful. Processed 300 queries."
    )
    assert (found["offered_per_second"], found["queries_per_second"]) == (789.483, 471.711)


def test_its_percentiles_are_refused_where_queries_are_too_few() -> None:
    found = mlperf_log.verdict(mlperf_log.read(log(**SERVED)))
    assert (found["p50_ns"], found["p90_ns"], found["p99_ns"]) == (1, 2, None)


def test_an_error_of_its_own_is_part_of_the_reason() -> None:
    entry = {"key": "error_runtime", "value": "Ending early", "metadata": {"is_error": True}}
    found = mlperf_log.verdict(mlperf_log.read(log(**SERVED) + "\n:::MLLOG " + json.dumps(entry)))
    assert found["reason"].endswith("error_runtime: Ending early")


def test_a_log_without_a_verdict_is_an_error() -> None:
    with pytest.raises(ValueError, match="no verdict"):
        mlperf_log.verdict(mlperf_log.read(log(effective_scenario="Server")))
