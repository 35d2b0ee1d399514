"""Cells of another commit in the groups of a run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from evenbench.harness.core import artifact_store
from evenbench.harness.core.cases import Against, Entry
from evenbench.harness.core.types import Cell, to_json
from evenbench.harness.results import records
from evenbench.harness.runner.job import Job, Measurement
from evenbench.harness.runner.launcher import Worker
from evenbench.harness.runner.preparation import Preparer
from evenbench.harness.runner.prepared import Prepared
from evenbench.harness.runner.schedule import Run
from tests.unit.builders import cell, plan, register, work_here


@pytest.fixture(autouse=True)
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    monkeypatch.setenv(artifact_store.VARIABLE, str(tmp_path / "cache"))
    register(monkeypatch)
    return work_here(monkeypatch)


class OtherCommit:
    """Prepares and measures the same cells, as another commit of the project would."""

    def __init__(self) -> None:
        self.preparer = Preparer(30.0)
        self.folders: dict[str, dict[str, str]] = {}

    def prepare(self, cell: Cell) -> Prepared:
        prepared = self.preparer.prepare(replace(cell, side=""))
        self.folders[cell.key] = prepared.folders()
        return Prepared.read(json.loads(json.dumps(to_json(prepared))), "c" * 40)

    def start(self, cell: Cell) -> Worker:
        payload = Measurement(plan(processes=2))
        here = replace(cell, side="")
        return self.preparer.start(Job("measure", here, payload, folders=self.folders[cell.key]))


def test_cells_of_another_commit_take_turns_with_those_here(tmp_path: Path) -> None:
    here = Entry(cell(), "bench.py::case", "evenbench run bench.py")
    against = Against("main", here.cell.id, here.cell.key, "c" * 40)
    then = {"results": "old.jsonl", "run": "old", "time": "2026-01-02T03:04:05Z"}
    then |= {"outcome": "ok", "compute_ns": [11.0], "differ": []}
    there = replace(here, cell=replace(here.cell, side="main:cccccccc"), against=against, then=then)
    wanted = [here, there]
    sides = {"main:cccccccc": OtherCommit()}
    run = Run(wanted, plan(processes=2), tmp_path / "results", sides=sides)
    own, other = run.measure(wanted)
    assert [own["outcome"], other["outcome"]] == ["ok", "ok"]
    assert own["interleaving"][0]["members"] == other["interleaving"][0]["members"]
    assert other["cell"]["id"] == f"{own['cell']['id']}-at=main:cccccccc"
    assert other["cell"]["group"] == own["cell"]["group"]
    assert other["environment"]["commit"] == "c" * 40
    assert other["against"] == {**to_json(against), "origins": {}}
    assert other["then"] == then
    assert f"--cell {here.cell.id} " in other["reproduce"]
    assert {"against", "then"}.isdisjoint(own)
    errors = jsonschema.Draft202012Validator(records.schema()).iter_errors(other)
    assert [error.message for error in errors] == []
