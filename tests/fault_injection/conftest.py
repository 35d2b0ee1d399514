"""A cache and results of each test's own, and backends registered through the environment, as a
user would.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from evenbench.harness import BATCH, PLANS, Cell, Model, Plan, TensorSpec
from evenbench.harness.core import registry
from evenbench.harness.core.cases import Entry
from evenbench.harness.results.records import Record
from evenbench.harness.runner.schedule import Run

QUICK = replace(
    PLANS["quick"], min_seconds=0.0, max_seconds=0.05, warmup_max_seconds=0.05, timeout_seconds=20.0
)

TINY = Model(
    name="tiny",
    build="nobody.builds:this",
    inputs=(TensorSpec("x", (BATCH, 4)),),
    outputs=(TensorSpec("y", (BATCH, 2)),),
    inputs_from="harness.inputs:standard_normal",
)

Measure = Callable[..., list[Record]]
Register = Callable[..., None]


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("EVENBENCH_TEST_NOTES", str(tmp_path / "notes"))


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Iterator[Register]:
    """Registers backends by the name of their class in `tests.fault_injection.broken`, in this
    process and its workers.
    """

    def add(*classes: str, rows: str = "") -> None:
        listed = [f"{name.lower()}=tests.fault_injection.broken:{name}" for name in classes]
        monkeypatch.setenv("EVENBENCH_BACKENDS", ",".join(filter(None, [*listed, rows])))
        registry.rows.cache_clear()
        registry.find.cache_clear()

    yield add
    monkeypatch.undo()
    registry.rows.cache_clear()
    registry.find.cache_clear()


def cells(*backends: str, model: Model = TINY) -> list[Entry]:
    """One cell for each backend; a name that comes again gets the next batch size."""
    return [
        Entry(Cell(model, name, batch=1 + backends[:index].count(name)))
        for index, name in enumerate(backends)
    ]


@pytest.fixture
def measure(tmp_path: Path) -> Measure:
    """Runs cells to the end and returns what the results file then holds, in file order."""

    def run(entries: Sequence[Entry], plan: Plan = QUICK, fresh: bool = True) -> list[Record]:
        session = Run(entries, plan, tmp_path / "results", fresh=fresh)
        session.measure(entries)
        session.finish()
        return list(session.file.outcomes().values())

    return run


def pids(tmp_path: Path) -> list[int]:
    """The process ids that broken backends noted."""
    lines = (tmp_path / "notes").read_text().splitlines()
    return [int(line.split()[1]) for line in lines if line.startswith("pid ")]
