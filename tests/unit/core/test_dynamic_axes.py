"""One network at several sizes: what a model may declare so, and which axes change."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from evenbench.harness import BATCH, Case, Model, TensorSpec, UsageError, preprocess, seeded
from evenbench.harness.collection import matrix
from evenbench.harness.collection.discovery import beside
from evenbench.harness.core import dynamic_axes
from evenbench.harness.inputs import preprocessors
from tests.unit.builders import product


def encoder(length: int, **changed: Any) -> Model:
    specs = tuple(TensorSpec(name, (BATCH, length), "int64") for name in ("ids", "mask"))
    return product(
        name=f"encoder_{length}",
        inputs=specs,
        outputs=(TensorSpec("embedding", (BATCH, 8)),),
        **changed,
    )


def segmenter(height: int, width: int, **changed: Any) -> Model:
    shape = (BATCH, 3, height, width)
    declared = {
        "inputs": (TensorSpec("image", shape),),
        "outputs": (TensorSpec("out", (BATCH, 21, height, width)),),
    }
    return product(name=f"segmenter_{height}x{width}", **declared, **changed)


def test_the_axes_that_change_are_found_in_inputs_and_outputs() -> None:
    assert dynamic_axes.changing(encoder(128, sizes=(encoder(16), encoder(64)))) == {
        "ids": (1,),
        "mask": (1,),
    }
    assert dynamic_axes.changing(segmenter(64, 64, sizes=(segmenter(64, 96),))) == {
        "image": (3,),
        "out": (3,),
    }
    assert dynamic_axes.changing(
        segmenter(64, 64, sizes=(segmenter(64, 96), segmenter(32, 64)))
    ) == {"image": (2, 3), "out": (2, 3)}
    assert dynamic_axes.changing(encoder(128)) == {}


def test_outputs_that_another_declaration_leaves_out_do_not_change() -> None:
    """What fetches tensors within a network declares them as outputs of one size."""
    model = encoder(128, sizes=(encoder(16),))
    watched = replace(model, outputs=(*model.outputs, TensorSpec("within", ())))
    assert dynamic_axes.changing(watched) == {"ids": (1,), "mask": (1,)}


def test_a_size_has_a_short_name() -> None:
    model = encoder(128, sizes=(encoder(16),))
    assert [dynamic_axes.label(each, model) for each in (model, *model.sizes)] == ["128", "16"]
    model = segmenter(64, 96, sizes=(segmenter(32, 64), segmenter(64, 64)))
    assert [dynamic_axes.label(each, model) for each in (model, *model.sizes)] == [
        "3x64x96",
        "3x32x64",
        "3x64x64",
    ]


def test_inputs_of_different_sizes_are_both_in_the_name() -> None:
    def pair(one: int, other: int) -> Model:
        return product(
            name=f"pair_{one}_{other}",
            inputs=(TensorSpec("a", (BATCH, one)), TensorSpec("b", (BATCH, other))),
        )

    model = replace(pair(4, 8), sizes=(pair(4, 4), pair(2, 8)))
    assert [dynamic_axes.label(each, model) for each in (model, *model.sizes)] == [
        "4+8",
        "4",
        "2+8",
    ]


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (
            encoder(16, build="tests.unit.builders:samples"),
            "encoder_16 with another build=, file= or weights=",
        ),
        (encoder(16, weights=seeded(1)), "one network"),
        (encoder(128), "another size with equal inputs"),
        (segmenter(16, 16), "differ in more than their sizes"),
        (
            replace(encoder(16), inputs=(TensorSpec("ids", (BATCH, 16), "int64"),)),
            "differ in more than their sizes",
        ),
        (
            replace(
                encoder(16),
                inputs=tuple(TensorSpec(name, (1, 16), "int64") for name in ("ids", "mask")),
            ),
            "the batch must be those",
        ),
        (
            replace(encoder(16), outputs=(TensorSpec("other", (BATCH, 8)),)),
            "tensors differ in more than their sizes",
        ),
        (encoder(16, sizes=(encoder(8),)), "a model with sizes"),
    ],
)
def test_what_is_no_size_of_a_model_is_refused_in_words(other: Model, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        encoder(128, sizes=(other,))


def test_two_sizes_that_are_the_same_are_refused() -> None:
    with pytest.raises(UsageError, match="name each size once"):
        encoder(128, sizes=(encoder(16), replace(encoder(16), name="again")))


def test_sizes_are_part_of_what_a_model_is_and_no_sizes_change_nothing() -> None:
    plain, sized = encoder(128), encoder(128, sizes=(encoder(16),))
    assert (
        len({plain.fingerprint, sized.fingerprint, encoder(128, sizes=(encoder(64),)).fingerprint})
        == 3
    )
    located = [
        encoder(128, sizes=(encoder(16, inputs_from=f"{folder}/model.py:rows"),))
        for folder in ("/home/one", "/srv/two")
    ]
    assert located[0].fingerprint == located[1].fingerprint


def test_a_library_that_does_the_recipe_does_that_of_every_size() -> None:
    small = replace(preprocess.IMAGENET_224, name="small")
    model = segmenter(
        64, 64, recipe=preprocess.IMAGENET_224, sizes=(segmenter(32, 32, recipe=small),)
    )
    (made,) = [
        each.model
        for each in matrix.expand(
            Case((model,), backends=("null",), preprocessing=("opencv-area",))
        )
    ]
    assert made.name == "segmenter_64x64+opencv-area"
    assert [preprocessors.of(each.recipe) for each in (made, *made.sizes) if each.recipe] == [
        "opencv-area",
        "opencv-area",
    ]


def test_a_file_is_found_for_every_size(tmp_path: Any) -> None:
    def own(length: int, **changed: Any) -> Model:
        return replace(encoder(length), build="", file="model.onnx", **changed)

    (made,) = beside(tmp_path, Case((own(128, sizes=(own(16),)),), backends=("null",))).models
    assert made.file == made.sizes[0].file == str(tmp_path / "model.onnx")
