"""SYNTHETIC TEST DATA: years of runs that were never measured, with steps where the tests expect
them. Seeded.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import synthetic

Level = Callable[[int], float]
"""The factor on a cell's time at a commit."""


def commit(number: int) -> str:
    """A made-up commit."""
    return synthetic.sha("commit", number)[:40]


def records(
    number: int,
    cells: Sequence[tuple[str, str]],
    level: Callable[[str, str, int], float],
    rng: random.Random,
    **changed: Any,
) -> list[dict[str, Any]]:
    """One run at the commit of this number: a record per cell, whose time is `level` times 9 ms."""
    time = (datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=9 * number)).strftime(
        "%Y-%m-%dT%H:%M:%SZ"
    )
    found = []
    for model, backend in cells:
        times = tuple(
            9e6 * level(model, backend, number) * rng.lognormvariate(0, 0.008) for _ in range(3)
        )
        made = synthetic.record(model, backend, process_ns=times, laps=8, time=time, **changed)
        made["run"] = made["run"] | {"id": f"run-{number:04d}", "started": time}
        made["environment"] = made["environment"] | {"commit": commit(number)}
        found.append(made)
    return found


def write(
    folder: Path,
    runs: int,
    cells: Sequence[tuple[str, str]],
    level: Callable[[str, str, int], float],
    first: int = 0,
) -> Path:
    """A results folder with one file per run."""
    rng = random.Random(7)
    folder.mkdir(exist_ok=True)
    for number in range(first, first + runs):
        lines = records(number, cells, level, rng)
        (folder / f"run-{number:04d}.jsonl").write_text(
            "".join(json.dumps(line) + "\n" for line in lines)
        )
    return folder


def upgraded(record: dict[str, Any], package: str, version: str) -> dict[str, Any]:
    """The record as it would be with another version of a package."""
    environment = record["environment"]
    return {
        **record,
        "environment": environment | {"packages": environment["packages"] | {package: version}},
    }
