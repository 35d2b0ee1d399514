"""The golden of ONNX files computes in float64, says where it cannot, and a graph that it cannot
run is refused in words.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from evenbench.backends.onnx import float64
from evenbench.backends.onnx.reference_evaluator import OnnxEvaluator, OnnxReference
from evenbench.harness import Cell, Model, TensorSpec, Unsupported
from evenbench.harness.core.session import Session

X = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)


def model_of(
    nodes: list[Any],
    constants: list[Any] = (),
    makes: int = TensorProto.FLOAT,
    opset: int = 20,
    **more: Any,
) -> onnx.ModelProto:  # type: ignore[assignment]
    ends = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [3, 4]),
        helper.make_tensor_value_info("y", makes, None),
    ]
    made = helper.make_graph(nodes, "g", ends[:1], ends[1:], list(constants))
    return helper.make_model(
        made,
        opset_imports=[helper.make_opsetid("", opset), helper.make_opsetid("com.other", 1)],
        ir_version=10,
    )


def session(
    backend: type[OnnxReference] | type[OnnxEvaluator], made: onnx.ModelProto, folder: Path
) -> Session:
    onnx.save(made, str(folder / "model.onnx"))
    model = Model(
        "own",
        file="own.onnx",
        inputs=(TensorSpec("x", (3, 4)),),
        outputs=(TensorSpec("y", (3, 4)),),
    )
    return backend().load(folder, Cell(model, backend.name))


def answer(
    backend: type[OnnxReference] | type[OnnxEvaluator], made: onnx.ModelProto, folder: Path
) -> Any:
    loaded = session(backend, made, folder)
    loaded.bind({"x": X})
    loaded.step()
    return loaded.fetch()["y"]


WEIGHTS = helper.make_tensor(
    "w", TensorProto.FLOAT, [4, 4], np.linspace(-1, 1, 16, dtype=np.float32)
)
EXACT = X.astype(np.float64) @ np.linspace(-1, 1, 16, dtype=np.float32).astype(np.float64).reshape(
    4, 4
)


def test_the_golden_is_exact_and_its_yardstick_has_the_files_own_error(tmp_path: Path) -> None:
    made = model_of([helper.make_node("MatMul", ["x", "w"], ["y"])], [WEIGHTS])
    right, own = answer(OnnxReference, made, tmp_path), answer(OnnxEvaluator, made, tmp_path)
    assert (right.dtype, own.dtype) == (np.float64, np.float32)
    assert np.array_equal(right, EXACT)
    assert 0 < np.abs(own - EXACT).max() < 1e-6


def test_casts_and_constants_inside_do_not_narrow_the_golden(tmp_path: Path) -> None:
    """A graph that was converted to fp16 is judged with fp16's weights, but in exact arithmetic."""
    half = helper.make_tensor(
        "h", TensorProto.FLOAT16, [4, 4], np.linspace(-1, 1, 16, dtype=np.float16)
    )
    nodes = [
        helper.make_node("Cast", ["x"], ["a"], to=TensorProto.FLOAT16),
        helper.make_node("MatMul", ["a", "h"], ["b"]),
        helper.make_node("Constant", [], ["c"], value_float=0.1),
        helper.make_node("Cast", ["b"], ["d"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["d", "c"], ["y"]),
    ]
    wanted = X.astype(np.float64) @ np.linspace(-1, 1, 16, dtype=np.float16).astype(
        np.float64
    ).reshape(4, 4) + np.float64(np.float32(0.1))
    assert np.array_equal(answer(OnnxReference, model_of(nodes, [half]), tmp_path), wanted)


def test_constants_inside_branches_are_widened_too(tmp_path: Path) -> None:
    branch = [
        helper.make_graph(
            [
                helper.make_node("Constant", [], ["k"], value_floats=[value]),
                helper.make_node("Add", ["x", "k"], ["z"]),
            ],
            "b",
            [],
            [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)],
        )
        for value in (0.1, 0.2)
    ]
    yes = helper.make_tensor("yes", TensorProto.BOOL, [], [True])
    nodes = [helper.make_node("If", ["yes"], ["y"], then_branch=branch[0], else_branch=branch[1])]
    assert np.array_equal(
        answer(OnnxReference, model_of(nodes, [yes]), tmp_path),
        X.astype(np.float64) + np.float64(np.float32(0.1)),
    )


def test_integers_stay_integers(tmp_path: Path) -> None:
    made = model_of([helper.make_node("ArgMax", ["x"], ["y"], axis=1)], makes=TensorProto.INT64)
    found = answer(OnnxReference, made, tmp_path)
    assert found.dtype == np.int64
    assert np.array_equal(found[:, 0], X.argmax(1))


def test_a_quantised_graph_keeps_its_steps(tmp_path: Path) -> None:
    scale = helper.make_tensor("s", TensorProto.FLOAT, [], [0.25])
    zero = helper.make_tensor("o", TensorProto.INT8, [], [0])
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "o"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "o"], ["y"]),
    ]
    assert np.array_equal(
        answer(OnnxReference, model_of(nodes, [scale, zero]), tmp_path), np.rint(X / 0.25) * 0.25
    )


@pytest.mark.parametrize(("kind", "domain"), [("Nope", ""), ("FusedMatMul", "com.other")])
def test_an_operator_that_no_judge_has_is_unsupported_and_named(
    kind: str, domain: str, tmp_path: Path
) -> None:
    made = model_of([helper.make_node(kind, ["x"], ["y"], domain=domain)])
    with pytest.raises(
        Unsupported,
        match=rf"ONNX's reference evaluator cannot run .*{kind}.*; "
        rf"ONNX Runtime without optimisation refuses the file: .*{kind}",
    ):
        session(OnnxReference, made, tmp_path)


def test_an_operator_that_the_evaluator_narrows_is_named_in_the_verdict(tmp_path: Path) -> None:
    plain = model_of([helper.make_node("Tanh", ["x"], ["y"])])
    narrow = model_of([helper.make_node("Einsum", ["x"], ["y"], equation="ij->ji")])
    golden = OnnxReference()
    assert (
        golden.kind_of(session(OnnxReference, plain, tmp_path))
        == "ONNX's own reference evaluator in float64"
    )
    assert golden.kind_of(session(OnnxReference, narrow, tmp_path)).endswith(
        "in float64, but for Einsum in float32"
    )


def test_widening_changes_a_copy_only() -> None:
    made = model_of([helper.make_node("MatMul", ["x", "w"], ["y"])], [WEIGHTS])
    before = made.SerializeToString()
    float64.widened(made)
    assert made.SerializeToString() == before


def test_both_attest_what_they_compute_in(tmp_path: Path) -> None:
    made = model_of([helper.make_node("MatMul", ["x", "w"], ["y"])], [WEIGHTS])
    assert session(OnnxReference, made, tmp_path).attest().precision == "fp64"
    assert session(OnnxEvaluator, made, tmp_path).attest().precision == "fp32"
