"""The cell decides how an ONNX file is converted, and every setting is part of the key."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from evenbench.backends.onnx import conversion, precision, quantisation
from evenbench.harness import Cell, Unsupported
from tests.unit.backends.onnx.graphs import FLOAT, graph, node
from tests.unit.builders import cell, product


def low(precision: str, device: str = "cpu", **options: Any) -> Cell:
    model = product(calibration_from="tests.unit.builders:samples")
    return cell("ort", model, precision=precision, device=device, options=tuple(options.items()))


def test_the_device_decides_how_activations_are_quantised_unless_the_case_does() -> None:
    assert conversion.key(low("int8-static"))["activations"] == "u8 asymmetric"
    assert conversion.key(low("int8-static", "cuda"))["activations"] == "s8 symmetric"
    chosen, asked = low("int8-static", activations="s8"), low("int8-static", "cuda")
    assert conversion.key(chosen)["activations"] == conversion.key(asked)["activations"]


def test_every_setting_of_a_conversion_is_in_its_key() -> None:
    assert conversion.key(low("fp32")) == {}
    keys = [conversion.key(low(name)) for name in conversion.PRECISIONS[1:]]
    assert all(key["by"] and key["version"] for key in keys)
    assert conversion.key(low("int8-static")) != conversion.key(
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
            "activations is an option of int8-static, not of fp16",
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
    assert conversion.refuses(made).startswith(reason)
    assert bool(conversion.refuses(made)) is bool(reason)


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
    assert quantisation.saturates(flags, device) is wanted
    assert not quantisation.saturates(flags, "cuda")


def test_a_missing_converter_is_named_except_in_another_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(conversion, "absent", lambda package: True)
    assert "pip install 'evenbench[ort]'" in conversion.lacks(low("int8-static"))
    assert conversion.lacks(low("fp32")) == conversion.lacks(low("bf16")) == ""
    assert conversion.lacks(cell("openvino@2025.4", precision="int8-static")) == ""


def test_conversions_leave_names_and_types_of_the_boundary_alone(tmp_path: Any) -> None:
    weights = np.random.default_rng(0).standard_normal((4, 4))
    for name in ("fp16", "int8-dynamic", "int8-static"):
        file, samples = tmp_path / f"{name}.onnx", tmp_path / "x.npy"
        onnx.save(graph([node("MatMul", "x w", "y")], {"w": (weights, FLOAT)}, opset=20), str(file))
        np.save(samples, np.random.default_rng(1).standard_normal((5, 1, 4)).astype(np.float32))
        conversion.convert(file, low(name), {"x": samples})
        made = onnx.load(str(file))
        assert [
            (value.name, value.type.tensor_type.elem_type)
            for value in (*made.graph.input, *made.graph.output)
        ] == [
            ("x", FLOAT),
            ("y", FLOAT),
        ]
        assert precision.precision_of_graph(made) == name


def test_a_graph_without_linear_layers_is_not_quantised_dynamically(tmp_path: Any) -> None:
    file = tmp_path / "relu.onnx"
    onnx.save(graph([node("Relu", "x", "y")], {}, opset=20), str(file))
    with pytest.raises(
        Unsupported, match="int8-dynamic quantises linear layers, and product has none"
    ):
        conversion.convert(file, low("int8-dynamic"), {})


def test_bf16_folds_batch_norms_before_the_weights_are_cast() -> None:
    import torch

    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)).eval()
    images = torch.randn(2, 3, 8, 8)
    made = conversion.narrowed(module, torch.bfloat16)
    assert made(images).dtype == torch.float32
    assert not [child for child in made.modules() if isinstance(child, torch.nn.BatchNorm2d)]
    assert torch.allclose(made(images), module(images), atol=0.05)
    assert not torch.equal(made(images), module(images))
    assert next(module.parameters()).dtype == torch.float32, "the module itself was changed"
