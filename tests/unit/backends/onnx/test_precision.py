"""What precision an ONNX file has is read from its graph, and what makes it another is decided by
the cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from backends.onnx import precision as onnx_precision
from harness import Cell
from tests.unit.builders import cell, product

FLOAT, HALF, BF16, DOUBLE = (
    TensorProto.FLOAT,
    TensorProto.FLOAT16,
    TensorProto.BFLOAT16,
    TensorProto.DOUBLE,
)


def graph(
    nodes: Sequence[Any], constants: dict[str, tuple[Any, int]], kind: int = FLOAT, opset: int = 22
) -> onnx.ModelProto:
    """x [1, 4] in, y out, both of `kind`; constants by name as (array, element type)."""
    tensors = [
        helper.make_tensor(name, of, np.shape(array), np.ravel(array))
        for name, (array, of) in constants.items()
    ]
    ends = [
        helper.make_tensor_value_info("x", kind, [1, 4]),
        helper.make_tensor_value_info("y", kind, [1, None]),
    ]
    made = helper.make_graph(list(nodes), "g", ends[:1], ends[1:], tensors)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def node(kind: str, takes: str, makes: str, **more: Any) -> Any:
    return helper.make_node(kind, takes.split(), makes.split(), **more)


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
            "[ONNXRuntimeError] : 9 : NOT_IMPLEMENTED : Could not find an implementation for Conv(22) node with name 'n'",
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


def low(precision: str, device: str = "cpu", **options: Any) -> Cell:
    return cell("ort", precision=precision, device=device, options=tuple(options.items()))


def test_the_device_decides_how_activations_are_quantised_unless_the_case_does() -> None:
    assert onnx_precision.key(low("int8-static"))["activations"] == "u8 asymmetric"
    assert onnx_precision.key(low("int8-static", "cuda"))["activations"] == "s8 symmetric"
    chosen, asked = low("int8-static", activations="s8"), low("int8-static", "cuda")
    assert onnx_precision.key(chosen)["activations"] == onnx_precision.key(asked)["activations"]


def test_every_setting_of_a_conversion_is_in_its_key() -> None:
    assert onnx_precision.key(low("fp32")) == {}
    keys = [onnx_precision.key(low(precision)) for precision in onnx_precision.PRECISIONS[1:]]
    assert all(key["by"] and key["version"] for key in keys)
    assert onnx_precision.key(low("int8-static")) != onnx_precision.key(
        low("int8-static", ranges="entropy")
    )


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (
            low("int8-static", ranges="guess"),
            "ranges is 'minmax' or 'entropy' or 'percentile', not 'guess'",
        ),
        (
            low("fp16", activations="u8"),
            "activations is an option of int8-static, and means nothing at fp16",
        ),
        (low("int8-static", activations="s8"), ""),
        (low("fp16"), ""),
        (
            cell("ort", model=product(build="", file="own.onnx"), precision="bf16"),
            "bf16 is made by PyTorch's exporter from a module",
        ),
        (cell("ort", model=product(build="", file="own.onnx"), precision="fp16"), ""),
    ],
)
def test_what_cannot_be_converted_says_why(made: Cell, reason: str) -> None:
    assert onnx_precision.refuses(made).startswith(reason)
    assert bool(onnx_precision.refuses(made)) is bool(reason)


@pytest.mark.parametrize(
    ("flags", "device", "wanted"),
    [
        (["avx2"], "cpu", True),
        (["avx2", "avx512_vnni"], "cpu", False),
        (["avx2", "avx_vnni"], "cpu", False),
        (["asimd"], "cpu", False),
    ],
)
def test_weights_lose_a_bit_only_where_their_products_would_overflow(
    flags: list[str], device: str, wanted: bool
) -> None:
    assert onnx_precision.saturates(flags, device) is wanted
    assert not onnx_precision.saturates(flags, "cuda")


def test_a_missing_converter_is_named_except_in_another_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(onnx_precision, "absent", lambda package: True)
    assert "pip install 'evenbench[ort]'" in onnx_precision.lacks(low("int8-static"))
    assert onnx_precision.lacks(low("fp32")) == onnx_precision.lacks(low("bf16")) == ""
    assert onnx_precision.lacks(cell("openvino@2025.4", precision="int8-static")) == ""


def test_conversions_leave_names_and_types_of_the_boundary_alone(tmp_path: Any) -> None:
    weights = np.random.default_rng(0).standard_normal((4, 4))
    for precision in ("fp16", "int8-dynamic", "int8-static"):
        file, samples = tmp_path / f"{precision}.onnx", tmp_path / "x.npy"
        onnx.save(graph([node("MatMul", "x w", "y")], {"w": (weights, FLOAT)}, opset=20), str(file))
        np.save(samples, np.random.default_rng(1).standard_normal((5, 1, 4)).astype(np.float32))
        onnx_precision.convert(file, low(precision), {"x": samples})
        made = onnx.load(str(file))
        assert [
            (value.name, value.type.tensor_type.elem_type)
            for value in (*made.graph.input, *made.graph.output)
        ] == [
            ("x", FLOAT),
            ("y", FLOAT),
        ]
        assert onnx_precision.precision_of_graph(made) == precision


def test_a_graph_without_linear_layers_is_not_quantised_dynamically(tmp_path: Any) -> None:
    from harness import Unsupported

    file = tmp_path / "relu.onnx"
    onnx.save(graph([node("Relu", "x", "y")], {}, opset=20), str(file))
    with pytest.raises(
        Unsupported, match="int8-dynamic quantises linear layers, and product has none"
    ):
        onnx_precision.convert(file, low("int8-dynamic"), {})


def test_bf16_folds_batch_norms_before_the_weights_are_cast() -> None:
    import torch

    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)).eval()
    images = torch.randn(2, 3, 8, 8)
    made = onnx_precision.narrowed(module, torch.bfloat16)
    assert made(images).dtype == torch.float32
    assert not [child for child in made.modules() if isinstance(child, torch.nn.BatchNorm2d)]
    assert torch.allclose(made(images), module(images), atol=0.05)
    assert not torch.equal(made(images), module(images))
    assert next(module.parameters()).dtype == torch.float32, "the module itself was changed"
