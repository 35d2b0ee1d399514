"""Recorded paired comparisons beside a history: verdicts per cell, and measured upgrades."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def verdicts(paths: Sequence[Path], cells: set[str], notes: list[str]) -> list[dict[str, Any]]:
    """Every metric's verdict from the comparisons in the given folders, oldest first.

    Only verdicts on `cells`, without samples. Unreadable files are named in `notes`.
    """
    files = sorted(file for path in paths if path.is_dir() for file in path.glob("compare-*.json"))
    rows: list[dict[str, Any]] = []
    for file in files:
        try:
            comparison = json.loads(file.read_text())
            rows += [row for row in _verdicts_of(comparison) if row["cell"] in cells]
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            notes.append(f"{file.name}: not a readable comparison ({error}), left out")
    return rows


def _verdicts_of(comparison: Mapping[str, Any]) -> list[dict[str, Any]]:
    if comparison.get("compare") != 1:
        raise ValueError("not written by this version of `evenbench compare`")
    head = {
        "time": comparison["time"],
        "base": comparison["base"],
        "head": comparison["head"],
        "bridge": comparison.get("bridge"),
    }
    return [
        {**head, "cell": cell["cell"], "metric": metric, "verdict": judged["verdict"]}
        | {
            key: (judged["confirmation"] or judged["screen"])[key]
            for key in ("ratio", "low", "high")
        }
        for cell in comparison["cells"]
        if not cell["control"]
        for metric, judged in cell["metrics"].items()
    ]


def join_upgrades(history: Mapping[str, Any]) -> None:
    """Add to each environment of a history the measured effect of its upgrade.

    An upgrade belongs to an environment if all its package changes are changes of that
    environment. The newest comparison of each metric counts.
    """
    rows = [
        {**row, "moves": _package_changes(row["bridge"])}
        for row in history["pairs"]
        if row["bridge"]
    ]
    for cell in history["cells"]:
        for environment in cell["environments"]:
            changed = {words.lower() for words in environment["changes"]}
            matching = [
                row
                for row in rows
                if row["cell"] == cell["cell"]
                and {words.lower() for words in row["moves"]} <= changed
            ]
            environment["bridges"] = list({row["metric"]: row for row in matching}.values())


def _package_changes(bridge: Mapping[str, Mapping[str, str]]) -> list[str]:
    """The package changes of an upgrade, in the words of a span's changes."""
    return [
        f"{package} {old} → {bridge['to'].get(package, 'absent')}"
        for package, old in bridge["from"].items()
    ]
