"""The contract of the runtimes for boards and phones, and what each must not hide."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evenbench.backends import contract_model
from evenbench.backends.contract_model import TINY_CNN
from evenbench.backends.edge.backend import ConvertingBackend
from evenbench.backends.onnx import export
from evenbench.harness import Cell, Model, TensorSpec, Unsupported
from evenbench.harness.core import registry
from evenbench.harness.testing import BackendContract
from evenbench.harness.testing.kit import Kit


def with_relu() -> Any:
    from torch import nn

    network = contract_model.build()
    network[7] = nn.ReLU()
    return network


WITH_RELU = replace(TINY_CNN, name="tiny_cnn_relu", build=with_relu)
"""The contract's network without GELU, of which MNN computes an approximation."""


class TestTract(BackendContract):
    name = "tract"
    threads = 1


class TestOpenCvDnn(BackendContract):
    name = "opencv-dnn"


class TestMnn(BackendContract):
    name = "mnn"
    model = WITH_RELU


class TestNcnn(BackendContract):
    name = "ncnn"


class TestIree(BackendContract):
    name = "iree"


@pytest.mark.nightly  # lowering imports ExecuTorch's compiler for every batch
class TestExecuTorch(BackendContract):
    name = "executorch"


def test_executorch_runs_in_xnnpack_and_in_its_own_kernels(tmp_path: Path) -> None:
    for kernels, provider in (("xnnpack", "XnnpackBackend"), ("portable", "kernels")):
        kit = Kit("executorch", TINY_CNN, "fp32", "cpu", tmp_path)
        kit.template = replace(kit.template, options=(("kernels", kernels),))
        line = kit.measured()
        assert line["outcome"] == "ok", line["reason"]
        assert line["attested"]["providers"][0] == provider


@pytest.mark.nightly
@pytest.mark.parametrize("precision", ["int8-static", "int8-dynamic"])
def test_executorch_computes_layers_in_int8(precision: str, tmp_path: Path) -> None:
    from benchmarks.models import DIGITS_CNN

    line = Kit("executorch", DIGITS_CNN, precision, "cpu", tmp_path).measured()
    assert line["outcome"] == "ok", line["reason"]
    assert line["attested"]["precision"] == precision


def test_iree_names_an_operator_that_it_lacks(strange: Path, tmp_path: Path) -> None:
    backend = registry.find("iree")
    assert isinstance(backend, ConvertingBackend)
    with pytest.raises(Unsupported, match="Strange"):
        backend.convert(strange, replace(CELL, backend="iree"), tmp_path)


def test_the_approximate_gelu_of_mnn_is_a_mismatch(tmp_path: Path) -> None:
    line = Kit("mnn", TINY_CNN, "fp32", "cpu", tmp_path).measured()
    assert line["outcome"] == "mismatch", line["reason"]


def test_tract_on_two_threads_is_refused() -> None:
    reason = registry.find("tract").supports(Cell(TINY_CNN, "tract", threads=2))
    assert reason == "tract computes in one thread, not 2; set threads=(1,) in the case"


def test_an_unknown_engine_is_refused() -> None:
    cell = Cell(TINY_CNN, "opencv-dnn", options=(("engine", "ort"),))
    assert "engine is auto, classic, new, not 'ort'" in registry.find("opencv-dnn").supports(cell)


@pytest.fixture
def strange(tmp_path: Path) -> Path:
    """An ONNX file with an operator of nobody."""
    import onnx
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 4]) for n in "xy")
    node = helper.make_node("Strange", ["x"], ["y"], domain="com.example")
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)]
    graph = helper.make_graph([node], "strange", [x], [y])
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / export.FILE)
    return tmp_path / export.FILE


CELL = Cell(
    Model(
        "strange",
        file="strange.onnx",
        inputs=(TensorSpec("x", (1, 4)),),
        outputs=(TensorSpec("y", (1, 4)),),
    ),
    "tract",
    threads=1,
)


@pytest.mark.parametrize("engine", ["auto", "classic", "new"])
def test_opencv_names_an_operator_that_it_lacks(strange: Path, engine: str) -> None:
    cell = replace(CELL, backend="opencv-dnn", options=(("engine", engine),))
    expected = "engine=classic names the operator" if engine == "new" else "com.example.Strange"
    with pytest.raises(Unsupported, match=expected):
        registry.find("opencv-dnn").load(strange.parent, cell)


def test_tract_names_an_operator_that_it_lacks(strange: Path) -> None:
    with pytest.raises(Unsupported, match=r"Unimplemented\(Strange\)") as refusal:
        registry.find("tract").load(strange.parent, CELL)
    assert "backtrace" not in str(refusal.value)


@pytest.mark.parametrize("name", ["mnn", "ncnn"])
def test_a_converter_names_an_operator_that_it_lacks(
    strange: Path, name: str, tmp_path: Path
) -> None:
    backend = registry.find(name)
    cell = replace(CELL, backend=name)
    into = tmp_path / "converted"
    into.mkdir()
    assert isinstance(backend, ConvertingBackend)

    def convert_and_load() -> None:
        backend.convert(strange, cell, into)
        backend.load(into, cell)

    with pytest.raises(Unsupported, match="Strange"):
        convert_and_load()
