"""Declaring, listing and scheduling stay light, and a process that times one runtime has never
heard of another.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from evenbench.backends.contract_model import TINY_CNN
from evenbench.harness import Cell
from evenbench.harness.core.import_path import shared_path
from evenbench.harness.environment import system_info
from evenbench.harness.runner import launcher
from evenbench.harness.runner.job import Job, Measurement
from evenbench.harness.runner.preparation import Preparer
from tests.meta import spies
from tests.meta.architecture import ROOT
from tests.unit.builders import plan, register

HEAVY = ("numpy", "scipy", "PIL", *spies.WATCHED)


def run(code: str) -> Any:
    """What a fresh interpreter prints as JSON; `heavy()` tells which heavy packages it has
    imported.
    """
    head = (
        "import json, sys\n"
        f"def heavy(): return [name for name in {HEAVY!r} if name in sys.modules]\n"
    )
    variables = {name: value for name, value in os.environ.items() if name != "EVENBENCH_BACKENDS"}
    done = subprocess.run(
        [sys.executable, "-c", head + code],
        cwd=ROOT,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


EXPAND = """
import time
import harness
from harness import Case, Model, TensorSpec, photographs, preprocess
from harness.collection import matrix
photos = {"recipe": preprocess.IMAGENET_224, "images": photographs.PHOTOGRAPHS}
models = tuple(
    Model(f"model{i}", "nobody.builds:this", (TensorSpec("x", ("batch", 3, 224, 224)),), **photos)
    for i in range(20)
)
backends = ("torch-eager", "torch-script", "torch-compile", "ort", "openvino")
case = Case(models, backends, batch=tuple(range(1, 51)), threads=(1, 2))
seconds = []
for _ in range(3):
    begin = time.process_time()
    cells = matrix.expand(case)
    names = {(cell.id, cell.key) for cell in cells}
    seconds.append(time.process_time() - begin)
print(json.dumps({"cells": len(names), "seconds": min(seconds), "heavy": heavy()}))
"""


def test_ten_thousand_cells_cost_half_a_second_and_import_nothing() -> None:
    found = run(EXPAND)
    assert (found["cells"], found["heavy"]) == (10_000, [])
    assert found["seconds"] < 0.5


@pytest.mark.parametrize(
    "code",
    [
        "import harness",
        (
            "from harness import cli, plugin, asv_bridge; "
            "from harness.collection import discovery, user_models, selection; "
            "from harness.runner import schedule"
        ),
        (
            "from harness.collection import discovery\n"
            "discovery.entries(discovery.find(['benchmarks']), '')"
        ),
        (
            "from harness.core import registry\n"
            "assert len([registry.find(name) for name in registry.rows()]) > 5"
        ),
        (
            "from harness import cli\nfrom harness.core import registry\n"
            "for name in registry.rows(): registry.find(name).missing()"
        ),
    ],
    ids=["harness", "front ends", "benchmarks", "backends", "missing"],
)
def test_nothing_heavy_is_imported_before_it_is_needed(code: str) -> None:
    assert run(f"{code}\nprint(json.dumps(heavy()))") == []


BY_NAME = {
    **dict.fromkeys(("detection", "large", "matrix", "segmentation", "steps", "text"), 10),
    "preparing": 6,
}
"""The files that are run by their name, and how many cells each declares at least."""


@pytest.mark.parametrize("name", BY_NAME)
def test_what_is_run_by_its_name_is_declared_and_listed_without_a_runtime(name: str) -> None:
    """Most take hours, at night: no other test would see that a declaration in them is broken."""
    listing = f"found = discovery.entries(discovery.find(['benchmarks/{name}.py']), '')"
    cells, heavy = run(
        f"from harness.collection import discovery\n{listing}\n"
        "print(json.dumps([len({each.cell.id for each in found}), heavy()]))"
    )
    assert cells >= BY_NAME[name]
    assert heavy == []


def test_the_probe_sees_what_is_imported() -> None:
    assert run("import numpy\nprint(json.dumps(heavy()))") == ["numpy"]


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, spies.ROWS)


def attested(backend: str) -> Mapping[str, Any]:
    """What the process that timed a backend on the contract's model says of itself."""
    asked = Cell(TINY_CNN, backend)
    prepared = Preparer(300.0).prepare(asked)
    job = Job(
        "measure", asked, Measurement(plan()), folders=prepared.folders(), sys_path=shared_path()
    )
    reply = launcher.run(job, system_info.for_worker(1, {}), 60.0)
    assert reply.value is not None, reply
    assert reply.value["parity"]["verdict"] == "pass"
    return reply.value["attested"]  # type: ignore[no-any-return]


@pytest.mark.slow
@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(
    ("backend", "needs", "imported"),
    [
        ("spy-ort", "onnxruntime", ["onnxruntime"]),
        ("spy-openvino", "openvino", ["openvino"]),
        ("spy-torch", "torch", ["torch"]),
    ],
)
def test_a_process_that_times_one_runtime_imports_no_other(
    backend: str, needs: str, imported: list[str]
) -> None:
    for package in (needs, "torch"):
        pytest.importorskip(package)
    assert attested(backend)["details"]["imported"] == imported


@pytest.mark.slow
@pytest.mark.usefixtures("registered")
def test_every_node_runs_where_and_as_it_was_asked() -> None:
    """A share of nodes on another provider, or in another precision, is how a fallback looks."""
    for package in ("onnxruntime", "openvino", "torch"):
        pytest.importorskip(package)
    by_provider, by_precision = (
        attested("spy-ort")["placement"],
        attested("spy-openvino")["placement"],
    )
    assert set(by_provider) == {"CPUExecutionProvider"}
    assert by_provider["CPUExecutionProvider"] > 3
    assert by_precision["f32"] > 3
    assert not {"f16", "bf16", "i8", "u8"} & set(by_precision)


def test_spies_share_the_artifacts_of_what_they_watch() -> None:
    asked = Cell(TINY_CNN, "ort")
    assert spies.SpyOrt().artifact_key(asked) == spies.OnnxRuntime().artifact_key(asked)
