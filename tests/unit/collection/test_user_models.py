"""A model of one's own, from a file or a function, without a declaration."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evenbench.backends.torch.float64_reference import Reference
from evenbench.harness import BATCH, Cell, Model, TensorSpec
from evenbench.harness.collection import (
    availability,
    discovery,
    matrix,
    model_reader,
    user_model_flags,
    user_models,
)
from evenbench.harness.collection.user_model_flags import ModelFlags
from evenbench.harness.core import registry
from evenbench.harness.core.cases import Entry
from evenbench.harness.core.errors import UsageError
from evenbench.harness.environment import cpu
from evenbench.harness.inputs import batches as inputs
from evenbench.harness.inputs import calibration

BUILDERS = """
def build():
    from torch import nn
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 4))

def with_example():
    import torch
    return build(), torch.zeros(1, 3, 2, 2)

def raises():
    raise RuntimeError("no weights here")

def no_module():
    return 7
"""


@pytest.fixture
def builders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with functions that build, or fail to."""
    pytest.importorskip("torch")
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "builders.py"
    file.write_text(BUILDERS)
    return file


def save_onnx(
    file: Path, first: int | str = "N", inner: int | str = 4, names: tuple[str, ...] = ("x",)
) -> Path:
    """An .onnx file that adds its inputs up, of shape [first, inner]."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper

    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [first, inner]) for name in names
    ]
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [first, inner])
    graph = helper.make_graph([helper.make_node("Sum", list(names), ["y"])], "sum", values, [out])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9),
        str(file),
    )
    return file


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A picture of 300 x 260 pixels."""
    from PIL import Image

    file = tmp_path / "photo.png"
    Image.effect_noise((300, 260), 60).convert("RGB").save(file)
    return file


def only_model(found: user_models.UserModel) -> Model:
    (model,) = found.case.models
    return model


@pytest.mark.parametrize(
    ("target", "is_model"),
    [
        ("model.onnx", True),
        ("folder/with space/model.onnx", True),
        ("model.pt2", True),
        ("folder/model.pt", True),
        ("package.module:build", True),
        ("path/file.py:build", True),
        ("benchmarks", False),
        ("benchmarks/bench_x.py", False),
        ("benchmarks/bench_x.py::latency", False),
    ],
)
def test_models_are_told_from_declarations(target: str, is_model: bool) -> None:
    assert user_models.is_model(target) is is_model


def test_a_file_with_a_free_batch_runs_at_any(tmp_path: Path) -> None:
    file = save_onnx(tmp_path / "my model.onnx")
    found = user_models.find(str(file), ModelFlags(batch=(1, 8)), 60)
    model = only_model(found)
    assert model.name == "my-model"
    assert model.inputs == (TensorSpec("x", (BATCH, 4)),)
    assert model.outputs == (TensorSpec("y", (BATCH, 4)),)
    assert (model.file, model.weights.source, model.inputs_from) == (
        str(file),
        "file",
        "evenbench.harness.inputs:standard_normal",
    )
    assert found.case.batch == (1, 8)
    assert "reference evaluator" in found.summary


def test_a_file_with_a_fixed_batch_runs_at_that_one(tmp_path: Path) -> None:
    file = save_onnx(tmp_path / "fixed.onnx", first=3)
    found = user_models.find(str(file), ModelFlags(), 60)
    assert found.case.batch == (3,)
    assert only_model(found).inputs[0].concrete(3) == (3, 4)
    assert "x float32[3, 4]" in found.summary
    with pytest.raises(UsageError, match="dynamic batch axis"):
        user_models.find(str(file), ModelFlags(batch=(8,)), 60)


def test_another_free_size_is_guessed_or_given(tmp_path: Path) -> None:
    file = save_onnx(tmp_path / "free.onnx", inner="seq_len")
    guessed = user_models.find(str(file), ModelFlags(), 60)
    assert only_model(guessed).inputs == (TensorSpec("x", (BATCH, 128)),)
    assert "guessed seq_len=128" in guessed.summary
    given = user_models.find(str(file), ModelFlags(dims=("seq_len=7", "batch=2")), 60)
    assert only_model(given).outputs == (TensorSpec("y", (BATCH, 7)),)
    assert (given.case.batch, "guessed" in given.summary) == ((2,), False)
    with pytest.raises(UsageError, match="--batch 4 contradicts the batch of 2"):
        user_models.find(str(file), ModelFlags(dims=("batch=2",), batch=(4,)), 60)


