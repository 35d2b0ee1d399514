"""The tensors within an exported file with their places in the module, as PyTorch's exporters and
OpenVINO's frontend tell them.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from evenbench.backends.onnx import tensor_capture as onnx_within

SCOPES = (
    "['', 'inner', 'inner.head', 'sigmoid']",
    "['', 'inner', 'inner.head', 'topk']",
    "['', 'inner', 'add']",
)
NAMES = ("/inner/head/Sigmoid", "/inner/head/TopK", "/inner/Add")


def file(path: Path, older: bool) -> Path:
    """Head: the three best of the sigmoids; the module adds one to them, and a branch outside of it
    decides.
    """
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    value = helper.make_tensor_value_info
    branch = helper.make_graph(
        [helper.make_node("Identity", ["more"], ["taken"])],
        "b",
        [],
        [value("taken", TensorProto.FLOAT, [3])],
    )
    nodes = [
        helper.make_node("Sigmoid", ["x"], ["s"], NAMES[0] if older else "node_1"),
        helper.make_node(
            "TopK", ["s", "three"], ["values", "indices"], NAMES[1] if older else "node_2", axis=0
        ),
        helper.make_node("Add", ["values", "one"], ["more"], NAMES[2] if older else "node_3"),
        helper.make_node("If", ["decided"], ["y"], "If_7", then_branch=branch, else_branch=branch),
    ]
    if not older:
        for node, scope in zip(nodes, SCOPES, strict=False):
            node.metadata_props.add(key=onnx_within.SCOPES, value=scope)
    constants = [
        numpy_helper.from_array(np.array([3]), "three"),
        numpy_helper.from_array(np.float32(1), "one"),
    ]
    inputs = [value("x", TensorProto.FLOAT, [8]), value("decided", TensorProto.BOOL, [])]
    graph = helper.make_graph(
        nodes, "small", inputs, [value("y", TensorProto.FLOAT, [3])], constants
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10),
        str(path),
    )
    return path


@pytest.mark.parametrize("older", [True, False])
def test_both_exporters_tell_the_places_of_tensors(older: bool, tmp_path: Path) -> None:
    found = {
        each.name: each
        for each in onnx_within.expose(
            file(tmp_path / "m.onnx", older), tmp_path / "into.onnx", None, 1
        )
    }
    assert {name: each.places[-1] if each.places else "" for name, each in found.items()} == {
        "s": "head:sigmoid",
        "values": "head",
        "indices": "head:topk",
        "more": "",
        "y": "",
    }
    assert found["y"].inputs == ("decided", "more"), (
        "what a branch reads from around it is an input, too"
    )
    declared = SimpleNamespace(model=SimpleNamespace(outputs=[SimpleNamespace(name="y")]))
    further: Any = onnx_within.further_outputs
    assert further(tmp_path / "into.onnx", declared) == ["s", "values", "indices", "more"]


def test_a_file_without_scopes_tells_no_place(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(str(file(tmp_path / "m.onnx", older=True)))
    for node in model.graph.node:
        node.name = ""
    onnx.save(model, str(tmp_path / "bare.onnx"))
    assert {
        each.places
        for each in onnx_within.expose(tmp_path / "bare.onnx", tmp_path / "into.onnx", None)
    } == {()}


def test_what_openvino_converted_is_told_by_its_modules_and_fetched_by_name(tmp_path: Path) -> None:
    ov = pytest.importorskip("openvino")
    from openvino import opset13

    from evenbench.backends.openvino import tensor_capture as openvino_within

    x = opset13.parameter([1, 8], np.float32, name="x")
    sigmoid = opset13.sigmoid(x)
    best = opset13.topk(sigmoid, np.int64(3), 1, "max", "value")
    more = opset13.add(best.output(0), opset13.constant(np.float32(1)))
    names = ("head/aten::sigmoid/Sigmoid", "head/aten::topk/TopK", "add/aten::add/Add")
    for node, name in zip((sigmoid, best, more), names, strict=True):
        node.set_friendly_name(f"__module.inner.{name}")
    model = ov.Model([opset13.result(more)], [x], "small")
    model.inputs[0].get_tensor().set_names({"x"})
    model.outputs[0].get_tensor().add_names({"y"})
    ov.save_model(model, str(tmp_path / "model.xml"), compress_to_fp16=False)

    within = openvino_within.expose(tmp_path / "model.xml", tmp_path / "into.xml", None, ["y"], 1)
    told = {
        each.name.removeprefix("__module.inner."): (each.places, each.fetched) for each in within
    }
    assert told == {
        names[0]: (("head:sigmoid",), ""),
        f"{names[1]}:0": (("head",), ""),
        f"{names[1]}:1": (("head:topk",), ""),
        names[2]: (("add",), "y"),
    }
    compiled = ov.Core().compile_model(str(tmp_path / "into.xml"), "CPU")
    request = compiled.create_infer_request()
    request.infer({"x": np.arange(8, dtype=np.float32)[None]})
    of_model = SimpleNamespace(model=SimpleNamespace(outputs=[SimpleNamespace(name="y")]))
    session = openvino_within.WatchedSession(
        SimpleNamespace(request=request, compiled=compiled, cell=of_model),
        [f"__module.inner.{names[1]}:1"],
    )
    made = session.fetch()
    assert list(made) == ["y", f"__module.inner.{names[1]}:1"]
    assert made[f"__module.inner.{names[1]}:1"].tolist() == [[7, 6, 5]]
