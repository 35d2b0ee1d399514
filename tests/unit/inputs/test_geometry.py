"""Boxes and masks go through a recipe and back: by numbers that were worked out by hand, and by
pixels that were really moved.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from evenbench.harness import Recipe, UsageError
from evenbench.harness.inputs import geometry
from evenbench.harness.preprocess import IMAGENET_224, CenterCrop, Decode, Layout, Resize, ToArray

CROPPED = Recipe(
    "cropped",
    (Decode("RGB"), Resize(100, antialias=True), CenterCrop(80), ToArray(), Layout("CHW")),
)
STRETCHED = Recipe(
    "stretched", (Decode("RGB"), Resize(50, antialias=True, exact=True), ToArray(), Layout("CHW"))
)


def test_a_crop_moves_and_a_resize_scales() -> None:
    found = geometry.place(CROPPED, 400, 200)
    assert (found.scale_x, found.scale_y, found.left, found.top) == (0.5, 0.5, 60, 10)
    assert (found.seen_width, found.seen_height) == (80, 80)
    assert found.boxes_in_file(
        np.array([[0.0, 0.0, 80.0, 80.0], [10.0, 20.0, 30.0, 40.0]])
    ).tolist() == [
        [120.0, 20.0, 280.0, 180.0],
        [140.0, 60.0, 180.0, 100.0],
    ]


def test_axes_may_be_scaled_differently() -> None:
    found = geometry.place(STRETCHED, 100, 200)
    assert found.boxes_in_file(np.array([[5.0, 5.0, 50.0, 50.0]])).tolist() == [
        [10.0, 20.0, 100.0, 200.0]
    ]


def test_a_box_stays_within_its_image() -> None:
    assert geometry.place(STRETCHED, 100, 100).boxes_in_file(
        np.array([[-3.0, 0.0, 60.0, 50.0]])
    ).tolist() == [[0.0, 0.0, 100.0, 100.0]]


@pytest.mark.parametrize("size", [(640, 427), (333, 500), (224, 224), (1000, 300)])
def test_a_bright_block_is_where_its_box_says(size: tuple[int, int]) -> None:
    """The same steps move real pixels: the middle of a white block in the network's image lies in
    the middle of its box in the file.
    """
    width, height = size
    box = np.array([width * 0.42, height * 0.40, width * 0.58, height * 0.61]).round()
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[int(box[1]) : int(box[3]), int(box[0]) : int(box[2])] = 255
    image = Image.fromarray(pixels)
    for step in IMAGENET_224.steps[1:4]:
        image = step.apply(image)
    rows, columns = np.nonzero(np.asarray(image)[:, :, 0] > 0.5)
    seen = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], np.float64)
    back = geometry.place(IMAGENET_224, width, height).boxes_in_file(seen)[0]
    pixel = max(1.0, min(size) / 256)
    assert np.abs(back - box).max() <= pixel


def test_a_mask_goes_back_to_where_its_pixels_came_from() -> None:
    mask = np.zeros((200, 400), np.uint8)
    mask[50:120, 150:240] = 1
    seen = np.asarray(geometry.follow(CROPPED, Image.fromarray(mask))).astype(np.float32)
    back = geometry.place(CROPPED, 400, 200).mask_in_file(seen) > 0.5
    assert seen.shape == (80, 80)
    assert np.count_nonzero(back ^ (mask > 0)) <= 2 * (70 + 90), (
        "off by more than one pixel along the edge"
    )


def test_what_the_network_did_not_see_has_no_mask() -> None:
    back = geometry.place(CROPPED, 400, 200).mask_in_file(np.ones((80, 80), np.float32))
    assert back[20:180, 120:280].min() == 1.0
    assert back.sum() == pytest.approx(160 * 160)


def test_objects_outside_of_the_crop_are_known() -> None:
    found = geometry.place(CROPPED, 400, 200)
    assert found.hidden(0, 0, 100, 200)
    assert not found.hidden(0, 0, 130, 200)


@dataclass(frozen=True)
class Turn:
    def apply(self, image: Image.Image) -> Image.Image:
        return image.rotate(90)


def test_a_step_that_is_not_known_is_refused_and_not_taken_for_one_that_moves_nothing() -> None:
    recipe = Recipe("turned", (Decode("RGB"), Turn(), ToArray()))
    assert "turned has the step Turn" in geometry.refuses(recipe)
    with pytest.raises(UsageError, match="of unknown geometry"):
        geometry.place(recipe, 10, 10)
