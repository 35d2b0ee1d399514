"""The log of MLCommons' load generator: its entries, and its verdict."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from harness.load.points import PERCENTILES
from harness.statistics import estimates

MARK = ":::MLLOG "


def read_log(text: str) -> dict[str, Any]:
    """The entries of a load generator's detail log by key; the last one of a key counts. `errors`
    has those that it marked as errors.
    """
    found: dict[str, Any] = {"errors": []}
    for line in text.splitlines():
        if line.startswith(MARK):
            entry = json.loads(line.removeprefix(MARK))
            found[entry["key"]] = entry["value"]
            if entry.get("metadata", {}).get("is_error"):
                found["errors"].append(f"{entry['key']}: {entry['value']}")
    return found


def verdict(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Its verdict with its own reason, and the percentiles that the number of its queries supports.
    Raises ValueError where it has none.
    """
    if "result_validity" not in entries:
        raise ValueError(
            "the load generator left no verdict in its log, where one was expected; run it again, and longer with --seconds"
        )
    queries = int(entries["result_query_count"])
    valid = entries["result_validity"] == "VALID"
    words = [
        str(entries.get(name, "")) for name in ("result_invalid_reason", "early_stopping_result")
    ] + entries["errors"]
    reason = "" if valid else " ".join(" ".join(words).replace("*", " ").split())
    told: dict[str, Any] = {
        "scenario": entries.get("effective_scenario", ""),
        "verdict": entries["result_validity"],
        "reason": reason,
    }
    told |= {"queries": queries, "too_late": entries.get("result_overlatency_query_count")}
    rates = (
        "result_completed_samples_per_sec",
        "result_samples_per_second",
        "result_qps_with_loadgen_overhead",
    )
    told["queries_per_second"] = next(
        (float(entries[name]) for name in rates if name in entries), None
    )
    told["offered_per_second"] = entries.get("result_scheduled_samples_per_sec")
    for name, q in PERCENTILES.items():
        supported = queries >= estimates.needed_for_quantile(max(q, 1 - q))
        told[name] = (
            entries.get(f"result_{q * 100:.2f}_percentile_latency_ns") if supported else None
        )
    return {
        **told,
        "max_ns": entries.get("result_max_latency_ns"),
        "version": entries.get("loadgen_version", ""),
    }
