"""`evenbench layerwise` on real runtimes: a file with one changed operator, one changed weight, a
quantised graph, and a narrow module.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import detection
from benchmarks.models import DIGITS_CNN
from evenbench.harness import Cell, UsageError, cli
from evenbench.harness.commands import layerwise as parting
from evenbench.harness.comparison import layerwise as tensors
from evenbench.harness.comparison.layerwise_summary import sentences
from evenbench.harness.core import exit_codes
from evenbench.harness.environment import cpu

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def network(file: Path, mode: str = "nearest", factor: float = 1.0) -> Path:
    """Convolution, enlargement, convolution, ReLU, mean; `mode` is that of the enlargement,
    `factor` is on one weight of the second.
    """
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(0)
    weights = {
        name: random.standard_normal(shape).astype(np.float32)
        for name, shape in (("w1", (4, 3, 3, 3)), ("w2", (5, 4, 3, 3)))
    }
    weights["w2"][0, 0, 1, 1] *= factor
    weights["scales"] = np.array([1, 1, 2, 2], np.float32)
    nodes = [
        helper.make_node("Conv", ["image", "w1"], ["first"], pads=[1, 1, 1, 1]),
        helper.make_node(
            "Resize",
            ["first", "", "scales"],
            ["enlarged"],
            mode=mode,
            coordinate_transformation_mode="half_pixel",
        ),
        helper.make_node("Conv", ["enlarged", "w2"], ["second"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["second"], ["bent"]),
        helper.make_node("GlobalAveragePool", ["bent"], ["answer"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 8, 8])
    answer = helper.make_tensor_value_info("answer", TensorProto.FLOAT, [1, 5, 1, 1])
    stored = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "small", [image], [answer], stored)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9),
        str(file),
    )
    return file


def diff(capsys: pytest.CaptureFixture[str], *arguments: Any) -> tuple[int, dict[str, Any]]:
    code = cli.main(["diff", *map(str, arguments), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_one_changed_operator_in_a_file_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = network(tmp_path / "one.onnx"), network(tmp_path / "other.onnx", mode="linear")
    code, found = diff(
        capsys, "one-ort-fp32-cpu-b1", "other-ort-fp32-cpu-b1", *files, "--backends", "ort"
    )
    assert code == parting.PART
    assert (found["first"]["name"], found["first"]["operator"], found["first"]["inputs"]) == (
        "enlarged",
        "Resize",
        ["first"],
    )
    assert found["seen"] == "alone"
    assert [row["name"] for row in found["tensors"]] == [
        "first",
        "enlarged",
        "second",
        "bent",
        "answer",
    ]
    assert [row["parts"] for row in found["tensors"]][:2] == [False, True]


def test_one_changed_weight_in_a_file_is_named_by_its_operator(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = network(tmp_path / "one.onnx"), network(tmp_path / "other.onnx", factor=1.5)
    code, found = diff(
        capsys, "one-ort-fp32-cpu-b1", "other-ort-fp32-cpu-b1", *files, "--backends", "ort"
    )
    assert (code, found["first"]["name"], found["first"]["operator"]) == (
        parting.PART,
        "second",
        "Conv",
    )


@pytest.mark.slow
def test_two_runtimes_that_agree_and_their_golden(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("openvino")
    file = network(tmp_path / "one.onnx", mode="linear")
    for second in ("one-openvino-fp32-cpu-b1", "golden"):
        code, found = diff(
            capsys, "one-ort-fp32-cpu-b1", second, file, "--backends", "ort,openvino"
        )
        assert (code, found["first"]) == (parting.AGREE, None), found["first"]
        assert len(found["tensors"]) == 5


def digits(backend: str, precision: str = "fp32") -> Cell:
    return Cell(DIGITS_CNN, backend, precision, threads=cpu.cores())


@pytest.mark.slow
def test_a_weight_that_is_too_large_is_found_where_it_is_used() -> None:
    pytest.importorskip("torch")
    found = tensors.find(digits("ort"), digits("negative-weight"))
    assert found.first is not None
    assert (found.first.name, found.first.operator, found.seen) == (
        found.rows[0].name,
        "Conv",
        "alone",
    )


@pytest.mark.nightly
@pytest.mark.slow
def test_a_file_is_run_as_its_standard_says_to_tell_which_of_two_runtimes_is_wrong() -> None:
    pytest.importorskip("torch")
    for cell in (digits("ort"), digits("ort", "int8-static")):
        found = tensors.find(cell, tensors.golden_of_file(cell))
        assert (found.first, found.only_in_one) == (None, 0), found.first
        assert len(found.rows) >= 9
    wrong = tensors.find(
        digits("negative-permuted"), tensors.golden_of_file(digits("negative-permuted"))
    )
    assert wrong.first is not None
    assert wrong.first.name == wrong.rows[0].name, "what is read wrongly parts at once"
    with pytest.raises(UsageError, match="runs no file that a golden can read"):
        tensors.golden_of_file(digits("torch-eager"))


@pytest.mark.slow
def test_tensors_of_a_quantised_file_are_those_that_its_operators_read() -> None:
    """The Relu before an unsigned type is dropped and its output's name goes to what it read: by
    names alone every one would part.
    """
    pytest.importorskip("torch")
    found = tensors.find(digits("ort", "int8-static"), digits("ort"))
    assert found.first is None, found.first
    assert sum("rounded to int8" in row.operator for row in found.rows) >= 4
    assert max(row.needed for row in found.rows) > 0.01, "nothing was rounded"


@pytest.mark.nightly
@pytest.mark.slow
def test_a_narrow_module_is_compared_module_by_module() -> None:
    pytest.importorskip("torch")
    found = tensors.find(digits("torch-eager", "bf16"), digits("reference"))
    assert [row.operator for row in found.rows][:3] == ["Conv2d", "BatchNorm2d", "ReLU"]
    assert found.rows[1].inputs == ("0",)
    assert 0.01 < max(row.needed for row in found.rows) < 1


MODULES = ["1", "2", "4", "5", "6", "7", "8", "9", "10"]
"""Those of `DIGITS_CNN` whose tensors a file has, too: its batch norms are folded into the
convolutions before them, 0 and 3.
"""

OLDER = (("exporter", "torchscript"), ("opset", 17))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backend", "options"),
    [
        pytest.param("ort", (), id="newer"),
        pytest.param("ort", OLDER, id="older", marks=pytest.mark.nightly),
        pytest.param(
            "openvino",
            (("frontend", "pytorch"),),
            id="converted",
            marks=pytest.mark.nightly,
        ),
    ],
)
def test_a_module_is_compared_with_what_was_exported_from_it(
    backend: str, options: tuple[tuple[str, Any], ...]
) -> None:
    for package in ("torch", "onnxruntime" if backend == "ort" else backend):
        pytest.importorskip(package)
    found = tensors.find(digits("torch-eager"), replace(digits(backend), options=options))
    assert (found.first, found.by, found.folded) == (None, "places", ("0", "3"))
    assert [row.name for row in found.rows] == [*MODULES, "logits"]
    assert found.unmatched == ((), ())
    assert found.rows[3].inputs == ("4",)


@pytest.mark.nightly
@pytest.mark.slow
def test_a_wrong_weight_is_found_from_the_module_as_well() -> None:
    pytest.importorskip("torch")
    found = tensors.find(digits("torch-eager"), digits("negative-weight"))
    assert found.first is not None
    assert (found.first.name, found.first.operator, found.seen) == ("1", "BatchNorm2d", "alone")


@pytest.mark.slow
def test_files_by_two_exporters_are_compared_by_the_modules_that_both_name() -> None:
    pytest.importorskip("torch")
    found = tensors.find(digits("ort"), replace(digits("ort"), options=OLDER))
    assert (found.first, found.by) == (None, "places")
    assert len(found.rows) >= 7


def masks(backend: str, options: Mapping[str, Any]) -> Cell:
    return Cell(
        detection.MASK_RCNN, backend, threads=cpu.cores(), options=tuple(sorted(options.items()))
    )


@pytest.mark.nightly
@pytest.mark.slow
def test_the_first_tensor_at_which_two_runtimes_part_on_masks_is_named() -> None:
    """By OpenVINO's own road, so that the two have no name in common; behind the suppression sizes
    and orders may differ.
    """
    for package in ("torchvision", "onnxruntime", "openvino"):
        pytest.importorskip(package)
    found = tensors.find(masks("ort", detection.TRACED), masks("openvino", detection.CONVERTED))
    _is_told(found)
    assert found.folded == ()


@pytest.mark.nightly
@pytest.mark.slow
def test_the_first_tensor_at_which_a_detector_parts_from_its_file_is_named() -> None:
    pytest.importorskip("torchvision")
    pytest.importorskip("onnxruntime")
    found = tensors.find(masks("torch-eager", {}), masks("ort", detection.TRACED))
    _is_told(found)
    assert len(found.folded) == 53, "the batch norms of a ResNet-50"
    assert set(found.folded).isdisjoint(row.name for row in found.rows)


def _is_told(found: tensors.LayerwiseComparison) -> None:
    """Whether tensors all along the network were matched, agree up to rounding as far as nothing is
    decided, and what parts has a name.
    """
    assert found.by == "places"
    places = " ".join(f"{row.name} {row.other}" for row in found.rows).lower().replace("_", "")
    parts = (
        "transform",
        "layer1.0",
        "fpn",
        "rpn.head.clslogits",
        "rpn.anchorgenerator",
        "topk",
        "roialign",
        "maskfcnlogits",
    )
    assert [part for part in parts if part not in places] == []
    ahead = next(index for index, row in enumerate(found.rows) if "topk" in row.name.lower())
    assert max(row.needed for row in found.rows[:ahead]) < 4, (
        "fifty layers of sums in another order; a wrong tensor is off by hundreds"
    )
    words = " ".join(sentences(found))
    assert ("nothing diverges" in words) == (found.first is None)
    if found.first:
        assert f"the first diverging tensor is {found.first.name}" in words
        assert found.first == next((row for row in found.rows if row.parts), found.first)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("one-ort-fp32-cpu-b1", "one-ort-fp32-cpu-b1"), "is compared with itself"),
        (("one-ort-fp32-cpu-b1", "two-ort-fp32-cpu-b1"), "no cell 'two-ort-fp32-cpu-b1'"),
    ],
)
def test_a_command_that_cannot_be_is_refused(
    arguments: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = arguments
    file = network(tmp_path / "one.onnx")
    assert (
        cli.main(["layerwise", first, second, str(file), "--backends", "ort"]) == exit_codes.USAGE
    )
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["-k", "--cell"])
def test_filters_of_cells_are_no_flags_of_it(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["layerwise", "one-ort-fp32-cpu-b1", "golden", flag, "ort"])
    assert ended.value.code == exit_codes.USAGE
    assert f"unrecognized arguments: {flag} ort" in capsys.readouterr().err
