"""Which cells `evenbench pipeline` films: one of each runtime, the first that is declared unless
--cell names another.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import detection
from benchmarks.models import RESNET18
from evenbench.harness import Case, UsageError
from evenbench.harness.collection import matrix
from evenbench.harness.commands import pipeline
from evenbench.harness.commands.arguments import parsed
from evenbench.harness.commands.pipeline import PipelineOptions

MASKS = detection.MASK_RCNN.name
DECLARED = ("--declared", "benchmarks/detection.py")
TRACED, CONVERTED = (
    f"{MASKS}-openvino-fp32-cpu-b1-{words}"
    for words in ("exporter=torchscript-opset=17", "frontend=pytorch")
)


def asked(*words: str) -> PipelineOptions:
    options: PipelineOptions = parsed(pipeline, words)
    return options


def options_of(*words: str) -> dict[str, dict[str, Any]]:
    """The options of each runtime's cell."""
    return {cell.backend: cell.option for cell in pipeline.chosen(asked(*words).model)}


def test_the_first_declared_option_set_is_filmed_and_cell_names_another() -> None:
    assert options_of(MASKS, *DECLARED)["openvino"] == detection.TRACED
    with_cell = options_of(MASKS, *DECLARED, "--cell", CONVERTED)
    assert with_cell["openvino"] == detection.CONVERTED
    assert with_cell == options_of(MASKS, *DECLARED) | {"openvino": detection.CONVERTED}, (
        "of no other runtime"
    )


def test_it_can_be_repeated_and_backends_still_filter() -> None:
    cpp = CONVERTED.replace("openvino", "cpp-openvino")
    both = ("--cell", CONVERTED, "--cell", cpp)
    assert options_of(MASKS, *DECLARED, *both, "--backends", "ort,cpp-openvino") == {
        "ort": detection.TRACED,
        "cpp-openvino": detection.CONVERTED,
    }


def test_a_target_may_stand_in_the_place_of_the_models_name(tmp_path: Path) -> None:
    (tmp_path / "bench_masks.py").write_text(
        "from benchmarks.detection import MASK_RCNN, ROADS\nfrom harness import Case\n\n"
        "case = Case((MASK_RCNN,), ('openvino',), options={'openvino': ROADS['openvino']})\n"
    )
    assert options_of(str(tmp_path / "bench_masks.py"), "--cell", CONVERTED) == {
        "openvino": detection.CONVERTED
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--cell", CONVERTED.replace("pytorch", "torch")], f"did you mean .*{CONVERTED}"),
        (["--cell", CONVERTED, "--cell", TRACED], "are both of openvino; name one of them"),
        (
            ["--cell", CONVERTED.replace(MASKS, detection.SSDLITE.name)],
            f"expected a cell of {MASKS} at fp32 and batch 1 on cpu",
        ),
        (["--cell", CONVERTED, "--precision", "fp16"], f"expected a cell of {MASKS} at fp16"),
        (["--cell", CONVERTED, "--device", "cuda"], "batch 1 on cuda"),
    ],
)
def test_a_cell_that_is_not_there_or_not_meant_is_told(words: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        pipeline.chosen(asked(MASKS, *DECLARED, *words).model)


def test_a_model_of_ones_own_has_no_declared_cells() -> None:
    with pytest.raises(UsageError, match=r"model\.onnx is a model of your own"):
        pipeline.chosen(asked("model.onnx", "--cell", CONVERTED).model)


def test_the_command_that_measures_again_names_the_cells() -> None:
    """So that an interrupted run is gone on with by the same cells alone."""
    words = pipeline.reproducing_command(asked(MASKS, *DECLARED, "--cell", CONVERTED)).split()
    assert words[words.index("--cell") + 1] == CONVERTED


def test_a_named_cell_keeps_its_threads_unless_others_are_asked(tmp_path: Path) -> None:
    file = tmp_path / "bench_threads.py"
    file.write_text(
        "from benchmarks.models import RESNET18\nfrom harness import Case\n\n"
        "case = Case((RESNET18,), ('ort',), threads=(0, 1))\n"
    )
    (one,) = matrix.expand(Case((RESNET18,), ("ort",), threads=(1,)))
    (named,) = pipeline.chosen(asked(str(file), "--cell", one.id).model)
    assert named == one
    (whole,) = pipeline.chosen(asked(str(file)).model)
    assert whole == matrix.expand(Case((RESNET18,), ("ort",)))[0]
    (again,) = pipeline.chosen(asked(str(file), "--cell", whole.id, "--threads", "1").model)
    assert again == one


@pytest.mark.parametrize(
    ("model", "precision"),
    [("resnet18", "int8-static"), ("ssdlite320_mobilenet_v3_heads", "int8-dynamic")],
)
def test_int8_is_the_one_that_the_model_can_have(
    model: str, precision: str, capsys: pytest.CaptureFixture[str]
) -> None:
    declared = () if model == "resnet18" else DECLARED
    (cell,) = pipeline.chosen(
        asked(model, *declared, "--backends", "ort", "--precision", "int8").model
    )
    assert cell.precision == precision
    assert f"int8 is {precision} here" in capsys.readouterr().err
