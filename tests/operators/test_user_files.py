"""Files as people export them, judged as in a run: precisions, maps, absent inputs, state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper

from evenbench.harness.collection.user_model_flags import ModelFlags
from tests.operators import judged
from tests.unit.backends.onnx.graphs import HALF, graph, node
from tests.unit.backends.onnx.test_file_inputs import save
from tests.unit.backends.onnx.test_precision import QDQ, QUANTISED
from tests.unit.backends.onnx.test_value_outputs import optional, zip_map

pytestmark = pytest.mark.usefixtures("own_store")


@pytest.fixture
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENBENCH_CACHE", str(tmp_path / "store"))


def outcomes(file: Path, *runtimes: str, **flags: Any) -> dict[str, str]:
    given = ModelFlags(backends=runtimes or judged.RUNTIMES, threads=(1,), **flags)
    records = judged.of_file(file, {"case": file.stem, "operator": ""}, given)
    return {record["runtime"]: f"{record['outcome']} {record['reason']}" for record in records}


def written(model: Any, folder: Path) -> Path:
    onnx.save(model, str(folder / "model.onnx"))
    return folder / "model.onnx"


def test_a_quantised_file_and_an_fp16_file_run_as_they_are(tmp_path: Path) -> None:
    quantised = written(graph(QDQ, QUANTISED), tmp_path)
    assert outcomes(quantised) == {"ort": "ok ", "openvino": "ok "}
    (said,) = outcomes(quantised, "ort", precisions=("fp32",)).values()
    assert said.startswith("unsupported the file is stored in int8")
    weights = np.random.default_rng(0).normal(size=(4, 4))
    half = graph([node("MatMul", "x w", "y")], {"w": (weights, HALF)}, kind=HALF)
    assert outcomes(written(half, tmp_path)) == {"ort": "ok ", "openvino": "ok "}


def test_an_integer_graph_has_no_precision(tmp_path: Path) -> None:
    nodes = [helper.make_node("Add", ["x", "x"], ["y"])]
    file = save(tmp_path / "m.onnx", nodes, [("x", T.UINT8, [2, 8])], [("y", T.UINT8, [2, 8])])
    assert outcomes(file, "ort", ranges=("x=0..99",)) == {"ort": "ok "}


def test_a_zip_map_is_judged(tmp_path: Path) -> None:
    assert outcomes(zip_map(tmp_path / "m.onnx"), "ort") == {"ort": "ok "}


def test_an_absent_optional_input_is_judged(tmp_path: Path) -> None:
    file = optional(tmp_path / "m.onnx")
    assert outcomes(file, "ort", ranges=("x=absent",)) == {"ort": "ok "}


def test_a_stream_is_judged_on_two_runtimes(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Add", ["a", "h_in"], ["b"]),
        helper.make_node("Tanh", ["b"], ["h_out"]),
        helper.make_node("MatMul", ["h_out", "w"], ["y"]),
    ]
    weights = np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)
    shape = [1, 4]
    file = save(
        tmp_path / "m.onnx",
        nodes,
        [("x", T.FLOAT, shape), ("h_in", T.FLOAT, shape)],
        [("y", T.FLOAT, shape), ("h_out", T.FLOAT, shape)],
        [("w", weights)],
    )
    assert outcomes(file) == {"ort": "ok ", "openvino": "ok "}
