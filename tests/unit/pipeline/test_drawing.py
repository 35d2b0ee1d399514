"""Predictions are drawn where the network looked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from evenbench.harness import ANY, Recipe, TensorSpec
from evenbench.harness.pipeline import drawing, postprocess
from evenbench.harness.preprocess import IMAGENET_224, CenterCrop, Decode, Layout, Resize, ToArray
from tests.unit.pipeline.drawable_models import DETECTOR, SEGMENTER, detections

GREY = (90, 90, 90)


def frame(width: int = 80, height: int = 40) -> Any:
    return Image.new("RGB", (width, height), GREY)


def changed(picture: Any) -> np.ndarray:
    """Which pixels are no longer grey."""
    return np.any(np.asarray(picture) != GREY, axis=-1)


def test_a_crop_narrows_the_view_and_a_resize_does_not() -> None:
    seen = drawing.view(IMAGENET_224, 640, 360)
    assert (seen.width, seen.height) == (224, 224)
    side = 224 / 256 * 360
    assert seen.box == pytest.approx(
        (320 - side / 2, 180 - side / 2, 320 + side / 2, 180 + side / 2), abs=1.5
    )
    assert seen.place(0, 0) == (seen.left, seen.top)
    assert seen.place(224, 224) == pytest.approx((seen.right, seen.bottom))
    squeezed = Recipe(
        "squeezed",
        (Decode("RGB"), Resize(32, antialias=True, exact=True), ToArray(), Layout("CHW")),
    )
    assert drawing.view(squeezed, 640, 360) == drawing.View(0, 0, 640, 360, 32, 32)


def test_the_view_is_where_the_pixels_come_from() -> None:
    """A white square painted where the view says that the network's middle is, is in the middle of
    what it gets.
    """
    recipe = Recipe(
        "r", (Decode("RGB"), Resize(40, antialias=False), CenterCrop(20), ToArray(), Layout("CHW"))
    )
    seen, picture = drawing.view(recipe, 160, 80), Image.new("RGB", (160, 80))
    (left, top), (right, bottom) = seen.place(5, 5), seen.place(15, 15)
    picture.paste((255, 255, 255), (round(left), round(top), round(right), round(bottom)))
    value: Any = picture
    for step in recipe.steps[1:]:
        value = step.apply(value)
    bright = np.argwhere(value[0] > 0.5)
    assert bright.min(0).tolist() == [5, 5]
    assert bright.max(0).tolist() == [14, 14]


def test_every_pixel_has_its_class() -> None:
    scores = np.zeros((1, 3, 4, 4), np.float32)
    scores[0, 2, :, :2] = 1
    answer = postprocess.reader(SEGMENTER)({"aux": np.zeros((1, 7)), "out": scores})
    assert answer.classes is not None
    assert answer.classes.tolist() == [[2, 2, 0, 0]] * 4
    picture = drawing.draw(frame(), drawing.View(20, 0, 60, 40, 4, 4), answer)
    laid = changed(picture)
    assert laid[10:30, 22:38].all(), "the left half of the view"
    assert not laid[1:39, 42:58].any(), "the background stays"
    assert not laid[:, :20].any(), "and what the network did not see"


def test_a_box_is_drawn_where_its_corners_are_in_the_frame() -> None:
    answer = postprocess.reader(DETECTOR)(detections([0.9], [[2, 2, 6, 6]]))
    picture = drawing.draw(
        frame(160, 80), drawing.View(40, 0, 120, 80, 8, 8), replace(answer, words=("",))
    )
    laid = changed(picture)
    assert laid[60, 60:100].all(), "its lower edge"
    assert laid[30:60, 99].all(), "its right edge"
    assert not laid[40:56, 66:94].any(), "nothing inside"


def test_a_mask_covers_its_object() -> None:
    masks = np.zeros((1, 1, 8, 8), np.float32)
    masks[0, 0, 4:] = 0.8
    detector = replace(DETECTOR, outputs=(*DETECTOR.outputs, TensorSpec("masks", (ANY, 1, 8, 8))))
    answer = postprocess.reader(detector)({**detections([0.9], [[0, 4, 8, 8]]), "masks": masks})
    laid = changed(drawing.draw(frame(80, 80), drawing.View(0, 0, 80, 80, 8, 8), answer))
    assert laid[60:75, 10:70].all()
    assert not laid[5:35, 5:75].any()


def test_a_frame_without_objects_stays_as_it_is() -> None:
    answer = postprocess.reader(DETECTOR)(detections([], []))
    assert not changed(drawing.draw(frame(), drawing.View(0, 0, 80, 40, 8, 8), answer)).any()


def test_a_box_that_is_inside_out_or_outside_is_no_error() -> None:
    answer = postprocess.reader(DETECTOR)(detections([0.9, 0.9], [[6, 6, 2, 2], [-50, 70, 90, 95]]))
    drawing.draw(frame(), drawing.View(0, 0, 80, 40, 8, 8), answer)


def test_a_difference_tells_how_many_pixels_and_how_much() -> None:
    one, other = frame(), frame()
    other.putpixel((3, 4), (95, 90, 90))
    shown, share, levels = drawing.difference(one, other, 8)
    assert (share, levels) == (1 / (80 * 40), 5)
    assert shown.getpixel((3, 4)) == (40, 0, 0)
    assert drawing.difference(one, one, 8)[1:] == (0.0, 0)
    with pytest.raises(ValueError, match="cannot be compared"):
        drawing.difference(one, frame(8, 8), 8)
