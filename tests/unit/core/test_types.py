"""Values: what is refused, what makes two of them different, and what must not."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from evenbench.harness import (
    BATCH,
    PLANS,
    Cell,
    Model,
    Photograph,
    TensorSpec,
    UsageError,
    own,
    preprocess,
    pretrained,
    seeded,
    trained,
)
from evenbench.harness.core import types, weights
from tests.unit.builders import PRODUCT, cell, matrix, product


def test_a_spec_fills_in_its_batch() -> None:
    assert TensorSpec("x", (BATCH, 3, 8)).concrete(4) == (4, 3, 8)
    assert TensorSpec("x", (2, 3)).concrete(4) == (2, 3)


@pytest.mark.parametrize("name", ["", "two words", "tab\t"])
def test_a_model_needs_a_name_without_white_space(name: str) -> None:
    with pytest.raises(UsageError, match="white space"):
        product(name=name)


@pytest.mark.parametrize(
    "both", [{"build": "", "file": ""}, {"build": "m:f", "file": "model.onnx"}]
)
def test_a_model_has_exactly_one_source(both: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="exactly one of build= and file="):
        product(**both)


def test_a_model_keeps_names_in_the_place_of_callables() -> None:
    made = product(build=matrix, inputs_from=matrix, evaluation=matrix)
    assert {made.build, made.inputs_from, made.evaluation} == {"tests.unit.builders:matrix"}


CHANGES = {
    "name": "other",
    "build": "tests.unit.builders:samples",
    "inputs": (TensorSpec("x", (BATCH, 4), "float64"),),
    "outputs": (TensorSpec("z", (BATCH, 3)),),
    "recipe": preprocess.IMAGENET_224,
    "weights": seeded(0),
    "task": "classification",
    "images": (Photograph("cat", "skimage", "cat.png", "00"),),
    "inputs_from": "other:samples",
    "evaluation": "other:held_out",
    "tolerance": {"fp32": (0.1, 0.1)},
    "arguments": {"seed": "1"},
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_declared_fact_changes_the_fingerprint_and_the_key(change: str) -> None:
    changed = product(**{change: CHANGES[change]})
    assert changed.fingerprint != PRODUCT.fingerprint
    assert cell(model=changed).key != cell().key


def test_a_recipe_that_differs_in_one_step_is_another() -> None:
    other = dataclasses.replace(preprocess.IMAGENET_224, steps=preprocess.IMAGENET_224.steps[:-1])
    assert product(recipe=other).fingerprint != product(recipe=preprocess.IMAGENET_224).fingerprint


def test_folders_do_not_change_the_fingerprint() -> None:
    def located(folder: str) -> Model:
        return product(
            build=f"{folder}/model.py:build",
            inputs_from=f"{folder}/model.py:data",
            weights=trained(f"{folder}/model.py:fit"),
        )

    assert located("/home/one").fingerprint == located("/srv/two").fingerprint
    assert (
        product(build="", file="/a/model.onnx").fingerprint
        == product(build="", file="/b/model.onnx").fingerprint
    )


def test_equal_models_hash_alike() -> None:
    assert len({product(), product(), product(name="other")}) == 2


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"backend": "twin"}, "twin"),
        ({"precision": "bf16"}, "bf16"),
        ({"device": "cuda"}, "cuda"),
        ({"batch": 8}, "b8"),
        ({"threads": 2, "default_threads": False}, "t2"),
        ({"options": (("level", 3),)}, "level=3"),
    ],
)
def test_every_axis_of_a_cell_is_in_its_id_and_its_key(
    change: dict[str, object], part: str
) -> None:
    changed = dataclasses.replace(cell(), **change)
    assert part in changed.id.split("-")
    assert part not in cell().id.split("-")
    assert changed.key != cell().key


def test_an_id_leaves_defaults_out() -> None:
    assert Cell(PRODUCT, "ort", threads=16).id == "product-ort-fp32-cpu-b1"


def test_how_threads_were_chosen_changes_neither_key_nor_equality() -> None:
    said, default = cell(threads=2, default_threads=False), cell(threads=2)
    assert (said.key, said) == (default.key, default)


def test_a_group_leaves_backend_and_options_out() -> None:
    assert cell().group == cell("twin", options=(("flag", "x"),)).group
    assert (
        len(
            {
                cell(**change).group
                for change in (
                    {},
                    {"batch": 2},
                    {"precision": "fp16"},
                    {"threads": 2},
                    {"device": "cuda"},
                )
            }
        )
        == 5
    )


def test_a_backend_may_name_an_environment() -> None:
    made = cell("ort@1.24.1")
    assert (made.backend_name, made.interpreter_name) == ("ort", "1.24.1")
    assert (cell("ort").backend_name, cell("ort").interpreter_name) == ("ort", "")


def test_a_cell_describes_itself_completely() -> None:
    assert cell(options=(("flag", "x"),)).described() == {
        "id": "product-product-fp32-cpu-b1-flag=x",
        "key": cell(options=(("flag", "x"),)).key,
        "group": "product-fp32-cpu-b1-t1",
        "model": "product",
        "backend": "product",
        "precision": "fp32",
        "device": "cpu",
        "batch": 1,
        "threads": 1,
        "options": {"flag": "x"},
        "input_shapes": {spec.name: list(spec.shape) for spec in PRODUCT.inputs},
    }


def test_a_shape_of_the_command_line_is_part_of_id_and_group() -> None:
    small = replace(PRODUCT, arguments={"shape": "1x3x64x64"})
    large = replace(PRODUCT, arguments={"shape": "1x3x128x128"})
    cells = [Cell(model, "ort", options=(("flag", "x"),)) for model in (PRODUCT, small, large)]
    assert [made.id for made in cells] == [
        "product-ort-fp32-cpu-b1-flag=x",
        "product-ort-fp32-cpu-b1-1x3x64x64-flag=x",
        "product-ort-fp32-cpu-b1-1x3x128x128-flag=x",
    ]
    assert [made.group for made in cells] == [
        "product-fp32-cpu-b1-t1",
        "product-fp32-cpu-b1-t1-1x3x64x64",
        "product-fp32-cpu-b1-t1-1x3x128x128",
    ]
    two = replace(PRODUCT, arguments={"shape": "1x16,1x16"})
    assert Cell(two, "ort").shape == "1x16", "equal shapes appear once"
    photo = replace(PRODUCT, arguments={"shape": "1x3x224x224", "recipe": "imagenet_224"})
    assert Cell(photo, "ort").id == "product-ort-fp32-cpu-b1", "the recipe has the shape"
    text = replace(PRODUCT, arguments={"shape": "1x3x96x96", "recipe": "size=96"})
    assert Cell(text, "ort").id == "product-ort-fp32-cpu-b1-1x3x96x96"


def test_values_are_frozen() -> None:
    for value, field in (
        (cell(), "batch"),
        (PRODUCT, "name"),
        (PLANS["quick"], "processes"),
        (own(), "seed"),
    ):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, field, 3)


@pytest.mark.parametrize(
    "wrong", [{"processes": 0}, {"min_samples": 0}, {"max_seconds": 0.01}, {"timeout_seconds": 0.0}]
)
def test_a_plan_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="plan quick"):
        dataclasses.replace(PLANS["quick"], **wrong)


def test_plans_grow() -> None:
    amounts = [
        (plan.processes, plan.min_samples, plan.min_seconds, plan.max_seconds)
        for plan in PLANS.values()
    ]
    assert all(
        less < more
        for before, after in itertools.pairwise(amounts)
        for less, more in zip(before, after, strict=True)
    )


def test_weights_say_where_they_come_from() -> None:
    assert pretrained("https://x/y.pth", "ab") == weights.Weights(
        "pretrained", url="https://x/y.pth", sha256="ab"
    )
    assert (seeded(3).source, seeded(3).seed, own().source) == ("seeded", 3, "own")
    assert trained(matrix, 5) == weights.Weights(
        "trained", seed=5, train="tests.unit.builders:matrix"
    )


def test_json_names_the_class_of_a_step_and_of_nothing_else() -> None:
    made = types.to_json(
        {"recipe": preprocess.IMAGENET_224, "spec": TensorSpec("x", (BATCH, 2)), 1: (1, 2)}
    )
    resize = {
        "step": "Resize",
        "size": 256,
        "antialias": True,
        "filter": "bilinear",
        "exact": False,
    }
    assert made["recipe"]["steps"][1].items() >= resize.items()
    assert "step" not in made["recipe"]
    assert made["spec"] == {"name": "x", "shape": ["batch", 2], "dtype": "float32"}
    assert made["1"] == [1, 2]


def test_a_digest_does_not_depend_on_the_order_of_keys_but_on_that_of_lists() -> None:
    assert types.digest({"a": 1, "b": [1, 2]}) == types.digest({"b": (1, 2), "a": 1})
    assert types.digest([1, 2]) != types.digest([2, 1])
    # Fixed for ever: a changed digest would make every stored key a stranger.
    assert types.digest({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


def test_a_relative_file_and_an_absolute_one_have_one_portable_name(tmp_path: Path) -> None:
    assert (
        product(build="models/net.py:build").fingerprint
        == product(build=f"{tmp_path}/models/net.py:build").fingerprint
    )


def test_the_batch_has_one_place_at_most() -> None:
    with pytest.raises(UsageError, match=r"tensor x has shape .* 'batch' in two places"):
        TensorSpec("x", (BATCH, 3, BATCH))


@pytest.mark.parametrize(
    ("shape", "axis", "sample", "whole"),
    [
        ((BATCH, 3, 8), 0, (3, 8), (5, 3, 8)),
        ((2, BATCH, 128), 1, (2, 128), (2, 5, 128)),
        ((4,), None, (4,), (4,)),
        ((), None, (), ()),
    ],
)
def test_a_spec_says_where_its_batch_is(
    shape: tuple[int | str, ...],
    axis: int | None,
    sample: tuple[int, ...],
    whole: tuple[int, ...],
) -> None:
    spec = TensorSpec("state", shape)
    assert (spec.batch_axis, spec.sample, spec.concrete(5)) == (axis, sample, whole)


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), 0.0, -1.0])
def test_a_timeout_is_a_time(seconds: float) -> None:
    with pytest.raises(UsageError, match="timeout_seconds a number above 0"):
        dataclasses.replace(PLANS["quick"], timeout_seconds=seconds)
