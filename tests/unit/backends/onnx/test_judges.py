"""Graphs that ONNX's evaluator computes wrongly or not at all are judged by their right values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from evenbench.backends.onnx import judges
from evenbench.backends.onnx.reference_evaluator import OnnxReference
from evenbench.backends.onnx.unoptimised_runtime import UnoptimisedSession
from evenbench.harness import Cell, Model, TensorSpec
from evenbench.harness.core import registry
from evenbench.harness.measurement import golden as maker
from tests.unit.backends.onnx.test_evaluator_gaps import one_node

X = np.random.default_rng(0).standard_normal((3, 1, 3, 4, 4)).astype(np.float32)
WIDE = X.astype(np.float64)


def judged(model: onnx.ModelProto, shape: tuple[int, ...], folder: Path) -> tuple[Any, Any]:
    """The facts and the only output of the golden of a file, on the batches `X`."""
    onnx.save(model, str(folder / "model.onnx"))
    np.save(folder / "x.npy", X)
    name = model.graph.output[0].name
    declared = Model(
        "own",
        file="own.onnx",
        inputs=(TensorSpec("x", X.shape[1:]),),
        outputs=(TensorSpec(name, shape),),
    )
    golden = registry.find("onnx-reference")
    assert isinstance(golden, OnnxReference)
    facts = maker.make_golden(
        Cell(declared, "onnx-reference"), golden, folder, folder, {"fp32": folder}, folder
    )
    return facts, np.load(folder / "outputs.npz")[name]


def softmax_of_rows(x: Any) -> Any:
    """Softmax before opset 13, with axis=1: over all but the first dimension."""
    raised = np.exp(x - x.max(axis=(2, 3, 4), keepdims=True))
    return raised / raised.sum(axis=(2, 3, 4), keepdims=True)


def local_response(x: Any) -> Any:
    """LRN over three channels, alpha 1, beta 0.75, bias 1, from the operator's definition."""
    padded = np.pad(np.square(x), [(0, 0), (0, 0), (1, 1), (0, 0), (0, 0)])
    near = padded[:, :, :-2] + padded[:, :, 1:-1] + padded[:, :, 2:]
    return x / (1 + near / 3) ** 0.75


def test_softmax_of_old_opsets_is_judged_right(tmp_path: Path) -> None:
    model = one_node("Softmax", X[0], 11, {}, axis=1)
    facts, outputs = judged(model, (1, 3, 4, 4), tmp_path)
    assert np.allclose(outputs, softmax_of_rows(WIDE), rtol=1e-12)
    assert facts["kind"] == (
        "ONNX's own reference evaluator in float64, in agreement with "
        "ONNX Runtime without optimisation"
    )


def test_a_known_fault_leaves_the_runtime_and_the_witness(tmp_path: Path) -> None:
    model = one_node("LRN", X[0], 13, {}, size=3, alpha=1.0, beta=0.75)
    facts, outputs = judged(model, (1, 3, 4, 4), tmp_path)
    assert np.allclose(outputs, local_response(WIDE), rtol=1e-5)
    assert facts["kind"] == (
        "ONNX Runtime without optimisation, in the precision of the file, in agreement with "
        "OpenVINO in float32; ONNX's reference evaluator computes LRN wrongly"
    )


def test_an_operator_of_the_runtimes_own_is_judged_by_the_runtime(tmp_path: Path) -> None:
    node = helper.make_node("QuickGelu", ["x"], ["y"], domain="com.microsoft", alpha=1.0)
    model = one_node("Relu", X[0], 13, {})
    model.graph.node[0].CopyFrom(node)
    model.graph.output[0].name = "y"
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    facts, outputs = judged(model, (1, 3, 4, 4), tmp_path)
    assert np.allclose(outputs, WIDE / (1 + np.exp(-WIDE)), rtol=1e-5)
    assert facts["kind"].startswith(
        "ONNX Runtime without optimisation, in float64, in agreement with OpenVINO in float32; "
        "ONNX's reference evaluator cannot run the graph: Node type 'QuickGelu'"
    )


