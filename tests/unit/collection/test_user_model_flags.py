"""What flags say of a model of one's own: its task, the options of backends, and who does its
recipe.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from evenbench.harness import ANY, BATCH, Model, TensorSpec
from evenbench.harness.accuracy import agreement
from evenbench.harness.cli import main
from evenbench.harness.collection import (
    matrix,
    selection,
    selection_flags,
    task_outputs,
    user_model_flags,
    user_models,
)
from evenbench.harness.collection.selection_flags import Selection
from evenbench.harness.collection.user_model_flags import ModelFlags
from evenbench.harness.commands import arguments, compare, pipeline
from evenbench.harness.core.errors import UsageError
from evenbench.harness.inputs import batches
from evenbench.harness.pipeline import postprocess
from evenbench.harness.results import records

onnx = pytest.importorskip("onnx")

IMAGES = {"image": ["N", 3, 8, 8]}
OBJECTS = {"boxes": ["M", 4], "labels": ["M"], "scores": ["M"]}


def saved(file: Path, outputs: dict[str, list[Any]], given: dict[str, list[Any]] = IMAGES) -> str:
    """An .onnx file with these inputs and outputs, which is described and never run: there is
    nothing between them.
    """
    from onnx import TensorProto, helper

    kinds = {"labels": TensorProto.INT64}
    ends = [
        [
            helper.make_tensor_value_info(name, kinds.get(name, TensorProto.FLOAT), shape)
            for name, shape in each.items()
        ]
        for each in (given, outputs)
    ]
    made = helper.make_model(
        helper.make_graph([], "g", *ends), opset_imports=[helper.make_opsetid("", 17)], ir_version=9
    )
    onnx.save(made, str(file))
    return str(file)


def found(target: str, **asked: Any) -> Model:
    (model,) = user_models.find(target, ModelFlags(**asked), 60).case.models
    return model


@pytest.mark.parametrize(
    ("task", "outputs"),
    [
        ("classification", {"y": ["N", 10]}),
        ("segmentation", {"y": ["N", 21, 8, 8]}),
        ("segmentation", {"aux": ["N", 4], "y": ["N", 2, 8, 8]}),
        ("text", {"tokens": ["N", 5, 8], "pooled": ["N", 8]}),
        ("other", {"y": ["N", 10]}),
        ("detection", OBJECTS),
    ],
)
def test_a_model_does_what_is_said_of_it(
    task: str, outputs: dict[str, list[Any]], tmp_path: Path
) -> None:
    target = saved(tmp_path / "m.onnx", outputs)
    assert found(target, task=task).task == task
    assert found(target).task == ("classification" if outputs == {"y": ["N", 10]} else "other"), (
        "without a word it is guessed as before"
    )


@pytest.mark.parametrize(
    ("task", "outputs", "said"),
    [
        (
            "segmentation",
            {"y": ["N", 10]},
            r"--task segmentation expects .*, height, width\].*; "
            r"the model has y float32\[batch, 10\]",
        ),
        ("segmentation", {"y": ["N", 1, 8, 8]}, "second size being 2 or more"),
        ("segmentation", {"labels": ["N", 2, 8, 8]}, "a float output with"),
        ("classification", {"y": ["N", 21, 8, 8]}, r"scores \[batch, classes\]"),
        ("text", {"tokens": ["N", 5, 8]}, r"embeddings \[batch, size\]"),
        (
            "detection",
            {"y": ["N", 10]},
            r"boxes \[n, 4\], labels \[n\] and scores \[n\] of one image.*docs/reference/tasks\.md",
        ),
        ("detection", {"boxes": ["M", 4], "labels": ["M"]}, "by these names"),
        ("detection", {**OBJECTS, "boxes": ["M", 5]}, r"boxes any|boxes float32\[any, 5\]"),
        ("detection", {"boxes": [100, 4], "labels": [100], "scores": [50]}, "by these names"),
    ],
)  # fmt: skip
def test_a_task_that_the_outputs_do_not_fit_is_refused_with_what_it_expects(
    task: str, outputs: dict[str, list[Any]], said: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=said):
        found(saved(tmp_path / "m.onnx", outputs), task=task)


def test_the_forms_are_those_that_the_facts_are_taken_of() -> None:
    assert {task: axes - 1 for task, (axes, _, _) in task_outputs.FORMS.items()} == {
        task: axes for task, (axes, _) in agreement.RULES.items()
    }
    assert set(task_outputs.TASKS) == {*agreement.RULES, "detection", "other"}


@pytest.mark.parametrize("image", [[3, 8, 8], [1, 3, 8, 8], ["N", 3, 8, 8]])
def test_a_detector_takes_one_image_and_answers_with_any_number_of_objects(
    image: list[Any], tmp_path: Path
) -> None:
    target = saved(tmp_path / "m.onnx", OBJECTS, {"image": image})
    model = found(target, task="detection")
    assert [spec.shape for spec in model.outputs] == [(ANY, 4), (ANY,), (ANY,)]
    assert model.inputs == (
        TensorSpec("image", (3, 8, 8) if len(image) == 3 else (BATCH, 3, 8, 8)),
    )
    with pytest.raises(UsageError, match="one image at a time, not --batch 1,8"):
        found(target, task="detection", batch=(1, 8))


def test_a_number_of_queries_that_a_file_fixes_stays(tmp_path: Path) -> None:
    target = saved(
        tmp_path / "m.onnx",
        {"boxes": [100, 4], "labels": [100], "scores": [100]},
        {"image": [3, 8, 8]},
    )
    assert [spec.shape for spec in found(target, task="detection").outputs] == [
        (100, 4),
        (100,),
        (100,),
    ]


def test_a_module_s_example_tells_no_number_of_objects(tmp_path: Path) -> None:
    """As torchvision's detectors answer: with a list of one dictionary."""
    pytest.importorskip("torch")
    (tmp_path / "finds.py").write_text(FINDS)
    model = found(f"{tmp_path / 'finds.py'}:build", task="detection", shape="1x3x8x8")
    assert [(spec.name, spec.shape) for spec in model.outputs] == [
        ("boxes", (ANY, 4)),
        ("labels", (ANY,)),
        ("scores", (ANY,)),
    ]
    assert model.inputs[0].shape == (BATCH, 3, 8, 8)
    with pytest.raises(UsageError, match="returns no tensor; expected a tensor"):
        found(f"{tmp_path / 'finds.py'}:silent", shape="1x3x8x8")


