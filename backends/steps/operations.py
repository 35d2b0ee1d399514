"""What is done after a network, in several libraries: boxes that overlap are dropped, masks are
pasted, the best class is taken.

Every function takes what its library calls arrays, by the names of the model's inputs, and returns
such an array. Each is the library's own function where it has one; what is left to do around it
(corners to sizes, one mask after another) is part of the step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from harness import Model

if TYPE_CHECKING:
    Arrays = Mapping[str, Any]

Operation = Callable[[Model, Any], Any]
"""A library's function for a step: called with the model and the bound inputs."""

OVERLAP = 0.5
"""Boxes that overlap a better one by more than this (IoU) are dropped."""

PADDING = 1
"""Pixels around a mask, as torchvision's `paste_masks_in_image` adds them."""


def frame_size(model: Model) -> tuple[int, int]:
    """Height and width of the picture that masks are pasted into, from the model's output."""
    _, height, width = model.outputs[0].shape
    return int(height), int(width)


def padded_corners(boxes: Any, side: int) -> Any:
    """Corners of `boxes` in whole pixels, int64, widened as far as masks of `side` pixels grow by
    their padding.

    Rounded towards zero, in float32, as torchvision 0.29 does in `models.detection.roi_heads`.
    """
    import numpy as np

    scale = np.float32(side + 2 * PADDING) / np.float32(side)
    half, middle = (
        (boxes[:, 2:] - boxes[:, :2]) * np.float32(0.5),
        (boxes[:, 2:] + boxes[:, :2]) * np.float32(0.5),
    )
    return np.concatenate([middle - half * scale, middle + half * scale], axis=1).astype(np.int64)


def paste_each(masks: Any, boxes: Any, height: int, width: int, resize: Any) -> Any:
    """Masks [count, side, side] over a picture: the same type, [count, height, width], 0 outside of
    the boxes.

    `resize(mask, width, height)` scales one mask by bilinear sampling at half-pixel centres.
    """
    import numpy as np

    padded = np.pad(masks, ((0, 0), (PADDING, PADDING), (PADDING, PADDING)))
    made = np.zeros((len(masks), height, width), masks.dtype)
    for target, mask, (left, top, right, bottom) in zip(
        made, padded, padded_corners(boxes, masks.shape[-1]).tolist(), strict=True
    ):
        scaled = resize(mask, max(right - left + 1, 1), max(bottom - top + 1, 1))
        x, y, to_x, to_y = max(left, 0), max(top, 0), min(right + 1, width), min(bottom + 1, height)
        target[y:to_y, x:to_x] = scaled[y - top : to_y - top, x - left : to_x - left]
    return made


# -- NumPy -----------------------------------------------------------------------------------------


def numpy_nms(model: Model, inputs: Arrays) -> Any:
    """Greedy: the best box that is left, and all that overlap it go."""
    import numpy as np

    boxes, order = inputs["boxes"], np.argsort(-inputs["scores"], kind="stable")
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept = []
    while order.size:
        best, order = order[0], order[1:]
        kept.append(best)
        shared = np.minimum(boxes[best, 2:], boxes[order, 2:]) - np.maximum(
            boxes[best, :2], boxes[order, :2]
        )
        overlap = np.maximum(shared, 0).prod(axis=1)
        order = order[overlap <= OVERLAP * (areas[best] + areas[order] - overlap)]
    return np.array(kept)


def numpy_paste(model: Model, inputs: Arrays) -> Any:
    """By the weights of `pixels_numpy`, in the masks' own type."""
    from backends.preprocessing.numpy_preprocessor import resized, weights

    def resize(mask: Any, width: int, height: int) -> Any:
        down, across = (
            weights(size, target, "bilinear", False)
            for size, target in zip(mask.shape, (height, width), strict=True)
        )
        return resized(mask, down.astype(mask.dtype), across.astype(mask.dtype))

    return paste_each(inputs["masks"], inputs["boxes"], *frame_size(model), resize)


def numpy_argmax(model: Model, inputs: Arrays) -> Any:
    """The best class of every pixel."""
    return inputs["logits"].argmax(0)


# -- OpenCV ----------------------------------------------------------------------------------------


def opencv_nms(model: Model, inputs: Arrays) -> Any:
    """`cv2.dnn.NMSBoxes`, which takes corners and sizes, in float64."""
    import cv2
    import numpy as np

    boxes = inputs["boxes"].astype(np.float64)
    sized = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    return np.asarray(cv2.dnn.NMSBoxes(sized, inputs["scores"], 0.0, OVERLAP)).reshape(-1)


def opencv_paste(model: Model, inputs: Arrays) -> Any:
    """`cv2.resize` with INTER_LINEAR, one mask after another."""
    import cv2

    def resize(mask: Any, width: int, height: int) -> Any:
        return cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR)

    return paste_each(inputs["masks"], inputs["boxes"], *frame_size(model), resize)


def opencv_argmax(model: Model, inputs: Arrays) -> Any:
    """`cv2.reduceArgMax` over the classes, of pixels in a row: three axes are an image of channels
    to OpenCV.
    """
    import cv2

    logits = inputs["logits"]
    return cv2.reduceArgMax(logits.reshape(len(logits), -1), 0).reshape(logits.shape[1:])


# -- torchvision -----------------------------------------------------------------------------------


def torchvision_nms(model: Model, inputs: Arrays) -> Any:
    """`torchvision.ops.nms`."""
    from torchvision import ops

    return ops.nms(inputs["boxes"], inputs["scores"], OVERLAP)


def torchvision_paste(model: Model, inputs: Arrays) -> Any:
    """`paste_masks_in_image`, as torchvision's Mask R-CNN calls it."""
    from torchvision.models.detection import roi_heads

    return roi_heads.paste_masks_in_image(
        inputs["masks"][:, None], inputs["boxes"], frame_size(model), padding=PADDING
    )[:, 0]


def torchvision_argmax(model: Model, inputs: Arrays) -> Any:
    """torch's own."""
    return inputs["logits"].argmax(0)


# -- Pillow ----------------------------------------------------------------------------------------


def pillow_paste(model: Model, inputs: Arrays) -> Any:
    """`Image.transform` in Pillow's mode of floats, one mask after another."""
    import numpy as np
    from PIL import Image as pillow

    def resize(mask: Any, width: int, height: int) -> Any:
        whole = (0, 0, mask.shape[1], mask.shape[0])
        return np.asarray(
            pillow.fromarray(mask).transform(
                (width, height), pillow.Transform.EXTENT, whole, pillow.Resampling.BILINEAR
            )
        )

    return paste_each(inputs["masks"], inputs["boxes"], *frame_size(model), resize)