def test_an_operator_that_only_the_runtime_has_is_judged_by_it_alone(tmp_path: Path) -> None:
    model = one_node("Inverse", X[0], 13, {}, domain="com.microsoft")
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    facts, outputs = judged(model, (1, 3, 4, 4), tmp_path)
    assert np.allclose(outputs, np.linalg.inv(WIDE), rtol=1e-3)
    assert ", alone; ONNX's reference evaluator cannot run the graph" in facts["kind"]
    assert "OpenVINO" not in facts["kind"]


def test_a_random_graph_with_a_seed_is_explained(tmp_path: Path) -> None:
    model = one_node("RandomNormalLike", X[0], 13, {}, seed=1.0)
    facts, _ = judged(model, (1, 3, 4, 4), tmp_path)
    assert "draws random numbers (RandomNormalLike)" in facts["suspect"]


def test_a_yardstick_of_the_runtime_shows_the_cost_of_the_files_precision(tmp_path: Path) -> None:
    model = one_node("QuickGelu", X[0], 13, {}, domain="com.microsoft")
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    facts, _ = judged(model, (1, 3, 4, 4), tmp_path)
    assert list(facts["own_rmse"]) == ["fp32"]


def session(model: onnx.ModelProto, folder: Path, wide: bool = True) -> UnoptimisedSession:
    onnx.save(model, str(folder / "model.onnx"))
    declared = Model("own", file="own.onnx", inputs=(TensorSpec("x", X.shape[1:]),))
    return UnoptimisedSession(folder / "model.onnx", Cell(declared, "ort", threads=1), wide)


def test_the_runtime_computes_in_float64_where_it_has_kernels(tmp_path: Path) -> None:
    square = numpy_helper.from_array(np.eye(4, dtype=np.float32) / 3, "w")
    model = one_node("MatMul", X[0], 13, {"w": numpy_helper.to_array(square)})
    loaded = session(model, tmp_path)
    loaded.bind({"x": X[0]})
    loaded.step()
    answer = next(iter(loaded.fetch().values()))
    assert (answer.dtype, loaded.attest().precision) == (np.float64, "fp64")
    assert np.allclose(answer, WIDE[0] * np.float64(np.float32(1 / 3)), rtol=1e-14)


def test_a_kernel_that_refuses_float64_when_it_runs_gets_the_file_as_it_is(tmp_path: Path) -> None:
    constants = {"W": np.ones((1, 12, 16), np.float32), "R": np.ones((1, 12, 4), np.float32)}
    model = one_node("GRU", X[0], 14, constants, 2, hidden_size=4)
    model.graph.node.insert(0, helper.make_node("Reshape", ["x", "s"], ["flat"]))
    model.graph.node[1].input[0] = "flat"
    model.graph.initializer.append(numpy_helper.from_array(np.array([3, 1, 16]), "s"))
    loaded = session(model, tmp_path)
    loaded.bind({"x": X[0]})
    loaded.step()
    assert loaded.kind == "ONNX Runtime without optimisation, in the precision of the file"
    assert all(value.dtype == np.float32 for value in loaded.fetch().values())


def test_the_key_names_the_committee_and_its_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    before = judges.key()
    assert set(before) == {"committee", "onnx", "onnxruntime", "openvino"}
    monkeypatch.setattr(judges, "VERSION", judges.VERSION + 1)
    assert judges.key() != before
    assert registry.find("reference").judges_key(Cell(Model("m", build="a:b"), "ort")) == {}  # type: ignore[attr-defined]


def test_sequences_and_optionals_are_widened_inside() -> None:
    from evenbench.backends.onnx import float64

    tensor = helper.make_tensor_type_proto(TensorProto.FLOAT, [2])
    value = helper.make_value_info("s", helper.make_sequence_type_proto(tensor))
    graph = helper.make_graph([], "g", [value], [value])
    kind = float64.widened(helper.make_model(graph)).graph.input[0].type
    assert kind.WhichOneof("value") == "sequence_type"
    assert kind.sequence_type.elem_type.tensor_type.elem_type == TensorProto.DOUBLE
