"""A user's file runs at its own precision, and attestation compares with that."""

from __future__ import annotations

from typing import Any

import pytest
from onnx import TensorProto

from evenbench.backends.onnx import file_precision
from evenbench.backends.onnx import precision as onnx_precision
from evenbench.harness import Case, Model, TensorSpec, UsageError
from evenbench.harness.core import registry
from evenbench.harness.core.types import Cell
from tests.unit.backends.onnx.graphs import DOUBLE, FLOAT, HALF, graph, node
from tests.unit.backends.onnx.test_precision import DYNAMIC, QDQ, QUANTISED, SQUARE

HALF_INSIDE = [
    node("Cast", "x", "a", to=HALF),
    node("MatMul", "a w", "b"),
    node("Cast", "b", "y", to=FLOAT),
]
CASTS = [node("Cast", "x", "a", to=HALF), node("Cast", "a", "y", to=FLOAT)]


@pytest.mark.parametrize(
    ("nodes", "constants", "kind", "stored"),
    [
        ([node("MatMul", "x w", "y")], {"w": (SQUARE, FLOAT)}, FLOAT, ""),
        ([node("MatMul", "x w", "y")], {"w": (SQUARE, HALF)}, HALF, "fp16"),
        ([node("MatMul", "x w", "y")], {"w": (SQUARE, DOUBLE)}, DOUBLE, "fp64"),
        (HALF_INSIDE, {"w": (SQUARE, HALF)}, FLOAT, "fp16,fp32"),
        (QDQ, QUANTISED, FLOAT, "int8,fp32"),
        (DYNAMIC, {"w": (SQUARE, TensorProto.INT8)}, FLOAT, "int8,fp32"),
        (CASTS, {}, FLOAT, "fp32,fp16"),
        ([node("Neg", "x", "y")], {}, TensorProto.INT64, ""),
        ([node("Identity", "x", "y")], {}, TensorProto.STRING, ""),
    ],
)
def test_the_precisions_of_a_file(nodes: Any, constants: Any, kind: int, stored: str) -> None:
    assert onnx_precision.stored(graph(nodes, constants, kind)) == stored


@pytest.mark.parametrize(
    ("asked", "ran", "in_file", "precision", "is_emulated"),
    [
        ("fp64", {"fp64"}, {"fp64"}, "fp64", False),
        ("fp64", {"fp32"}, {"fp64"}, "fp32", False),  # narrower than the file
        ("fp64", {"fp32", "fp64"}, {"fp64", "fp32"}, "fp64", False),
        ("fp16", {"fp32"}, {"fp16"}, "fp16", True),
        ("int8", {"int8", "fp32"}, {"int8", "fp32"}, "int8", False),
        ("int8", {"fp32"}, {"int8"}, "int8", True),
        ("fp32", {"fp32", "fp16"}, {"fp32", "fp16"}, "fp32", False),
        ("fp32", {"int8"}, {"fp32", "fp16"}, "int8", False),
        ("fp64", set(), {"fp64"}, "fp64", False),  # nothing was computed in floats
    ],
)
def test_a_file_runs_as_it_is_if_every_layer_has_a_precision_of_the_file(
    asked: str, ran: set[str], in_file: set[str], precision: str, is_emulated: bool
) -> None:
    executed, note = file_precision.executed(asked, ran, in_file)
    assert (executed, bool(note)) == (precision, is_emulated)


def of_file(stored: str) -> Model:
    x, y = TensorSpec("x", (1, 4)), TensorSpec("y", (1, 4))
    return Model("m", file="m.onnx", inputs=(x,), outputs=(y,), stored=stored)


@pytest.mark.parametrize(
    ("stored", "backend", "precision", "reason"),
    [
        ("int8,fp32", "ort", "int8", ""),
        ("fp64", "openvino", "fp64", ""),
        ("fp32,fp16", "ort", "fp32", ""),
        ("int8", "ort", "fp32", "the file is stored in int8"),
        ("int8", "ort", "int8-static", "the file is stored in int8"),
        ("fp64", "mnn", "fp64", "mnn runs files stored in"),
        ("", "ort", "int8", "ort runs fp32, tf32"),
    ],
)
def test_a_file_runs_at_its_own_precision_only(
    stored: str, backend: str, precision: str, reason: str
) -> None:
    said = registry.find(backend).supports(Cell(of_file(stored), backend, precision))
    assert said.startswith(reason)
    assert bool(said) == bool(reason)


def test_the_golden_and_its_yardstick_run_a_file_as_it_is() -> None:
    cell = Cell(of_file("fp16"), "ort", "fp16")
    golden = registry.golden_for(cell)
    assert registry.golden_cell(cell, golden.name).precision == "fp16"
    assert registry.golden_cell(Cell(of_file(""), "ort"), golden.name).precision == "fp32"


def test_a_case_names_the_precision_of_a_file() -> None:
    assert Case((of_file("int8"),), precisions=("int8",)).precisions == ("int8",)
    with pytest.raises(UsageError, match="a case names the kind of int8"):
        Case((of_file(""),), precisions=("int8",))
