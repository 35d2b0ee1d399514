"""Texts of a history: a row per cell, its steps, and values with units.

A value is the JSON of `evenbench history --json`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evenbench.harness.results import series
from evenbench.harness.statistics.estimates import Estimate
from evenbench.reports import formatting

METRICS = {
    "latency": "Latency",
    "error": "Parity error",
    "memory": "Peak memory",
    "artifact": "Artifact",
}
"""Titles of the metrics, in drawing order."""


def rows(value: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row per cell: the newest value of each metric, and steps not accepted yet."""
    states: dict[str, list[str]] = {}
    for kind in ("alarms", "waiting"):
        for change in value[kind]:
            states.setdefault(change["key"], []).append(_state(change))
    return [_row(cell, states.get(cell["key"], [])) for cell in value["cells"]]


def _state(change: Mapping[str, Any]) -> str:
    words = f"{METRICS[change['metric']]} {percent(change['ratio'])}"
    return (
        words
        if change["alarm"]
        else f"{words} for {formatting.count(change['points'], 'point')}, waiting"
    )


def _row(cell: Mapping[str, Any], states: Sequence[str]) -> dict[str, Any]:
    last = cell["last"]
    return {
        "name": cell["name"],
        "metrics": [_newest(cell, metric) for metric in METRICS],
        "results": f"{len(cell['points']):,}",
        "environments": str(len(cell["environments"])),
        "last": (short(last["commit"]), last["time"][:10]),
        "outcome": last["outcome"],
        "states": states,
    }


def _newest(cell: Mapping[str, Any], metric: str) -> tuple[str, str]:
    points = (cell["metrics"].get(metric) or {}).get("points") or []
    if not points:
        return formatting.DASH, ""
    place, value, low, high = points[-1]
    stale = "" if place == len(cell["points"]) - 1 else "older"
    interval = (
        formatting.latency_interval(Estimate(value, low, high, 0))
        if metric == "latency" and low is not None
        else ""
    )
    return text(metric, value), ", ".join(filter(None, (interval, stale)))


def text(metric: str, value: float) -> str:
    """Format a value of a metric with its unit; errors up to the floor are `≤ 0.01`."""
    if metric == "error" and value <= series.ERROR_FLOOR:
        return f"≤ {series.ERROR_FLOOR:g}"
    return (
        formatting.duration(value)
        if metric == "latency"
        else formatting.number(value)
        if metric == "error"
        else formatting.size(value)
    )


def percent(ratio: float) -> str:
    """Format a ratio as a change: `+6.1 %` for 1.061; as a multiple (`×3.5`) above 3."""
    return (
        f"×{formatting.number(ratio)}"
        if ratio > 3
        else f"{100 * (ratio - 1):+.1f}{formatting.SPACE}%"
    )


def short(commit: str) -> str:
    """Return eight digits of a commit, or `no commit`."""
    return commit[:8] or "no commit"


def step(change: Mapping[str, Any], cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the texts of a step (an alarm, or a step with too few points yet)."""
    index = next(place for place, cell in enumerate(cells) if cell["key"] == change["key"])
    between = f"{short(change['commit_before'])} → " if change["commit_before"] else ""
    return {
        "index": index,
        "cell": cells[index]["name"],
        "metric": METRICS[change["metric"]],
        "kind": change["kind"],
        "change": percent(change["ratio"]),
        "values": " → ".join(text(change["metric"], change[key]) for key in ("before", "after")),
        "margin": f"margin {100 * change['margin']:.1f}{formatting.SPACE}%",
        "commit": f"{between}{short(change['commit'])}",
        "time": change["time"][:10],
        "points": formatting.count(change["points"], "point"),
        "accept": change["accept"],
        "confirmed": (change.get("confirmed") or {"words": []})["words"],
    }


def accepted(change: Mapping[str, Any]) -> dict[str, str]:
    """Return the texts of a change that a user accepted."""
    return {
        **change,
        "level": text(change["metric"], change["level"]),
        "commit": short(change["commit"]),
    }


def pair(comparison: Mapping[str, Any]) -> dict[str, str]:
    """Return the texts of a paired comparison by `evenbench compare`."""
    interval = formatting.SPACE.join(
        (f"{100 * (comparison['low'] - 1):+.1f} to {100 * (comparison['high'] - 1):+.1f}", "%")
    )
    metric = METRICS.get(comparison["metric"], comparison["metric"].capitalize())
    sides = f"{comparison['base']} → {comparison['head']}"
    return {
        **comparison,
        "sides": sides,
        "metric": metric,
        "change": percent(comparison["ratio"]),
        "interval": interval,
        "time": comparison["time"][:10],
    }
