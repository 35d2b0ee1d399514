"""Inputs of ONNX files as people export them: free sizes, valid values, all element types."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evenbench.harness import BATCH, Model, UsageError
from evenbench.harness.inputs import made_up_samples
from evenbench.harness.inputs.input_requests import InputRequest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import TensorProto as T  # noqa: E402
from onnx import helper, numpy_helper  # noqa: E402

from evenbench.backends.onnx.file_inputs import user_model  # noqa: E402

Value = tuple[str, int, Sequence[int | str | None] | None]


def save(
    file: Path,
    nodes: Sequence[Any],
    inputs: Sequence[Value],
    outputs: Sequence[Value],
    constants: Sequence[tuple[str, Any]] = (),
    opset: int = 21,
) -> Path:
    """An ONNX file of these nodes; constants are numpy arrays."""
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info(*value) for value in outputs],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants],
    )
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 2)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=10), str(file))
    return file


def described(file: Path, **request: Any) -> dict[str, Any]:
    arguments = InputRequest(**request).arguments
    return user_model.described(Model("m", file=str(file), arguments=arguments))


def shapes(facts: dict[str, Any]) -> dict[str, tuple[int | str, ...]]:
    return {spec.name: spec.shape for spec in (*facts["inputs"], *facts["outputs"])}


def samples(facts: dict[str, Any]) -> dict[str, Any]:
    model = Model("m", file="m.onnx", inputs=facts["inputs"], arguments=facts["arguments"])
    return made_up_samples.samples(model, 0)


def same(file: Path, kind: int, shape: Sequence[int | str | None], name: str = "x") -> Path:
    """A file that returns its input."""
    node = helper.make_node("Identity", [name], ["y"])
    return save(file, [node], [(name, kind, shape)], [("y", kind, None)])


@pytest.mark.parametrize(
    ("name", "kind", "shape", "expected"),
    [
        ("image", T.FLOAT, ["N", 3, "height", "width"], (BATCH, 3, 224, 224)),
        ("image", T.FLOAT, [None, 3, None, None], (BATCH, 3, 224, 224)),
        ("image", T.FLOAT, ["N", "h", "w", 3], (BATCH, 224, 224, 3)),
        ("image", T.UINT8, ["h", "w", 3], (224, 224, 3)),
        ("text_line", T.FLOAT, ["N", 3, 48, "W"], (BATCH, 3, 48, 224)),
        ("input_ids", T.INT64, ["batch_size", "sequence_length"], (BATCH, 128)),
        ("input_ids", T.INT64, [None, None], (BATCH, 128)),
        ("waveform", T.FLOAT, ["batch", "samples"], (BATCH, 16000)),
        ("audio", T.FLOAT, ["n_samples"], (16000,)),
        ("state", T.FLOAT, [2, "batch", 128], (2, BATCH, 128)),
        ("state", T.FLOAT, [2, None, 128], (2, BATCH, 128)),
        ("x", T.FLOAT, ["seq_len", "batch", 8], (128, BATCH, 8)),
        ("mel", T.FLOAT, ["batch", 80, "frames"], (BATCH, 80, 100)),
        ("past_key", T.FLOAT, ["batch", 4, "past_length", 8], (BATCH, 4, 16, 8)),
        ("x", T.FLOAT, ["N", 16], (BATCH, 16)),
        ("x", T.FLOAT, [], ()),
        ("x", T.FLOAT, [1, 0, 8], (1, 0, 8)),
    ],
)
def test_free_sizes_are_guessed_by_name_and_place(
    name: str,
    kind: int,
    shape: list[int | str | None],
    expected: tuple[int | str, ...],
    tmp_path: Path,
) -> None:
    facts = described(same(tmp_path / "m.onnx", kind, shape, name))
    assert shapes(facts) == {name: expected, "y": expected}
    guessed = [note for note in facts["notes"] if note.startswith("guessed")]
    assert bool(guessed) == any(
        size not in (BATCH, *shape) for size in expected if isinstance(size, int)
    )


def test_a_sum_of_names_is_the_sum_of_their_sizes(tmp_path: Path) -> None:
    node = helper.make_node("Concat", ["past", "new"], ["all"], axis=1)
    other = helper.make_node("Identity", ["mask"], ["seen"])
    file = save(
        tmp_path / "m.onnx",
        [node, other],
        [
            ("past", T.FLOAT, ["batch", "past_len", 4]),
            ("new", T.FLOAT, ["batch", "seq_len", 4]),
            ("mask", T.INT64, ["batch", "past_len + seq_len"]),
        ],
        [("all", T.FLOAT, None), ("seen", T.INT64, None)],
    )
    facts = described(file, dims={"seq_len": [5]})
    assert shapes(facts)["mask"] == (BATCH, 21)
    assert shapes(facts)["all"] == (BATCH, 21, 4)


def test_sizes_are_given_by_name_place_or_whole(tmp_path: Path) -> None:
    file = same(tmp_path / "m.onnx", T.FLOAT, [None, "length", None])
    assert shapes(described(file, dims={"length": [7], "x.2": [9]}))["y"] == (BATCH, 7, 9)
    assert shapes(described(file, dims={"x": [2, 3, 4]}))["y"] == (2, 3, 4)
    with pytest.raises(
        UsageError, match=r"no free dimension has this name or place; expected x\.0"
    ):
        described(file, dims={"depth": [7]})
    fixed = same(tmp_path / "fixed.onnx", T.FLOAT, ["N", 3])
    with pytest.raises(UsageError, match="the file fixes this size at 3"):
        described(fixed, dims={"x.1": [4]})
    unranked = tmp_path / "unranked.onnx"
    node = helper.make_node("Relu", ["x"], ["y"])
    save(unranked, [node], [("x", T.FLOAT, None)], [("y", T.FLOAT, None)])
    with pytest.raises(UsageError, match="x has no shape in the file; give --dim x=1x16"):
        described(unranked)
    assert shapes(described(unranked, dims={"x": [1, 16]}))["y"] == (1, 16)


def test_a_photo_has_the_sizes_of_its_recipe(tmp_path: Path) -> None:
    file = same(tmp_path / "m.onnx", T.FLOAT, ["N", 3, "height", "width"])
    facts = described(file, photo=[1, 3, 96, 128], batches=[1])
    assert shapes(facts)["y"] == (BATCH, 3, 96, 128)


def test_another_guess_follows_a_refused_one(tmp_path: Path) -> None:
    """A window of 512 samples, as in voice detectors: a second of audio does not fit."""
    file = save(
        tmp_path / "m.onnx",
        [helper.make_node("MatMul", ["audio", "w"], ["y"])],
        [("audio", T.FLOAT, ["batch", "samples"])],
        [("y", T.FLOAT, ["batch", 4])],
        [("w", np.ones((512, 4), np.float32))],
    )
    facts = described(file)
    assert shapes(facts)["audio"] == (BATCH, 512)


def test_the_file_is_never_changed(tmp_path: Path) -> None:
    file = same(tmp_path / "m.onnx", T.FLOAT, ["N", 3, "h", "w"])
    before = file.read_bytes()
    described(file)
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


CASES: dict[str, tuple[Any, list[Value], list[Value], list[tuple[str, Any]], dict[str, Any]]] = {
    "rows of a table": (
        helper.make_node("Gather", ["table", "ids"], ["y"]),
        [("ids", T.INT64, [1, 4])],
        [("y", T.FLOAT, None)],
        [("table", np.ones((30, 2), np.float32))],
        {"ids": ("within", 0, 29)},
    ),
    "shape": (
        helper.make_node("Reshape", ["x", "to"], ["y"]),
        [("x", T.FLOAT, [2, 6]), ("to", T.INT64, [2])],
        [("y", T.FLOAT, [3, 4])],
        [],
        {"to": [3, 4]},
    ),
    "unknown shape": (
        helper.make_node("Reshape", ["x", "to"], ["y"]),
        [("x", T.FLOAT, [2, 6]), ("to", T.INT64, [2])],
        [("y", T.FLOAT, None)],
        [],
        {"to": [1, 12]},
    ),
    "slice": (
        helper.make_node("Slice", ["x", "from", "to", "at", "by"], ["y"]),
        [("x", T.FLOAT, [4, 6]), *((name, T.INT64, [2]) for name in ("from", "to", "at", "by"))],
        [("y", T.FLOAT, [3, 6])],
        [],
        {"from": [0, 0], "to": [3, 6], "at": [0, 1], "by": [1, 1]},
    ),
    "axes": (
        helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=0),
        [("x", T.FLOAT, [4, 6, 5]), ("axes", T.INT64, [1])],
        [("y", T.FLOAT, [4, 5])],
        [],
        {"axes": [1]},
    ),
    "repeats": (
        helper.make_node("Tile", ["x", "times"], ["y"]),
        [("x", T.FLOAT, [2, 3]), ("times", T.INT64, [2])],
        [("y", T.FLOAT, [4, 9])],
        [],
        {"times": [2, 3]},
    ),
    "best": (
        helper.make_node("TopK", ["x", "k"], ["y", "places"]),
        [("x", T.FLOAT, [2, 8]), ("k", T.INT64, [1])],
        [("y", T.FLOAT, None), ("places", T.INT64, None)],
        [],
        {"k": [5]},
    ),
    "different places": (
        helper.make_node("ScatterElements", ["x", "at", "new"], ["y"], axis=1),
        [("x", T.FLOAT, [1, 5]), ("at", T.INT64, [1, 3]), ("new", T.FLOAT, [1, 3])],
        [("y", T.FLOAT, None)],
        [],
        {"at": [0, 1, 2]},
    ),
    "condition": (
        helper.make_node("Dropout", ["x", "ratio", "training"], ["y"]),
        [("x", T.FLOAT, [2, 3]), ("ratio", T.FLOAT, []), ("training", T.BOOL, [])],
        [("y", T.FLOAT, None)],
        [],
        {"training": [False]},
    ),
    "sizes": (
        helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], mode="nearest"),
        [("x", T.FLOAT, [1, 1, 4, 4]), ("sizes", T.INT64, [4])],
        [("y", T.FLOAT, [1, 1, 8, 8])],
        [],
        {"sizes": [1, 1, 8, 8]},
    ),
    "end of a range": (
        helper.make_node("Range", ["start", "end", "step"], ["y"]),
        [("start", T.INT64, []), ("end", T.INT64, []), ("step", T.INT64, [])],
        [("y", T.INT64, [4])],
        [],
        {"start": [0], "end": [4], "step": [1]},
    ),
    "divisor": (
        helper.make_node("Div", ["a", "b"], ["y"]),
        [("a", T.INT64, [8]), ("b", T.INT64, [8])],
        [("y", T.INT64, [8])],
        [],
        {"b": ("within", 1, 9)},
    ),
    "variance": (
        helper.make_node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y"]),
        [("x", T.FLOAT, [1, 2, 3]), *((name, T.FLOAT, [2]) for name in "sbmv")],
        [("y", T.FLOAT, None)],
        [],
        {"v": ("within", 0.1, 2.0)},
    ),
    "text": (
        helper.make_node(
            "LabelEncoder",
            ["word"],
            ["y"],
            domain="ai.onnx.ml",
            keys_strings=["cat", "owl"],
            values_int64s=[1, 2],
        ),
        [("word", T.STRING, [3])],
        [("y", T.INT64, None)],
        [],
        {"word": ("one of", "cat", "owl")},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_values_fit_the_nodes_that_use_them(case: str, tmp_path: Path) -> None:
    node, inputs, outputs, constants, expected = CASES[case]
    facts = described(save(tmp_path / "m.onnx", [node], inputs, outputs, constants))
    made = samples(facts)
    for name, values in expected.items():
        if isinstance(values, list):
            assert (made[name].reshape(8, -1) == values).all(), f"{name}: {made[name]}"
        elif values[0] == "within":
            assert values[1] <= made[name].min() <= made[name].max() <= values[2]
            assert made[name].min() < made[name].max()
        else:
            assert set(made[name].reshape(-1)) == set(values[1:])
        assert any(f"{name} " in note for note in facts["notes"]), facts["notes"]
    assert not any("refuses" in note for note in facts["notes"]), facts["notes"]


def test_values_reach_through_casts_branches_and_loops(tmp_path: Path) -> None:
    body = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "place"], ["row"]),
            helper.make_node("Identity", ["go"], ["on"]),
            helper.make_node("Identity", ["place"], ["same"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", T.INT64, []),
            helper.make_tensor_value_info("go", T.BOOL, []),
            helper.make_tensor_value_info("place", T.INT64, [2]),
        ],
        [
            helper.make_tensor_value_info("on", T.BOOL, []),
            helper.make_tensor_value_info("same", T.INT64, [2]),
            helper.make_tensor_value_info("row", T.FLOAT, None),
        ],
    )
    file = save(
        tmp_path / "m.onnx",
        [
            helper.make_node("Cast", ["ids"], ["wide"], to=T.INT64),
            helper.make_node("Loop", ["turns", "", "wide"], ["last", "rows"], body=body),
        ],
        [("ids", T.INT32, [2]), ("turns", T.INT64, [])],
        [("last", T.INT64, None), ("rows", T.FLOAT, None)],
        [("table", np.ones((7, 4), np.float32))],
    )
    facts = described(file)
    made = samples(facts)
    assert made["ids"].dtype == np.int32
    assert 0 <= made["ids"].min() < made["ids"].max() <= 6
    assert set(made["turns"]) == {3}
    assert shapes(facts)["rows"] == (3, 2, 4)


def test_a_range_of_the_user_replaces_the_guess(tmp_path: Path) -> None:
    file = same(tmp_path / "m.onnx", T.INT64, [64], "ids")
    made = samples(described(file, ranges={"ids": {"low": 500, "high": 510}}))["ids"]
    assert (made.min(), made.max()) == (500, 510)
    with pytest.raises(UsageError, match="--range other: the model has no input of this name"):
        described(file, ranges={"other": {"low": 0, "high": 1}})
    with pytest.raises(UsageError, match="ids has 64 elements, but 2 values are given"):
        described(file, ranges={"ids": {"values": [1, 2]}})


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        (T.BFLOAT16, "bfloat16"),
        (T.FLOAT8E4M3FN, "float8_e4m3fn"),
        (T.FLOAT8E5M2, "float8_e5m2"),
        (T.INT4, "int4"),
        (T.UINT4, "uint4"),
        (T.COMPLEX64, "complex64"),
        (T.STRING, "str"),
        (T.BOOL, "bool"),
        (T.FLOAT16, "float16"),
        (T.UINT64, "uint64"),
    ],
)
def test_every_element_type_has_made_up_samples(kind: int, dtype: str, tmp_path: Path) -> None:
    facts = described(same(tmp_path / "m.onnx", kind, [2, 5]))
    assert [spec.dtype for spec in facts["inputs"]] == [dtype]
    array = samples(facts)["x"]
    assert array.shape == (8, 2, 5)
    assert len(set(array.reshape(-1).tolist())) > 1
    if dtype != "str":
        assert str(array.dtype) == dtype


def test_a_file_without_inputs_has_a_single_empty_sample(tmp_path: Path) -> None:
    node = helper.make_node("Relu", ["w"], ["y"])
    constants = [("w", np.ones((4, 2), np.float32))]
    facts = described(save(tmp_path / "m.onnx", [node], [], [("y", T.FLOAT, [4, 2])], constants))
    assert (facts["inputs"], samples(facts)) == ((), {})
    assert shapes(facts) == {"y": (4, 2)}


def test_a_sequence_is_its_elements(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("SplitToSequence", ["x"], ["parts"], axis=1)],
        "graph",
        [helper.make_tensor_value_info("x", T.FLOAT, ["N", 3])],
        [helper.make_tensor_sequence_value_info("parts", T.FLOAT, None)],
    )
    file = tmp_path / "m.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(file))
    facts = described(file)
    assert shapes(facts) == {"x": (BATCH, 3), **{f"parts[{i}]": (BATCH, 1) for i in range(3)}}
    assert facts["arguments"] == {"sequence_outputs": '["parts"]'}
