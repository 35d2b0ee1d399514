"""Outputs that are no tensors become arrays that a rule can judge."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import TensorProto as T  # noqa: E402
from onnx import helper  # noqa: E402

from evenbench.backends.onnx.file_inputs import declared, value_outputs  # noqa: E402
from evenbench.harness import BATCH  # noqa: E402
from evenbench.harness.core.types import ANY  # noqa: E402
from tests.unit.backends.onnx.test_file_inputs import described, save, shapes  # noqa: E402


def test_maps_of_equal_keys_become_a_row_each() -> None:
    rows = [{"owl": 0.25, "cat": 0.75}, {"cat": 1.0, "owl": 0.0}]
    named = value_outputs.separated({"p": rows})
    assert named["p.keys"].tolist() == [["cat", "owl"]] * 2
    assert named["p.values"].tolist() == [[0.75, 0.25], [1.0, 0.0]]
    assert named["p.values"].dtype == np.float32


def test_every_other_value_has_arrays_too() -> None:
    first, second = np.zeros(2), np.ones(3)
    named = value_outputs.separated(
        {"parts": [first, second], "none": [], "absent": None, "map": {2: 0.5, 1: 0.25}}
    )
    assert list(named) == [
        *("parts[0]", "parts[1]", "none.length", "absent.present", "map.keys", "map.values")
    ]
    assert (int(named["none.length"]), bool(named["absent.present"])) == (0, False)
    assert named["map.keys"].tolist() == [1, 2]
    ragged = value_outputs.separated({"p": [{1: 0.5}, {1: 0.5, 2: 0.5}]})
    assert list(ragged) == ["p[0].keys", "p[0].values", "p[1].keys", "p[1].values"]


def zip_map(file: Path) -> Path:
    """A linear classifier with a ZipMap, as sklearn-onnx writes."""
    labels = {"classlabels_strings": ["cat", "owl"]}
    nodes = [
        helper.make_node(
            *("LinearClassifier", ["x"], ["label", "scores"]),
            domain="ai.onnx.ml",
            coefficients=[1.0, -1.0, -1.0, 1.0],
            intercepts=[0.0, 0.1],
            post_transform="SOFTMAX",
            **labels,
        ),
        helper.make_node("ZipMap", ["scores"], ["p"], domain="ai.onnx.ml", **labels),
    ]
    save(file, nodes, [("x", T.FLOAT, [None, 2])], [("label", T.STRING, [None])])
    model = onnx.load(str(file))
    of = helper.make_map_type_proto(T.STRING, helper.make_tensor_type_proto(T.FLOAT, []))
    value = onnx.ValueInfoProto(name="p", type=helper.make_sequence_type_proto(of))
    model.graph.output.append(value)
    onnx.save(model, str(file))
    return file


def test_a_zip_map_is_keys_and_values_per_sample(tmp_path: Path) -> None:
    facts = described(zip_map(tmp_path / "m.onnx"))
    kinds = {spec.name: (spec.shape, spec.dtype) for spec in facts["outputs"]}
    assert kinds == {
        "label": ((BATCH,), "str"),
        "p.keys": ((BATCH, 2), "str"),
        "p.values": ((BATCH, 2), "float32"),
    }


def test_a_size_that_depends_on_values_may_be_any_axis(tmp_path: Path) -> None:
    nodes = [helper.make_node("Round", ["x"], ["r"]), helper.make_node("NonZero", ["r"], ["y"])]
    file = save(tmp_path / "m.onnx", nodes, [("x", T.FLOAT, [3, 4])], [("y", T.INT64, None)])
    assert shapes(described(file))["y"] == (2, ANY)


def optional(file: Path) -> Path:
    """A graph that says whether its optional input is there."""
    node = helper.make_node("OptionalHasElement", ["x"], ["y"])
    made = helper.make_optional_type_proto(helper.make_tensor_type_proto(T.FLOAT, [3]))
    taken = helper.make_value_info("x", made)
    output = helper.make_tensor_value_info("y", T.BOOL, [])
    made = helper.make_graph([node], "g", [taken], [output])
    imports = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(made, opset_imports=imports, ir_version=8), str(file))
    return file


def test_an_optional_input_is_present_or_absent(tmp_path: Path) -> None:
    file = optional(tmp_path / "m.onnx")
    assert declared.inputs(onnx.load(str(file)).graph)[0].optional
    assert [spec.name for spec in described(file)["inputs"]] == ["x"]
    absent = described(file, ranges={"x": {"absent": True}})
    assert absent["inputs"] == ()
    assert absent["arguments"]["absent_inputs"] == '["x"]'
