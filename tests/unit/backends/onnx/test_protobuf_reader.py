"""An ONNX file read without the onnx package says what the onnx package says."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest

from evenbench.backends.onnx import protobuf_reader

onnx = pytest.importorskip("onnx")
helper, TensorProto = onnx.helper, onnx.TensorProto


def written(folder: Path, nodes: list[Any], weights: dict[str, int]) -> Path:
    """A file with these nodes, and an initialiser of 4 numbers of each type."""
    tensors = [helper.make_tensor(name, kind, [4], [1, 2, 3, 4]) for name, kind in weights.items()]
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 300])
    graph = helper.make_graph(
        nodes, "g", [value], [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], tensors
    )
    file = folder / "model.onnx"
    onnx.save(helper.make_model(graph), str(file))
    return file


def test_nodes_and_initialisers_are_those_of_the_onnx_package(tmp_path: Path) -> None:
    nodes = [
        helper.make_node(
            "Conv", ["x", "w", ""], ["z"], name="n" * 200, strides=[1, 1], auto_pad="NOTSET"
        ),
        helper.make_node(
            "FusedConv",
            ["z", "w"],
            ["a", "b"],
            domain="com.microsoft",
            activation="Relu",
            alpha=0.5,
        ),
        helper.make_node("Relu", ["a"], ["y"], domain="ai.onnx"),
    ]
    file = written(tmp_path, nodes, {"w": TensorProto.FLOAT16, "i": TensorProto.INT64})
    found = protobuf_reader.read(file)
    wanted = onnx.load(str(file)).graph
    assert [
        (node.kind, node.domain, node.name, list(node.inputs), list(node.outputs))
        for node in found.nodes
    ] == [
        (node.op_type, node.domain, node.name, list(node.input), list(node.output))
        for node in wanted.node
    ]
    assert set(found.constants) == {tensor.name for tensor in wanted.initializer}
    assert [node.activation for node in found.nodes] == ["", "Relu", ""]
    assert [node.operator for node in found.nodes] == ["Conv", "com.microsoft.FusedConv", "Relu"]
    assert found.precision == "fp16"


@pytest.mark.parametrize(
    ("weights", "precision"),
    [
        ({"w": TensorProto.FLOAT}, "fp32"),
        ({"w": TensorProto.BFLOAT16, "v": TensorProto.BFLOAT16, "s": TensorProto.FLOAT}, "bf16"),
        ({"w": TensorProto.INT8}, ""),
        ({}, ""),
    ],
)
def test_the_precision_is_that_of_most_floating_weights(
    weights: dict[str, int], precision: str, tmp_path: Path
) -> None:
    assert (
        protobuf_reader.read(
            written(tmp_path, [helper.make_node("Relu", ["x"], ["y"])], weights)
        ).precision
        == precision
    )


@pytest.mark.parametrize(
    "content", [b"not a model", b"\x3a\xff\xff\xff\x7f", b"\x3a\x02\x0a", b"\xff" * 20, b"\x38\x01"]
)
def test_what_is_no_onnx_file_is_an_error_in_words(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "odd.onnx").write_bytes(content)
    with pytest.raises(ValueError, match=r"odd\.onnx is not an ONNX file"):
        protobuf_reader.read(tmp_path / "odd.onnx")


def test_a_file_cut_short_is_a_value_error_or_lacks_what_was_cut(tmp_path: Path) -> None:
    file = written(tmp_path, [helper.make_node("Relu", ["x"], ["y"])], {"w": TensorProto.FLOAT})
    whole = file.read_bytes()
    for size in range(1, len(whole), 7):
        file.write_bytes(whole[:size])
        with contextlib.suppress(ValueError):
            assert len(protobuf_reader.read(file).nodes) <= 1
