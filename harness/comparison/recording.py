"""Writes a comparison to its results file, and reads the spread of earlier ones."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.types import to_json
from harness.environment import cpu, system_info
from harness.results import records

if TYPE_CHECKING:
    from harness.comparison.exit_status import Ending
    from harness.comparison.sides import Pair
    from harness.statistics.paired_test import Rule


REMEMBERED = 20
"""Earlier comparisons that are read for what they say of the cells."""


def earlier(folder: Path) -> list[dict[str, Any]]:
    """The latest comparisons in a results folder that were made on a machine such as this one,
    oldest first.

    How much another machine differs from itself says nothing of this one; nor does a file that
    cannot be read.
    """
    from harness.comparison import budget

    found: list[dict[str, Any]] = []
    for file in sorted(folder.glob("compare-*.json"), reverse=True):
        with contextlib.suppress(
            OSError, ValueError, TypeError, KeyError, AttributeError, ZeroDivisionError
        ):
            value = json.loads(file.read_text())
            if value["compare"] == 1 and value["machine"] == this_machine():
                budget.pasts([value])  # whoever cut or edited the file is noticed here
                found.append(value)
        if len(found) == REMEMBERED:
            break
    return found[::-1]


def this_machine() -> str:
    """The processor and how many of its cores are used, as a comparison names its machine."""
    return f"{system_info.cpu_model()}, {cpu.cores()} cores"


def write(
    folder: Path,
    pair: Pair,
    rule: Rule,
    seed: int,
    found: Sequence[Mapping[str, Any]],
    end: Ending,
    more: Mapping[str, Any] | None = None,
) -> Path:
    """The comparison with every sample, as one JSON file in the results folder."""
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
        "cells": found,
        **(more or {}),
    }
    file.write_text(json.dumps(to_json(value)))
    return file