def test_the_inputs_of_a_file_are_made_up_or_given(tmp_path: Path) -> None:
    file = save_onnx(tmp_path / "m.onnx")
    np.savez(tmp_path / "x.npz", x=np.ones((5, 4), np.float32))
    found = user_models.find(str(file), ModelFlags(samples=(str(tmp_path / "x.npz"),)), 60)
    assert (only_model(found).inputs_from, found.case.batch) == (
        "evenbench.harness.inputs:given",
        (5,),
    )
    assert "inputs: 1 sample from x.npz" in found.summary
    folder = tmp_path / "test_data_set_0"
    folder.mkdir()
    onnx = pytest.importorskip("onnx")
    tensor = onnx.numpy_helper.from_array(np.ones((2, 4), np.float32), "x")
    (folder / "input_0.pb").write_bytes(tensor.SerializeToString())
    found = user_models.find(str(file), ModelFlags(), 60)
    assert "1 sample from test data beside the file" in found.summary
    other = save_onnx(tmp_path / "other.onnx", inner=9)
    found = user_models.find(str(other), ModelFlags(), 60)
    assert only_model(found).inputs_from == "evenbench.harness.inputs:standard_normal"
    assert "the test data beside the file do not fit: x: axis 1 has size 4" in found.summary


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        ({"dims": ("seq",)}, "--dim 'seq' is no size; expected NAME=N"),
        ({"dims": ("a=1", "a=2")}, "--dim a is given twice"),
        ({"ranges": ("ids=9..0",)}, "--range 'ids=9..0' is no range"),
        ({"samples": ("absent.npz",)}, "--inputs absent.npz: no such file or folder"),
        ({"samples": ("a.npz",), "ranges": ("x=1",)}, "--range is for made-up inputs"),
        ({"samples": ("a.npz",), "photos": ("a.jpg",)}, "--input and --inputs are two sources"),
    ],
)
def test_contradicting_flags_of_inputs_are_told(flags: dict[str, Any], problem: str) -> None:
    recipe = {"recipe": "imagenet_224"} if "photos" in flags else {}
    step = user_model_flags.check if "samples" in flags else user_model_flags.request
    with pytest.raises(UsageError, match=re.escape(problem)):
        step("m.onnx", ModelFlags(**flags, **recipe))


def test_sizes_of_an_onnx_file_are_no_flag_of_a_module() -> None:
    with pytest.raises(UsageError, match="--dim is for an ONNX file"):
        user_model_flags.check("package.module:build", ModelFlags(dims=("seq=1",)))


def test_a_file_that_changed_is_another_cell(tmp_path: Path) -> None:
    before = only_model(user_models.find(str(save_onnx(tmp_path / "m.onnx")), ModelFlags(), 60))
    after = only_model(
        user_models.find(str(save_onnx(tmp_path / "m.onnx", names=("x", "z"))), ModelFlags(), 60)
    )
    assert Cell(before, "ort").key != Cell(after, "ort").key


