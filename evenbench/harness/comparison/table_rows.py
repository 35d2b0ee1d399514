"""A recorded comparison as rows: one per cell and metric, for notebooks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from evenbench.harness.comparison import exit_status
from evenbench.harness.comparison.findings import numbers_of

COLUMNS = ("cell", "control", "metric", "ratio", "low", "high", "verdict", "reason")
"""Names of the values of a row."""


def rows(comparison: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a row per cell and metric of a file of `evenbench compare`.

    `ratio` is head over base, `low` and `high` are the limits of the 99 % interval. A cell without
    metrics has one row with the reason.
    """
    for result in comparison["cells"]:
        head = {"cell": result["cell"], "control": bool(result["control"])}
        reasons = "; ".join(filter(None, [result["failure"], *result["wrong"]]))
        if reasons or not result["metrics"]:
            yield {**dict.fromkeys(COLUMNS), **head, "verdict": "failed", "reason": reasons}
        for metric, judged in result["metrics"].items():
            words = exit_status.verdict_words(metric, judged, result.get("contaminated", ""))
            yield {**head, "metric": metric, **numbers_of(judged), "verdict": words, "reason": ""}
