"""A recipe and a drawing become plain values that another program follows: the same pixels as by
the steps themselves, or a refusal.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from evenbench.backends.cpp import frames, preprocessor
from evenbench.harness import ANY, BATCH, Model, Recipe, TensorSpec, Unsupported
from evenbench.harness.pipeline import frame_spec
from evenbench.harness.pipeline.frame_spec import CropSpec, LayoutSpec, ResizeSpec
from evenbench.harness.preprocess import (
    IMAGENET_224,
    CenterCrop,
    Decode,
    Layout,
    Normalise,
    Resize,
    ToArray,
)

SEGMENTER = Model(
    "m",
    "nobody:build",
    (TensorSpec("x", (BATCH, 3, 224, 224)),),
    (TensorSpec("aux", (BATCH, 7)), TensorSpec("out", (BATCH, 3, 4, 4))),
    recipe=IMAGENET_224,
    task="segmentation",
)
DETECTOR = replace(
    SEGMENTER,
    task="detection",
    outputs=(
        TensorSpec("masks", (ANY, 1, 8, 8)),
        TensorSpec("scores", (ANY,)),
        TensorSpec("labels", (ANY,), "int64"),
        TensorSpec("boxes", (ANY, 4)),
    ),
    score_threshold=0.25,
)


def recipe(*steps: Any) -> Recipe:
    return Recipe("r", (Decode("RGB"), *steps))


@pytest.mark.parametrize("size", [(640, 360), (361, 427), (225, 224), (1023, 767)])
def test_sizes_and_corners_are_those_of_the_steps(size: tuple[int, int]) -> None:
    resized, cropped, last = frame_spec.steps_of(IMAGENET_224, *size)
    assert isinstance(resized, ResizeSpec)
    assert isinstance(cropped, CropSpec)
    assert isinstance(last, LayoutSpec)
    picture = Image.fromarray(np.arange(size[0] * size[1], dtype=np.int32).reshape(size[::-1]))
    scaled = picture.resize((resized.width, resized.height), Image.Resampling.NEAREST)
    assert scaled.size == IMAGENET_224.steps[1].apply(picture).size
    place = cropped.left, cropped.top, cropped.left + cropped.size, cropped.top + cropped.size
    assert scaled.crop(place).tobytes() == CenterCrop(224).apply(scaled).tobytes()
    assert (last.order, last.scale, last.mean) == ("CHW", 1 / 255, (0.485, 0.456, 0.406))


def test_a_second_resize_begins_where_the_crop_ended() -> None:
    steps = frame_spec.steps_of(
        recipe(CenterCrop(100), Resize(50, antialias=True), ToArray(), Layout("HWC")), 300, 200
    )
    assert steps == (
        CropSpec(100, 50, 100),
        ResizeSpec(50, 50, "bilinear", True),
        LayoutSpec("HWC", 1 / 255, (), ()),
    )


@pytest.mark.parametrize(
    "steps",
    [
        (ToArray(), Resize(8, antialias=True), Layout()),
        (Resize(8, antialias=True), Layout()),
        (ToArray(), Normalise((0.5,), (0.5,))),
        (ToArray(), Layout(dtype="float64")),
        (ToArray(), Layout(), Layout()),
    ],
)
def test_another_order_of_steps_is_refused_in_words(steps: Any) -> None:
    with pytest.raises(
        Unsupported, match=r"recipe r is Decode, .*; expected RGB, Resize or CenterCrop, ToArray"
    ):
        frame_spec.steps_of(recipe(*steps), 64, 64)


def test_a_grey_recipe_and_a_crop_that_is_too_large_are_refused() -> None:
    with pytest.raises(Unsupported, match="expected RGB"):
        frame_spec.steps_of(Recipe("grey", (Decode("L"), ToArray(), Layout())), 64, 64)
    with pytest.raises(Unsupported, match="only 64x32 by then"):
        frame_spec.steps_of(recipe(CenterCrop(48), ToArray(), Layout()), 64, 32)


def test_what_is_read_is_told_by_its_place() -> None:
    of = frame_spec.of(SEGMENTER, IMAGENET_224, "pillow", 640, 360)
    assert (of.reads, of.input, of.shape, of.task) == (
        {"scores": 1},
        "x",
        (1, 3, 224, 224),
        "segmentation",
    )
    found = frame_spec.of(DETECTOR, IMAGENET_224, "pillow", 640, 360)
    assert found.reads == {"boxes": 3, "labels": 2, "scores": 1, "masks": 0}
    assert found.threshold == 0.25
    assert found.palette.shape == (256, 3)


def test_tensors_of_another_type_are_refused() -> None:
    whole = replace(SEGMENTER, inputs=(TensorSpec("x", (BATCH, 3, 224, 224), "uint8"),))
    with pytest.raises(Unsupported, match="x is uint8, and a frame becomes float32"):
        frame_spec.of(whole, IMAGENET_224, "pillow", 640, 360)
    wide = replace(SEGMENTER, outputs=(TensorSpec("out", (BATCH, 3, 4, 4), "float64"),))
    with pytest.raises(Unsupported, match="out is float64, and frames are read from float32"):
        frame_spec.of(wide, IMAGENET_224, "pillow", 640, 360)
    narrow = replace(
        DETECTOR,
        outputs=(*DETECTOR.outputs[:2], TensorSpec("labels", (ANY,), "int32"), DETECTOR.outputs[3]),
    )
    with pytest.raises(Unsupported, match="labels is int32, and frames are read from int64"):
        frame_spec.of(narrow, IMAGENET_224, "pillow", 640, 360)


def test_cpp_takes_over_only_what_it_does_to_the_very_level() -> None:
    antialiased = frame_spec.of(SEGMENTER, IMAGENET_224, "pillow", 640, 360)
    sampled = replace(
        antialiased, steps=(ResizeSpec(32, 32, "bilinear", False), *antialiased.steps[1:])
    )
    assert frames.refuses(antialiased) == ""
    assert "add +cpp to the model's name" in frames.refuses(sampled)
    assert frames.refuses(replace(sampled, implementation="cpp")) == ""
    assert "cannot reproduce opencv; supported are pillow and cpp" in frames.refuses(
        replace(antialiased, implementation="opencv")
    )


def test_the_words_name_every_number_exactly() -> None:
    told = dict(
        word.partition("=")[::2]
        for word in frames.program_options(
            frame_spec.of(DETECTOR, IMAGENET_224, "pillow", 640, 360)
        )
    )
    assert told["step 0"] == f"resize 455 256 0 1 {int(preprocessor.tall_first())}"
    assert told["step 1"] == "crop 116 16 224"
    numbers = list(map(float, told["step 2"].removeprefix("lay_out 1 ").split()))
    wanted = [
        1 / 255,
        *(
            value
            for pair in zip((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), strict=True)
            for value in pair
        ),
    ]
    assert numbers == [float(np.float32(value)) for value in wanted]
    assert (told["masks"], told["threshold"], told["shape"]) == ("0", "0.25", "1 3 224 224")
    assert len(told["view"].split()) == 6