FINDS = """
import torch

class Finds(torch.nn.Module):
    def forward(self, images):
        labels = torch.tensor([1, 2])
        return [
            {"boxes": image[:2, 0, :4], "labels": labels, "scores": image[:2, 0, 0]}
            for image in images
        ]

class Silent(torch.nn.Module):
    def forward(self, images):
        return {"found": len(images)}

build, silent = Finds, Silent
"""


@pytest.mark.parametrize(
    "outputs", [{"boxes": ["N", "M", 4], "labels": ["N", "M"]}, {"y": [-1, -2]}]
)
def test_an_open_size_says_what_to_do_about_a_detector(
    outputs: dict[str, list[Any]], tmp_path: Path
) -> None:
    with pytest.raises(
        UsageError, match=r"boxes \[n, 4\], labels \[n\] and scores \[n\].* --task detection"
    ):
        found(saved(tmp_path / "m.onnx", outputs))


def parsed(*words: str) -> Selection:
    return selection_flags.parsed(words)


def test_the_command_of_a_cell_says_all_that_was_asked(tmp_path: Path, photo: Path) -> None:
    target = saved(
        tmp_path / "my model.onnx", {"y": ["N", 21, 224, 224]}, {"image": ["N", 3, 224, 224]}
    )
    words = (
        target,
        "--input",
        str(photo),
        "--recipe",
        "imagenet_224",
        "--preprocessing",
        "pillow,numpy",
        "--task",
        "segmentation",
    )
    words += (
        "--backends",
        "ort,openvino",
        "--option",
        "ort:spinning=off",
        "--option",
        "ort:tag=a b",
        "--option",
        "openvino:streams=2",
    )
    entries = selection.select(parsed(*words))
    assert {entry.cell.model.task for entry in entries} == {"segmentation"}
    program, command, *again = shlex.split(entries[0].command)
    assert (program, command) == ("evenbench", "run")
    assert [entry.cell.key for entry in selection.select(parsed(*again))] == [
        entry.cell.key for entry in entries
    ]
    assert [
        (entry.cell.model.name, entry.cell.backend, entry.cell.option) for entry in entries
    ] == [
        (name, backend, option)
        for name in ("my-model", "my-model+numpy")
        for backend, option in (
            ("ort", {"spinning": "off", "tag": "a b"}),
            ("openvino", {"streams": 2}),
        )
    ]


def test_both_sides_of_a_comparison_get_the_words_themselves() -> None:
    """They are no line of a shell: what is quoted for one would be the name of another file."""
    own = [
        "my model.onnx",
        "--input",
        "my photo.jpg",
        "--recipe",
        "imagenet_224",
        "--task",
        "text",
        "--option",
        "ort:tag=a b",
    ]
    assert arguments.parsed(compare, ["main", "HEAD", *own]).selection.words() == own


