"""All backends of a comparison are recorded with one input digest, and are really bound to the
bytes that it names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from evenbench.backends.contract_model import TINY_CNN
from evenbench.harness import Cell, Model
from evenbench.harness.core import artifact_store
from evenbench.harness.core.cases import Entry
from evenbench.harness.runner.schedule import Run
from tests.meta import spies
from tests.unit.builders import ROWS, cell, plan, product, register, work_here


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The numpy backends, in this process and with a cache of their own."""
    monkeypatch.setenv(artifact_store.VARIABLE, str(tmp_path / "cache"))
    register(monkeypatch, f"{ROWS},{spies.ROWS}")
    work_here(monkeypatch)


def lines(cells: Sequence[Cell], folder: Path) -> list[Mapping[str, Any]]:
    asked = [Entry(made) for made in cells]
    found = Run(asked, plan(timeout_seconds=300.0), folder / "results").measure(asked)
    assert [line["outcome"] for line in found] == ["ok"] * len(asked), [
        line["reason"] for line in found
    ]
    return found


def bound(found: Sequence[Mapping[str, Any]]) -> set[tuple[str, ...]]:
    return {tuple(line["attested"]["details"]["bound"]) for line in found}


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("batch", [1, 2, 7])
def test_one_digest_and_the_same_bytes_for_every_backend(batch: int, tmp_path: Path) -> None:
    found = lines(
        [cell(name, batch=batch) for name in ("spy-product", "spy-twin", "spy-null")], tmp_path
    )
    assert len({line["input_sha256"] for line in found}) == 1
    (digests,) = bound(found)
    assert len(digests) == found[0]["inputs"]["batches"] >= 3
    assert {line["parity"]["input_sha256"] for line in found if line["parity"]} == {
        found[0]["input_sha256"]
    }


@pytest.mark.usefixtures("small")
def test_other_inputs_are_another_digest_and_other_bytes(tmp_path: Path) -> None:
    other: Model = product(inputs_from="harness.inputs:standard_normal")
    found = lines([cell("spy-product"), cell("spy-product", model=other)], tmp_path)
    assert len({line["input_sha256"] for line in found}) == 2
    assert len(bound(found)) == 2


@pytest.mark.slow
def test_real_runtimes_get_the_same_bytes_and_onnx_ones_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("torch", "onnxruntime", "openvino"):
        pytest.importorskip(package)
    register(monkeypatch, spies.ROWS)
    found = lines(
        [Cell(TINY_CNN, name, batch=2) for name in ("spy-ort", "spy-openvino", "spy-torch")],
        tmp_path,
    )
    assert len({line["input_sha256"] for line in found}) == 1
    assert len(bound(found)) == 1
    ort, openvino, torch = (line["artifact_sha256"] for line in found)
    assert ort == openvino != torch
