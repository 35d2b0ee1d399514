"""Axes that an exported ONNX file leaves open, and exporters or runtimes that fix them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from onnx import TensorProto, helper

from evenbench.backends.contract_model import TINY_CNN
from evenbench.backends.onnx import dynamic_axes, export
from evenbench.backends.onnxruntime.backend import OnnxRuntime
from evenbench.backends.openvino.backend import OpenVino
from evenbench.harness import BATCH, Model, TensorSpec, Unsupported
from evenbench.harness.core import registry
from tests.unit.backends.onnx.test_exporters import cell


def test_a_batch_that_nobody_declared_cannot_be_left_open() -> None:
    fixed = replace(TINY_CNN, inputs=(TensorSpec("image", (1, 3, 16, 16)),))
    assert "no input of tiny_cnn declares a batch axis" in OnnxRuntime().supports(
        cell(model=fixed, dynamic="batch")
    )


@pytest.mark.parametrize("name", ["cpp-ort", "ctypes-ort", "cpp-openvino", "ort-openvino", "tvm"])
def test_runtimes_whose_sessions_have_one_size_do_not_take_an_open_batch(name: str) -> None:
    assert f"{name} has no option dynamic" in registry.find(name).supports(
        replace(cell(dynamic="batch"), backend=name)
    )


def test_an_open_batch_is_another_file_for_both_runtimes_and_a_file_of_ones_own_is_not() -> None:
    fixed, left_open = cell(), cell(dynamic="batch")
    assert export.key(left_open) == {**export.key(fixed), "dynamic": "batch"}
    assert OpenVino().artifact_key(
        replace(left_open, backend="openvino")
    ) == OnnxRuntime().artifact_key(left_open)
    assert export.names_of(fixed) != export.names_of(left_open)
    own = Model("own", file="own.onnx", inputs=TINY_CNN.inputs, outputs=TINY_CNN.outputs)
    assert OnnxRuntime().supports(cell(model=own, dynamic="batch")) == ""
    assert export.key(cell(model=own, dynamic="batch")) == export.key(cell(model=own))


def of_size(height: int, width: int, **more: Any) -> Model:
    specs = {
        "inputs": (TensorSpec("image", (BATCH, 3, height, width)),),
        "outputs": (TensorSpec("out", (BATCH, height // 2, width // 2)),),
    }
    return replace(TINY_CNN, name=f"of_{height}", **specs, **more)


WIDE = of_size(16, 16, sizes=(of_size(16, 32),))
"""Its width changes, and so does that of its answer."""


BOTH = ((0, 3), (0, 2))


@pytest.mark.parametrize(
    ("dynamic", "image", "out"),
    [("batch", (0,), (0,)), ("size", (3,), (2,)), ("batch,size", *BOTH), ("size,batch", *BOTH)],
)
def test_what_is_left_open_are_the_axes_that_change(
    dynamic: str, image: tuple[int, ...], out: tuple[int, ...]
) -> None:
    asked = cell(model=WIDE, dynamic=dynamic)
    assert (
        OnnxRuntime().supports(asked)
        == OpenVino().supports(replace(asked, backend="openvino"))
        == ""
    )
    assert [dynamic_axes.open_axes(asked, spec) for spec in (*WIDE.inputs, *WIDE.outputs)] == [
        image,
        out,
    ]
    assert dynamic_axes.labels(asked) == tuple(
        f"any {what}" for what in ("batch", "size") if what in dynamic
    )


def test_files_that_leave_other_axes_open_are_other_files() -> None:
    taller = replace(WIDE, sizes=(of_size(16, 32), of_size(32, 16)))
    left = [cell(model=WIDE, dynamic=each) for each in ("batch", "size", "batch,size")]
    asked = [cell(model=WIDE), *left, cell(model=taller, dynamic="size")]
    keys = [export.key(each).get("dynamic") for each in asked]
    assert keys[:3] == [None, "batch", {"image": (3,), "out": (2,)}]
    assert len({repr(each) for each in keys}) == len(keys)
    assert len({export.names_of(each) for each in asked[:4]}) == 4


def test_an_exporter_is_told_a_name_for_each_open_axis() -> None:
    named = [
        dynamic_axes._named_axes(cell(model=WIDE, dynamic="batch,size"), spec)
        for spec in (*WIDE.inputs, *WIDE.outputs)
    ]
    assert named == [{0: "batch", 3: "image_3"}, {0: "batch", 2: "out_2"}]


def test_an_exporter_that_fixed_a_size_all_the_same_is_told() -> None:
    asked = cell(model=WIDE, dynamic="size")

    def made(width: int | str) -> Any:
        kind, value = TensorProto.FLOAT, helper.make_tensor_value_info
        ends = value("image", kind, [1, 3, 16, "image_3"]), value("out", kind, [1, 8, width])
        return helper.make_graph(
            [helper.make_node("Identity", ["image"], ["out"])], "g", ends[:1], ends[1:]
        )

    dynamic_axes.check_exported(made("image_3//2"), asked, "dynamo")
    with pytest.raises(
        Unsupported, match="requested dynamic=size, but exporter dynamo fixed axis 2 of out to 8"
    ):
        dynamic_axes.check_exported(made(8), asked, "dynamo")


def test_a_network_that_fixed_a_size_when_it_was_loaded_is_told() -> None:
    asked = cell(model=WIDE, dynamic="size")
    dynamic_axes.check_left_open(asked, {"image": [1, 3, 16, "image_3"]})
    with pytest.raises(
        Unsupported,
        match=r"dynamic=size, but the loaded network takes image of \[1, 3, 16, 16\] only",
    ):
        dynamic_axes.check_left_open(asked, {"image": [1, 3, 16, 16]})


def graph(*sizes: int | str) -> Any:
    """A graph whose input and output have these first sizes."""
    names = ("image", "logits")
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [size, 10])
        for name, size in zip(names, sizes, strict=True)
    ]
    return helper.make_graph(
        [helper.make_node("Identity", names[:1], names[1:])], "g", ends[:1], ends[1:]
    )


def test_an_exporter_that_fixed_the_batch_all_the_same_is_told() -> None:
    dynamic_axes.check_exported(graph("batch", "batch"), cell(dynamic="batch"), "dynamo")
    with pytest.raises(Unsupported, match="exporter dynamo fixed the batch of logits to 2"):
        dynamic_axes.check_exported(graph("batch", 2), cell(dynamic="batch"), "dynamo")
