"""The cells that `--against` adds to a run, and the past times that stand beside."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from evenbench.backends.contract_model import TINY_CNN
from evenbench.harness import Case
from evenbench.harness.collection import matrix
from evenbench.harness.comparison.run_sides import joined
from evenbench.harness.comparison.run_sides.side_entries import Joined
from evenbench.harness.comparison.sides import NothingToCompare
from evenbench.harness.core import registry
from evenbench.harness.core.cases import Entry
from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.plans import PLANS
from evenbench.harness.core.types import Cell
from evenbench.harness.environment import system_info

HERE = metadata.version("onnxruntime")
CELLS = matrix.expand(Case(models=(TINY_CNN,), backends=("torch-eager", "ort"), threads=(1,)))
EAGER, ORT = CELLS
ENTRIES = [Entry(cell, "case", "evenbench run benchmarks") for cell in CELLS]


def join(*texts: str, chosen: bool = True) -> Joined:
    with ExitStack() as stack:
        return joined.join(
            ENTRIES, texts, ["benchmarks"], PLANS["quick"], stack, lambda name, key: chosen
        )


def added(run: Joined) -> list[Entry]:
    return run.entries[len(ENTRIES) :]


def past(folder: Path, *cells: Cell, version: str = HERE, **facts: Any) -> str:
    """A results file with an outcome per cell, measured here unless `facts` say otherwise."""
    file = folder / "past.jsonl"
    here = {**system_info.describe(registry.find("ort").distributions), "variables": {}}
    packages = {**here["packages"], "onnxruntime": version}
    for cell in cells:
        line = {
            "schema": 2,
            "time": "2026-01-02T03:04:05Z",
            "run": {"id": "old"},
            "cell": cell.described(),
            "role": "runtime",
            "outcome": "ok",
            "samples_ns": {"compute": [[10, 12, 11], [20, 22, 21]]},
            "environment": {**here, "packages": packages, **facts},
        }
        with file.open("a") as out:
            out.write(json.dumps(line) + "\n")
    return str(file)


def test_a_release_joins_beside_the_cells_of_its_backend() -> None:
    (entry,) = added(join("ort@1.24.1"))
    assert (entry.cell.backend, entry.cell.group) == ("ort@1.24.1", ORT.group)
    assert entry.against is not None
    assert (entry.against.cell, entry.against.key) == (ORT.id, ORT.key)
    assert entry.command == "evenbench run benchmarks --against ort@1.24.1"


def test_options_and_another_backend_join_too() -> None:
    entries = added(join("ort:spinning=off", "openvino"))
    assert [(entry.cell.backend, entry.cell.option) for entry in entries] == [
        ("ort", {"spinning": "off"}),
        ("openvino", {}),
    ]
    beside = [entry.against.key for entry in entries if entry.against]
    assert beside == [ORT.key, EAGER.key]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ort", "its cells are in the run already"),
        (".", "measures the working folder already"),
        ("no-such-thing", "neither a registered backend nor a commit"),
        ("absent.jsonl", "no such results file"),
    ],
)
def test_a_side_without_a_cell_of_its_own_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        join(text)


def test_past_times_stand_beside_the_same_cell(tmp_path: Path) -> None:
    run = join(past(tmp_path, ORT))
    assert added(run) == []
    then = run.entries[1].then
    assert then is not None
    assert (then["compute_ns"], then["differ"], then["run"]) == ([11.0, 21.0], [], "old")
    assert run.entries[0].then is None


def test_a_past_release_is_measured_again_beside_the_present_one(tmp_path: Path) -> None:
    (entry,) = added(join(past(tmp_path, ORT, version="1.24.1")))
    assert entry.cell.backend == "ort@1.24.1"
    assert entry.against is not None
    assert entry.against.cell == ORT.id
    assert entry.then is not None
    assert entry.then["differ"] == []


def test_a_past_backend_joins_unless_the_selection_excludes_it(tmp_path: Path) -> None:
    file = past(tmp_path, replace(ORT, backend="openvino"))
    assert [entry.cell.backend for entry in added(join(file))] == ["openvino"]
    assert added(join(file, chosen=False)) == []


def test_another_machine_is_named(tmp_path: Path) -> None:
    run = join(past(tmp_path, ORT, cpu="Another CPU", commit="f" * 40))
    then = run.entries[1].then
    assert then is not None
    assert [words for words in then["differ"] if words.startswith("cpu: Another CPU against")]
    assert f"`--against {'f' * 12}`" in run.notes[0]


def test_a_model_declared_otherwise_is_not_rebuilt(tmp_path: Path) -> None:
    other = replace(ORT, model=replace(TINY_CNN, arguments={"seed": "7"}))
    run = join(past(tmp_path, other))
    assert run.entries == ENTRIES
    assert run.notes[0].startswith("not rebuilt from")


def test_results_of_other_groups_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NothingToCompare, match="no past cell has the model"):
        join(past(tmp_path, replace(ORT, batch=7)))