def test_a_pipeline_takes_the_task_and_options_too(tmp_path: Path, photo: Path) -> None:
    target = saved(tmp_path / "m.onnx", {"y": ["N", 21, 224, 224]}, {"image": ["N", 3, 224, 224]})
    own = (target, "--input", str(photo), "--recipe", "imagenet_224", "--backends", "ort")
    (cell,) = pipeline.chosen(
        arguments.parsed(
            pipeline, [*own, "--task", "segmentation", "--option", "ort:spinning=off"]
        ).model
    )
    assert (cell.model.task, cell.option, postprocess.outputs_read(cell.model)) == (
        "segmentation",
        {"spinning": "off"},
        ("y",),
    )
    with pytest.raises(UsageError, match="--task and --option are for a model of your own"):
        pipeline.chosen(arguments.parsed(pipeline, ["resnet18", "--task", "segmentation"]).model)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ort:exporter"], "--option 'ort:exporter' is not an option; expected BACKEND:KEY=VALUE"),
        (["exporter=torchscript"], "expected BACKEND:KEY=VALUE"),
        ([":a=1"], "expected BACKEND:KEY=VALUE"),
        (["ort:=1"], "expected BACKEND:KEY=VALUE"),
        (["nobody:a=1"], "unknown backend 'nobody'; expected one of"),
        (["ort:a=[1]"], r"\[1\] is not a value; expected text, a number, true or false"),
        (["ort:a=null"], "null is not a value"),
        (["ort:a=1", "ort:a=2"], "ort has a already; declare a case"),
    ],
)
def test_an_option_that_is_none_is_told_before_anything_is_read(
    words: list[str], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        user_models.find("absent.onnx", ModelFlags(options=tuple(words)), 60)


def test_values_are_read_as_a_case_would_write_them() -> None:
    words = (
        "ort:a=1",
        "ort:b=0.5",
        "ort:c=true",
        "ort:d=torchscript",
        "ort@1.24.1:e=x=y",
        'ort:f="1"',
    )
    assert user_model_flags.option_sets(words) == {
        "ort": ({"a": 1, "b": 0.5, "c": True, "d": "torchscript", "f": "1"},),
        "ort@1.24.1": ({"e": "x=y"},),
    }


@pytest.mark.parametrize(
    "words", [["--option", "nonsense"], ["--task", "nonsense"], ["--task", "text"]]
)
def test_misuse_ends_with_4(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = saved(tmp_path / "m.onnx", {"y": ["N", 2, 8, 8]})
    try:
        code = main(["list", target, *words])
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    assert code == 4
    assert words[0] in capsys.readouterr().err


def test_flags_of_a_model_of_ones_own_need_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "benchmarks", "--option", "ort:spinning=off"]) == 4
    assert "--option is for a model of your own" in capsys.readouterr().err


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    from PIL import Image

    file = tmp_path / "my photo.png"
    Image.effect_noise((300, 260), 60).convert("RGB").save(file)
    return file


def test_each_library_makes_the_inputs_of_a_model_of_its_own(tmp_path: Path, photo: Path) -> None:
    import numpy as np

    target = saved(tmp_path / "m.onnx", {"y": ["N", 10]}, {"image": ["N", 3, 224, 224]})
    asked = ModelFlags(
        photos=(str(photo),),
        recipe="imagenet_224",
        backends=("ort",),
        preprocessing=("pillow", "numpy"),
    )
    made = {}
    for cell in matrix.expand(user_models.find(target, asked, 60).case):
        folder = tmp_path / cell.model.name
        folder.mkdir()
        made[cell.model.name] = (
            batches.make(cell.model, 1, folder)["recipe"],
            np.load(folder / "image.npy"),
        )
    assert {name: recipe for name, (recipe, _) in made.items()} == {
        "m": "harness.inputs:files",
        "m+numpy": "imagenet_224+numpy",
    }
    assert 0 < np.abs(made["m"][1] - made["m+numpy"][1]).max() < 0.1


PHOTO = {"photos": ("photo.png",), "recipe": "imagenet_224"}


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"preprocessing": ("numpy",)}, "add --input photo.jpg and --recipe"),
        ({"preprocessing": ("imagemagick",), **PHOTO}, "unknown preprocessing 'imagemagick'"),
        (
            {"preprocessing": ("opencv",), **PHOTO},
            "--preprocessing opencv: recipe imagenet_224: .*samples",
        ),
    ],
)
def test_a_library_that_cannot_do_the_recipe_is_refused(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        user_models.find("absent.onnx", ModelFlags(**asked), 60)


def test_an_id_that_begins_like_a_flag_is_selected_as_an_id() -> None:
    for cell in ("-k-ort-fp32-cpu-b1", "plain-ort-fp32-cpu-b1", "--cell"):
        words = selection_flags.cell_words([cell])
        assert selection_flags.parsed(words).cell == (cell,)
        typed = shlex.split(records.cell_flag(cell))
        assert selection_flags.parsed(typed).cell == (cell,)
        chosen = Selection(targets=("-models",), expression=cell)
        again = selection_flags.parsed(chosen.words())
        assert (again.targets, again.expression) == (("./-models",), cell)