def test_no_onnx_model_at_all(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_text("nothing of the kind")
    with pytest.raises(UsageError, match=r"bad\.onnx"):
        user_models.find(str(tmp_path / "bad.onnx"), ModelFlags(), 60)
    with pytest.raises(UsageError, match="no such file"):
        user_models.find(str(tmp_path / "absent.onnx"), ModelFlags(), 60)


def test_a_function_with_example_inputs(builders: Path) -> None:
    found = user_models.find(
        f"{builders}:with_example", ModelFlags(backends=("torch-eager",), precisions=("fp32",)), 60
    )
    model = only_model(found)
    assert model.name == "builders.with_example"
    assert [spec.shape for spec in (*model.inputs, *model.outputs)] == [
        (BATCH, 3, 2, 2),
        (BATCH, 4),
    ]
    assert model.weights.source == "own"
    assert model.task == "classification"
    assert "float64 torch eager" in found.summary


def test_a_function_by_the_name_of_its_module_with_a_shape(builders: Path) -> None:
    model = only_model(user_models.find("builders:build", ModelFlags(shape="1x3x2x2"), 60))
    assert model.name == "builders"
    assert model.build == "builders:build"
    assert model.inputs[0].shape == (BATCH, 3, 2, 2)


@pytest.mark.parametrize(
    ("target", "asked", "said"),
    [
        ("{file}:build", ModelFlags(), "--shape"),
        ("{file}:build", ModelFlags(shape="1x"), "is not a shape"),
        ("{file}:absent", ModelFlags(), "has no 'absent'"),
        ("{file}:raises", ModelFlags(), r"no weights here \(.*builders\.py:\d+ in raises\)"),
        ("{file}:no_module", ModelFlags(), "expected a torch.nn.Module"),
        ("{file}x.py:build", ModelFlags(), "no such file"),
        ("no.such.module:build", ModelFlags(), "no module 'no.such.module'"),
        ("{file}:not a name", ModelFlags(), "names no function"),
    ],
)
def test_a_function_that_cannot_be_used_says_why(
    target: str, asked: ModelFlags, said: str, builders: Path
) -> None:
    with pytest.raises(UsageError, match=said):
        user_models.find(target.format(file=builders), asked, 60)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (ModelFlags(photos=("{photo}",)), "--input needs --recipe"),
        (ModelFlags(recipe="imagenet_224"), "add --input"),
        (ModelFlags(photos=("{photo}",), recipe="nonsense"), "expected one of imagenet_224"),
        (ModelFlags(photos=("absent.jpg",), recipe="imagenet_224"), "no such file"),
        (ModelFlags(photos=("{text}",), recipe="imagenet_224"), "cannot identify image"),
        (ModelFlags(shape="1x4"), "declares the shapes"),
    ],
)
def test_what_is_asked_is_checked_before_anything_runs(
    asked: ModelFlags, said: str, tmp_path: Path, photo: Path
) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    photos = tuple(name.format(photo=photo, text=tmp_path / "text.jpg") for name in asked.photos)
    asked = ModelFlags(photos=photos, recipe=asked.recipe, shape=asked.shape)
    with pytest.raises(UsageError, match=said):
        user_models.find(str(save_onnx(tmp_path / "m.onnx")), asked, 60)


def test_photos_become_inputs_and_a_changed_photo_other_ones(
    builders: Path, photo: Path, tmp_path: Path
) -> None:
    builders.write_text(BUILDERS.replace("nn.Linear(12, 4)", "nn.Linear(3 * 224 * 224, 4)"))
    asked = ModelFlags(photos=(str(photo),), recipe="imagenet_224")
    model = only_model(user_models.find(f"{builders}:build", asked, 60))
    assert model.inputs_from == "evenbench.harness.inputs:files"
    assert model.inputs[0].shape == (BATCH, 3, 224, 224)
    assert json.loads(model.arguments["files"]) == [str(photo)]
    facts = inputs.make(model, 1, tmp_path)
    assert facts["batches"] == 3  # the photo and its two mirror images
    before = inputs.key_parts(Cell(model, "torch-eager"))
    photo.write_bytes(photo.read_bytes() + b"\0")
    after = inputs.key_parts(
        Cell(only_model(user_models.find(f"{builders}:build", asked, 60)), "torch-eager")
    )
    assert before != after


def test_a_photo_for_a_model_with_two_inputs_is_refused(tmp_path: Path, photo: Path) -> None:
    file = save_onnx(tmp_path / "two.onnx", names=("a", "b"))
    with pytest.raises(UsageError, match="the model has 2"):
        user_models.find(str(file), ModelFlags(photos=(str(photo),), recipe="imagenet_224"), 60)


