"""The precision of an ONNX file is read from its graph."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from evenbench.backends.onnx import precision as onnx_precision
from tests.unit.backends.onnx.graphs import BF16, DOUBLE, FLOAT, HALF, graph, node

SQUARE = np.eye(4)
QDQ = [
    node("QuantizeLinear", "x scale zero", "q"),
    node("DequantizeLinear", "q scale zero", "d"),
    node("DequantizeLinear", "w scale zero", "e"),
    node("MatMul", "d e", "y"),
]
QUANTISED = {"w": (SQUARE, TensorProto.INT8), "scale": (0.1, FLOAT), "zero": (0, TensorProto.INT8)}
DYNAMIC = [
    node("DynamicQuantizeLinear", "x", "q scale zero"),
    node("MatMulInteger", "q w zero", "i"),
    node("Cast", "i", "f", to=FLOAT),
    node("Mul", "f scale", "y"),
]


def test_a_plain_graph_is_fp32() -> None:
    assert (
        onnx_precision.precision_of_graph(
            graph([node("MatMul", "x w", "y")], {"w": (SQUARE, FLOAT)})
        )
        == "fp32"
    )


@pytest.mark.parametrize(("kind", "name"), [(HALF, "fp16"), (BF16, "bf16"), (DOUBLE, "fp64")])
def test_casts_at_the_boundary_do_not_hide_what_is_computed_inside(kind: int, name: str) -> None:
    nodes = [
        node("Cast", "x", "a", to=kind),
        node("MatMul", "a w", "b"),
        node("Cast", "b", "y", to=FLOAT),
    ]
    assert onnx_precision.precision_of_graph(graph(nodes, {"w": (SQUARE, kind)})) == name


def test_weights_that_are_cast_up_before_use_are_storage_only() -> None:
    nodes = [node("Cast", "w", "v", to=FLOAT), node("MatMul", "x v", "y")]
    assert onnx_precision.precision_of_graph(graph(nodes, {"w": (SQUARE, HALF)})) == "fp32"


def test_mixed_types_are_all_named() -> None:
    nodes = [
        node("Cast", "x", "a", to=HALF),
        node("MatMul", "a w", "b"),
        node("Cast", "b", "c", to=FLOAT),
        node("MatMul", "c v", "y"),
    ]
    assert (
        onnx_precision.precision_of_graph(graph(nodes, {"w": (SQUARE, HALF), "v": (SQUARE, FLOAT)}))
        == "fp16,fp32"
    )


def test_quantise_and_dequantise_pairs_are_int8_static() -> None:
    model = graph(QDQ, QUANTISED)
    assert onnx_precision.precision_of_graph(model) == "int8-static"
    assert onnx_precision.int8_share(model) == (1, 1)


def test_numbers_that_pass_through_a_pooling_stay_quantised() -> None:
    nodes = [
        *QDQ[:2],
        node("Relu", "d", "r"),
        node("DequantizeLinear", "w scale zero", "e"),
        node("MatMul", "r e", "y"),
    ]
    assert onnx_precision.precision_of_graph(graph(nodes, QUANTISED)) == "int8-static"


def test_weights_alone_in_int8_are_storage_only() -> None:
    nodes = [node("DequantizeLinear", "w scale zero", "e"), node("MatMul", "x e", "y")]
    assert onnx_precision.precision_of_graph(graph(nodes, QUANTISED)) == "fp32"


def test_ranges_found_at_run_time_are_int8_dynamic() -> None:
    model = graph(DYNAMIC, {"w": (SQUARE, TensorProto.INT8)})
    assert onnx_precision.precision_of_graph(model) == "int8-dynamic"
    assert onnx_precision.int8_share(model) == (1, 1)


def test_the_share_counts_layers_that_stayed_in_floats() -> None:
    last = [*DYNAMIC[:3], node("Mul", "f scale", "m"), node("MatMul", "m v", "y")]
    model = graph(last, {"w": (SQUARE, TensorProto.INT8), "v": (SQUARE, FLOAT)})
    assert onnx_precision.int8_share(model) == (1, 2)


def test_layers_inside_a_branch_count() -> None:
    inner = helper.make_graph(
        [node("MatMul", "a w", "b")], "then", [], [helper.make_tensor_value_info("b", HALF, [1, 4])]
    )
    other = helper.make_graph(
        [node("Identity", "a", "c")], "else", [], [helper.make_tensor_value_info("c", HALF, [1, 4])]
    )
    nodes = [
        node("Cast", "x", "a", to=HALF),
        node("If", "yes", "h", then_branch=inner, else_branch=other),
        node("Cast", "h", "y", to=FLOAT),
    ]
    model = graph(nodes, {"w": (SQUARE, HALF), "yes": (True, TensorProto.BOOL)})
    assert onnx_precision.precision_of_graph(model) == "fp16"


def test_without_a_layer_every_tensor_counts_and_integers_narrow_nothing() -> None:
    assert (
        onnx_precision.precision_of_graph(graph([node("Tanh", "x", "y")], {}, kind=HALF)) == "fp16"
    )
    assert (
        onnx_precision.precision_of_graph(
            graph([node("Abs", "x", "y")], {}, kind=TensorProto.INT64)
        )
        == "fp32"
    )


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (
            "[ONNXRuntimeError] : 9 : NOT_IMPLEMENTED : Could not find an implementation for "
            "Conv(22) node with name 'n'",
            "Conv (opset 22)",
        ),
        ("[ONNXRuntimeError] : 1 : FAIL : Load model failed", ""),
        ("Could not find an implementation for what you did", ""),
    ],
)
def test_a_missing_kernel_is_told_from_other_errors(message: str, said: str) -> None:
    assert onnx_precision.without_kernel(RuntimeError(message)) == (
        f"has no kernel for {said}" if said else ""
    )


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (
            "Load model from /a/model.onnx failed:/src/model.cc:256 Model(int) Unsupported model "
            "IR version: 14, max supported IR version: 13",
            "newer than this ONNX Runtime: Unsupported model IR version: 14, max supported IR "
            "version: 13",
        ),
        (
            "Load model from /a/model.onnx failed:Fatal error: Nope(-1) is not a registered op",
            "ONNX Runtime refuses the file: Fatal error: Nope(-1) is not a registered op",
        ),
        (
            "Exception during initialization: /src/gru.h:56 Gru(int) layout_ == 0 was false. "
            "Batchwise recurrent operations are not supported.",
            "ONNX Runtime refuses the graph: Batchwise recurrent operations are not supported.",
        ),
        ("Non-zero status code returned while running Reshape node", ""),
    ],
)
def test_a_file_that_the_runtime_refuses_is_told_from_other_errors(words: str, reason: str) -> None:
    assert onnx_precision.refused_file(RuntimeError(words)) == reason
