"""Which exporter and opset a case may choose for the shared ONNX file, and what that makes of its
key.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from backends.contract_model import TINY_CNN
from backends.onnx import export
from backends.onnxruntime.backend import OnnxRuntime
from backends.openvino.backend import OpenVino
from harness import BATCH, Cell, Model, Source, TensorSpec, Unsupported, own, seeded
from harness.core import registry


def cell(precision: str = "fp32", model: Model = TINY_CNN, **options: Any) -> Cell:
    return Cell(model, "ort", precision, options=tuple(options.items()))


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"opset": 18},
        {"opset": 23},
        {"exporter": "torchscript"},
        {"exporter": "torchscript", "opset": 13},
        {"dynamic": "batch"},
    ],
)
def test_what_an_exporter_writes_may_be_asked_for(asked: dict[str, Any]) -> None:
    assert OnnxRuntime().supports(cell(**asked)) == ""


@pytest.mark.parametrize(
    ("precision", "asked", "reason"),
    [
        ("fp32", {"opset": 17}, "exporter dynamo writes opsets 18 to 23 at fp32, not 17"),
        ("fp32", {"opset": "20"}, "not '20'"),
        ("fp32", {"opset": True}, "not True"),
        (
            "fp32",
            {"exporter": "torchscript", "opset": 21},
            "exporter torchscript writes opsets 13 to 20",
        ),
        ("fp32", {"exporter": "dynamite"}, "exporter is 'dynamo' or 'torchscript', not 'dynamite'"),
        (
            "bf16",
            {"exporter": "torchscript"},
            "bf16 needs opset 22, and exporter torchscript ends at 20",
        ),
        ("bf16", {"opset": 20}, "writes opsets 22 to 23 at bf16"),
        ("fp32", {"dynamic": "length"}, "dynamic is 'batch', 'size' or 'batch,size', not 'length'"),
        ("fp32", {"dynamic": "batch,length"}, "not 'batch,length'"),
        ("fp32", {"dynamic": ""}, "not ''"),
        ("fp32", {"dynamic": True}, "not True"),
        (
            "fp32",
            {"dynamic": "size"},
            "what differs between the sizes of a model, and tiny_cnn declares one; give it sizes=",
        ),
        (
            "fp32",
            {"dynamic": "batch", "iobinding": "on"},
            "allocates outputs before a step, and dynamic=batch accepts inputs of any size",
        ),
    ],
)
def test_what_it_does_not_write_is_unsupported_in_words(
    precision: str, asked: dict[str, Any], reason: str
) -> None:
    assert reason in OnnxRuntime().supports(cell(precision, **asked))


def test_a_file_of_ones_own_is_not_exported() -> None:
    own = Model("own", file="own.onnx")
    assert "own is a file of one's own" in OnnxRuntime().supports(cell(model=own, opset=18))


def test_a_batch_that_nobody_declared_cannot_be_left_open() -> None:
    fixed = replace(TINY_CNN, inputs=(TensorSpec("image", (1, 3, 16, 16)),))
    assert "no input of tiny_cnn declares one" in OnnxRuntime().supports(
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
    assert [export.open_axes(asked, spec) for spec in (*WIDE.inputs, *WIDE.outputs)] == [image, out]
    assert export.labels(asked) == tuple(
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
        export._named_axes(cell(model=WIDE, dynamic="batch,size"), spec)
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

    export._check_open(made("image_3//2"), asked)
    with pytest.raises(
        Unsupported, match="asked for dynamic=size, and exporter dynamo fixed axis 2 of out to 8"
    ):
        export._check_open(made(8), asked)


def test_a_network_that_fixed_a_size_when_it_was_loaded_is_told() -> None:
    asked = cell(model=WIDE, dynamic="size")
    export.check_left_open(asked, {"image": [1, 3, 16, "image_3"]})
    with pytest.raises(
        Unsupported,
        match=r"asked for dynamic=size, and the loaded network takes image of \[1, 3, 16, 16\] only",
    ):
        export.check_left_open(asked, {"image": [1, 3, 16, 16]})


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
    export._check_open(graph("batch", "batch"), cell(dynamic="batch"))
    with pytest.raises(Unsupported, match="exporter dynamo fixed the batch of logits to 2"):
        export._check_open(graph("batch", 2), cell(dynamic="batch"))


def test_two_samples_are_exported_where_the_batch_is_open(tmp_path: Path) -> None:
    """An exporter takes a size of one for a constant."""
    spec, file = TINY_CNN.inputs[0], tmp_path / "image.npy"
    for batch, first in ((1, [0, 1]), (2, [0, 1]), (3, [0, 1])):
        np.save(file, np.arange(3 * batch).reshape(3, batch, 1))
        source = Source(TINY_CNN, tmp_path, "", {"image": file}, {})
        assert export._example(source, spec, any_batch=True).ravel().tolist() == first
        assert len(export._example(source, spec, any_batch=False)) == batch
    np.save(file, np.full((1, 1, 1), 7))
    assert export._example(source, spec, any_batch=True).ravel().tolist() == [7, 7]


def test_each_choice_is_another_file_and_the_default_is_one() -> None:
    choices: list[dict[str, Any]] = [
        {},
        {"opset": 20},
        {"exporter": "dynamo"},
        {"opset": 18},
        {"exporter": "torchscript"},
    ]
    keys = [export.key(cell(**asked)) for asked in choices]
    assert keys[0] == keys[1] == keys[2]
    assert (keys[3]["opset"], keys[4]["exporter"], keys[4]["optimize"]) == (
        18,
        "torch.onnx torchscript",
        False,
    )


def test_how_a_model_of_ones_own_asks_for_the_other_exporter_is_told() -> None:
    mine = replace(TINY_CNN, weights=own())
    assert (
        export._as_a_flag(Cell(mine, "ort"))
        == ", of a model of your own --option BACKEND:exporter=torchscript"
    )
    assert export._as_a_flag(Cell(replace(mine, weights=seeded(0)), "ort")) == ""


def test_what_an_exporter_refuses_is_told_by_its_first_error_and_the_other_one_is_named() -> None:
    caused = RuntimeError("Failed to export the model. This is step 1/3 of exporting")
    caused.__cause__ = ValueError(
        "\n  Could not guard on data-dependent expression Eq(u0, 1)\n\nand a page more"
    )
    assert export.refused("dynamo", caused) == (
        "PyTorch's exporter 'dynamo' cannot take it (ValueError: Could not guard on data-dependent expression Eq(u0, 1)); "
        "the other one is exporter='torchscript'"
    )
    assert "(RuntimeError: RuntimeError)" in export.refused("torchscript", RuntimeError())