def test_every_runtime_is_the_default(tmp_path: Path) -> None:
    from evenbench.harness.collection import matrix

    found = user_models.find(str(save_onnx(tmp_path / "m.onnx")), ModelFlags(), 60)
    cells = matrix.expand(found.case)
    assert [cell.backend for cell in cells] == list(registry.runtimes())
    assert {cell.threads for cell in cells} == {cpu.cores()}


@pytest.mark.parametrize("batch", [1, 2, 8, 11, 16])
def test_random_inputs_differ_between_batches_at_every_batch_size(
    batch: int, tmp_path: Path
) -> None:
    import numpy as np

    spec = (TensorSpec("x", (BATCH, 4)),)
    model = Model(
        "m", build="a:b", inputs=spec, outputs=spec, inputs_from=model_reader.RANDOM_INPUTS
    )
    inputs.make(model, batch, tmp_path)
    batches = np.load(tmp_path / "x.npy")
    assert len(batches) >= 3
    assert not np.array_equal(batches[0], batches[1])


def test_int8_is_dynamic_where_random_numbers_are_all_there_is_to_calibrate_by(
    tmp_path: Path, builders: Path
) -> None:
    found = user_models.find(
        str(save_onnx(tmp_path / "m.onnx")),
        ModelFlags(precisions=("fp32", "int8", "int8-dynamic")),
        60,
    )
    assert found.case.precisions == ("fp32", "int8-dynamic")
    assert found.summary.endswith("; int8 is int8-dynamic here: m has no calibration data")
    shown = user_models.find(f"{builders}:with_example", ModelFlags(precisions=("int8",)), 60)
    assert shown.case.precisions == ("int8-dynamic",), "an example is no calibration data"


def test_int8_static_is_calibrated_on_the_given_data_and_other_precisions_keep_their_keys(
    tmp_path: Path,
) -> None:
    import numpy as np

    file, data = str(save_onnx(tmp_path / "m.onnx")), tmp_path / "data.npz"
    np.savez(data, x=np.ones((5, 4), np.float32))
    plain = user_models.find(file, ModelFlags(), 60)
    found = user_models.find(
        file, ModelFlags(precisions=("fp32", "int8", "bf16"), calibration=(str(data),)), 60
    )
    assert [case.precisions for case in found.cases] == [("fp32", "bf16"), ("int8-static",)]
    assert "has calibration data" in found.summary
    assert found.cases[0].models == plain.case.models
    (calibrated,) = found.cases[1].models
    assert calibrated.calibration_from == "evenbench.harness.inputs:calibration_samples"
    assert calibration.origin(calibrated) == "data.npz"
    assert (calibration.samples(calibrated)["x"] == 1).all()
    entries = [Entry(Cell(case.models[0], "ort"), str(at)) for at, case in enumerate(found.cases)]
    discovery.check_names(entries)


def test_int8_static_without_data_is_unsupported_before_a_run(tmp_path: Path) -> None:
    file = str(save_onnx(tmp_path / "m.onnx"))
    found = user_models.find(file, ModelFlags(precisions=("int8-static",)), 60)
    (cell,) = matrix.expand(replace(found.case, backends=("ort",)))
    (prospect,) = availability.prospects([Entry(cell)])
    assert "model m declares none; give --calibration" in prospect["unsupported"]


def test_two_shapes_of_one_command_are_two_models(
    builders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(target: str, arguments: dict[str, str], timeout: float) -> model_reader.Reading:
        model = model_reader.declaration(target, arguments)
        size = tuple(map(int, arguments["shape"].split("x")))
        tensors = (TensorSpec("x", (BATCH, *size[1:])),)
        described = replace(model, inputs=tensors, outputs=tensors)
        return model_reader.Reading(described, Reference(), {"examples": {"first_size": 1}})

    monkeypatch.setattr(model_reader, "read", read)
    found = user_models.find(f"{builders}:build", ModelFlags(shape="1x3x2x2/1x12x1x1"), 60)
    cells = [Cell(case.models[0], "ort") for case in found.cases]
    assert [cell.shape for cell in cells] == ["1x3x2x2", "1x12x1x1"]
    assert cells[0].key != cells[1].key
    discovery.check_names([Entry(cell) for cell in cells])
