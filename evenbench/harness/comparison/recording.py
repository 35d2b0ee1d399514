"""The results file of a paired comparison: writes new files, and reads earlier ones."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.harness.core.types import to_json
from evenbench.harness.environment import cpu, system_info
from evenbench.harness.results import records

if TYPE_CHECKING:
    from evenbench.harness.comparison.exit_status import Ending
    from evenbench.harness.comparison.sides import SidePair
    from evenbench.harness.statistics.paired_test import Rule


REMEMBERED = 20
"""The largest number of earlier comparisons to read."""


def earlier(folder: Path) -> list[dict[str, Any]]:
    """The latest comparisons recorded on this kind of machine, oldest first.

    The noise of another machine is no evidence for this machine. Unreadable files are skipped.
    """
    from evenbench.harness.comparison import budget

    comparisons: list[dict[str, Any]] = []
    for file in sorted(folder.glob("compare-*.json"), reverse=True):
        with contextlib.suppress(
            OSError, ValueError, TypeError, KeyError, AttributeError, ZeroDivisionError
        ):
            value = json.loads(file.read_text())
            if value["compare"] == 1 and value["machine"] == this_machine():
                budget.pasts([value])  # raises for a truncated or edited file
                comparisons.append(value)
        if len(comparisons) == REMEMBERED:
            break
    return comparisons[::-1]


def this_machine() -> str:
    """The machine in a comparison: processor model and number of usable cores."""
    return f"{system_info.cpu_model()}, {cpu.cores()} cores"


def write(
    folder: Path,
    pair: SidePair,
    rule: Rule,
    seed: int,
    results: Sequence[Mapping[str, Any]],
    end: Ending,
    more: Mapping[str, Any] | None = None,
) -> Path:
    """Write a comparison, with every sample, as one JSON file into the results folder."""
    stamp = records.timestamp()
    file = records.folder(folder) / f"compare-{stamp.replace(':', '-')}.json"
    value = {
        "compare": 1,
        "time": stamp,
        "base": pair.base.name,
        "head": pair.head.name,
        "machine": this_machine(),
        "rule": to_json(rule),
        "seed": seed,
        "notes": pair.notes,
        "exit": end.code,
        "words": end.words,
        "cells": results,
        **(more or {}),
    }
    file.write_text(json.dumps(to_json(value)))
    return file
