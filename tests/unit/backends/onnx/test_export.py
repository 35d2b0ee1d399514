"""An ONNX file says what it was made from, and whatever it says is part of its key."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from benchmarks.models import DIGITS_CNN, RESNET18
from evenbench.backends.onnx import export
from evenbench.harness import Cell, Model, Source

SHA, CALIBRATION = "a" * 64, "c" * 64


def source(model: Model, folder: Path = Path("."), calibration: str = "") -> Source:
    return Source(model, folder, SHA, {}, {}, calibration)


def told(cell: Cell, calibration: str = "") -> dict[str, str]:
    found = export.metadata(source(cell.model, calibration=calibration), cell)
    assert all(name.startswith(export.METADATA) for name in found)
    return {name.removeprefix(export.METADATA): value for name, value in found.items()}


def test_the_preprocessing_travels_with_the_model_step_by_step() -> None:
    recipe = json.loads(told(Cell(RESNET18, "ort"))["recipe"])
    assert recipe["name"] == "imagenet_224"
    assert [step["step"] for step in recipe["steps"]] == [
        "Decode",
        "Resize",
        "CenterCrop",
        "ToArray",
        "Normalise",
        "Layout",
    ]
    assert recipe["steps"][1] == {
        "step": "Resize",
        "size": 256,
        "antialias": True,
        "exact": False,
        "filter": "bilinear",
    }


def test_what_does_not_apply_is_left_out() -> None:
    found = told(Cell(DIGITS_CNN, "ort"))
    assert sorted(found) == ["exporter", "labels", "model", "opset", "precision", "weights_sha256"]
    assert (found["model"], found["precision"], found["weights_sha256"]) == (
        "digits_cnn",
        "fp32",
        SHA,
    )


def test_an_int8_file_names_its_calibration_and_its_conversion() -> None:
    found = told(Cell(DIGITS_CNN, "ort", "int8-static"), CALIBRATION)
    assert found["calibration_sha256"] == CALIBRATION
    assert (
        json.loads(found["conversion"])
        == export.key(Cell(DIGITS_CNN, "openvino", "int8-static"))["conversion"]
    )


@pytest.mark.parametrize(
    "change", [{"name": "other"}, {"labels": ("zero", "one")}, {"recipe": RESNET18.recipe}]
)
def test_what_the_file_says_decides_its_key(change: dict[str, Any]) -> None:
    assert export.key(Cell(replace(DIGITS_CNN, **change), "ort")) != export.key(
        Cell(DIGITS_CNN, "ort")
    )


def test_bf16_is_exported_with_the_first_opset_that_has_it() -> None:
    assert export.key(Cell(DIGITS_CNN, "ort", "bf16"))["opset"] == 22
    assert export.key(Cell(DIGITS_CNN, "ort"))["opset"] == 20


def own_file(folder: Path) -> Cell:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "xy"]
    weights = helper.make_tensor("w", TensorProto.FLOAT, [4, 4], range(16))
    made = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "g", ends[:1], ends[1:], [weights]
    )
    onnx.save(
        helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9),
        str(folder / export.FILE),
    )
    return Cell(Model("own", file=str(folder / export.FILE)), "ort")


def test_a_file_of_ones_own_is_copied_byte_for_byte(tmp_path: Path) -> None:
    cell = own_file(tmp_path)
    (tmp_path / "made").mkdir()
    export.export(source(cell.model, tmp_path), cell, tmp_path / "made")
    assert (tmp_path / "made" / export.FILE).read_bytes() == (tmp_path / export.FILE).read_bytes()


def test_a_converted_file_of_ones_own_says_so_and_leaves_the_original_alone(tmp_path: Path) -> None:
    cell = replace(own_file(tmp_path), precision="fp16")
    before = (tmp_path / export.FILE).read_bytes()
    (tmp_path / "made").mkdir()
    facts = export.export(source(cell.model, tmp_path), cell, tmp_path / "made")
    made = onnx.load(str(tmp_path / "made" / export.FILE))
    said = {entry.key: entry.value for entry in made.metadata_props}
    assert facts["precision"] == said["evenbench.precision"] == "fp16"
    assert said["evenbench.exporter"] == "none, the user's own file"
    assert (tmp_path / export.FILE).read_bytes() == before
