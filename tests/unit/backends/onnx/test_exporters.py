"""Which exporter and opset a case may choose for the shared ONNX file, and what that makes of its
key.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evenbench.backends.contract_model import TINY_CNN
from evenbench.backends.onnx import export, exporters
from evenbench.backends.onnxruntime.backend import OnnxRuntime
from evenbench.harness import Cell, Model, Source, own, seeded


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
            "opens the axes that differ between the sizes of a model, "
            "and tiny_cnn declares a single size; declare sizes=",
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
    assert "export options (opset) apply to modules, and own is a file" in OnnxRuntime().supports(
        cell(model=own, opset=18)
    )


def test_two_samples_are_exported_where_the_batch_is_open(tmp_path: Path) -> None:
    """An exporter takes a size of one for a constant."""
    spec, file = TINY_CNN.inputs[0], tmp_path / "image.npy"
    for batch, first in ((1, [0, 1]), (2, [0, 1]), (3, [0, 1])):
        np.save(file, np.arange(3 * batch).reshape(3, batch, 1))
        source = Source(TINY_CNN, tmp_path, "", {"image": file}, {})
        assert exporters._example(source, spec, any_batch=True).ravel().tolist() == first
        assert len(exporters._example(source, spec, any_batch=False)) == batch
    np.save(file, np.full((1, 1, 1), 7))
    assert exporters._example(source, spec, any_batch=True).ravel().tolist() == [7, 7]


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
        exporters._flag(Cell(mine, "ort"))
        == ", for a model of your own --option BACKEND:exporter=torchscript"
    )
    assert exporters._flag(Cell(replace(mine, weights=seeded(0)), "ort")) == ""


def test_what_an_exporter_refuses_is_told_by_its_first_error_and_the_other_one_is_named() -> None:
    caused = RuntimeError("Failed to export the model. This is step 1/3 of exporting")
    caused.__cause__ = ValueError(
        "\n  Could not guard on data-dependent expression Eq(u0, 1)\n\nand a page more"
    )
    assert exporters.error_message("dynamo", caused) == (
        "PyTorch's exporter 'dynamo' cannot export the model "
        "(ValueError: Could not guard on data-dependent expression Eq(u0, 1)); "
        "try exporter='torchscript'"
    )
    assert "(RuntimeError: RuntimeError)" in exporters.error_message("torchscript", RuntimeError())
