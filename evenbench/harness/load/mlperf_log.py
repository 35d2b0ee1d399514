"""The log of MLCommons' load generator: entries, verdict and reason."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from evenbench.harness.load.points import PERCENTILES
from evenbench.harness.statistics import estimates

MARK = ":::MLLOG "

RATES = (
    "result_completed_samples_per_sec",
    "result_samples_per_second",
    "result_qps_with_loadgen_overhead",
)
"""Entries with the measured rate; each scenario of the generator writes a different entry."""


def read(text: str) -> dict[str, Any]:
    """The entries of a detail log by key, the last entry of a key; `errors` has marked errors."""
    entries: dict[str, Any] = {"errors": []}
    for line in text.splitlines():
        if line.startswith(MARK):
            entry = json.loads(line.removeprefix(MARK))
            entries[entry["key"]] = entry["value"]
            if entry.get("metadata", {}).get("is_error"):
                entries["errors"].append(f"{entry['key']}: {entry['value']}")
    return entries


def verdict(entries: Mapping[str, Any]) -> dict[str, Any]:
    """The generator's verdict with the reason, rates, and percentiles with enough queries, as JSON.

    Raises ValueError for a log without a verdict.
    """
    if "result_validity" not in entries:
        raise ValueError(
            "the load generator left no verdict in the log; expected result_validity; "
            "repeat the run with more seconds"
        )
    queries = int(entries["result_query_count"])
    rate = next((float(entries[name]) for name in RATES if name in entries), None)
    return {
        "scenario": entries.get("effective_scenario", ""),
        "verdict": entries["result_validity"],
        "reason": "" if entries["result_validity"] == "VALID" else _reason(entries),
        "queries": queries,
        "too_late": entries.get("result_overlatency_query_count"),
        "queries_per_second": rate,
        "offered_per_second": entries.get("result_scheduled_samples_per_sec"),
        **{name: _percentile(entries, q, queries) for name, q in PERCENTILES.items()},
        "max_ns": entries.get("result_max_latency_ns"),
        "version": entries.get("loadgen_version", ""),
    }


def _reason(entries: Mapping[str, Any]) -> str:
    """The generator's own explanation of an invalid run, on one line."""
    names = ("result_invalid_reason", "early_stopping_result")
    texts = [*(str(entries.get(name, "")) for name in names), *entries["errors"]]
    return " ".join(" ".join(texts).replace("*", " ").split())


def _percentile(entries: Mapping[str, Any], q: float, queries: int) -> Any:
    """A latency percentile in nanoseconds, or None with too few queries."""
    if queries < estimates.needed_for_quantile(max(q, 1 - q)):
        return None
    return entries.get(f"result_{q * 100:.2f}_percentile_latency_ns")
