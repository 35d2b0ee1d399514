"""Postprocessing steps in several libraries: non-maximum suppression, mask pasting, argmax.

Functions take and return the library's arrays, by the names of the model's inputs, and use the
library's own function if available. Conversions around the function (corners to sizes, a loop over
masks) are part of the step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from evenbench.harness import Model

if TYPE_CHECKING:
    Arrays = Mapping[str, Any]

Operation = Callable[[Model, Any], Any]
"""A library's function for a step: called with the model and the bound inputs."""

OVERLAP = 0.5
"""IoU above which the lower-scoring box is dropped."""

PADDING = 1
"""Pixels of padding around a mask, as in torchvision's `paste_masks_in_image`."""


def frame_size(model: Model) -> tuple[int, int]:
    """Return height and width of the picture for pasted masks, from the model's output."""
    _, height, width = model.outputs[0].shape
    return int(height), int(width)


def padded_corners(boxes: Any, side: int) -> Any:
    """Return corners of `boxes` in whole pixels, int64, widened for the padding of masks.

    `side` is the masks' size in pixels. Rounded towards zero, in float32, as in torchvision 0.29's
    `models.detection.roi_heads`.
    """
    import numpy as np

    scale = np.float32(side + 2 * PADDING) / np.float32(side)
    half, middle = (
        (boxes[:, 2:] - boxes[:, :2]) * np.float32(0.5),
        (boxes[:, 2:] + boxes[:, :2]) * np.float32(0.5),
    )
    return np.concatenate([middle - half * scale, middle + half * scale], axis=1).astype(np.int64)


def paste_each(masks: Any, boxes: Any, height: int, width: int, resize: Any) -> Any:
    """Paste masks [count, side, side] into pictures [count, height, width] of the same type.

    Pixels outside of the boxes are 0. `resize(mask, width, height)` scales a mask by bilinear
    sampling at half-pixel centres.
    """
    import numpy as np

    padded = np.pad(masks, ((0, 0), (PADDING, PADDING), (PADDING, PADDING)))
    pictures = np.zeros((len(masks), height, width), masks.dtype)
    for target, mask, (left, top, right, bottom) in zip(
        pictures, padded, padded_corners(boxes, masks.shape[-1]).tolist(), strict=True
    ):
        scaled = resize(mask, max(right - left + 1, 1), max(bottom - top + 1, 1))
        x, y, to_x, to_y = max(left, 0), max(top, 0), min(right + 1, width), min(bottom + 1, height)
        target[y:to_y, x:to_x] = scaled[y - top : to_y - top, x - left : to_x - left]
    return pictures


# -- NumPy -----------------------------------------------------------------------------------------


def numpy_nms(model: Model, inputs: Arrays) -> Any:
    """Greedy suppression: keep the best remaining box, drop all overlapping boxes."""
    import numpy as np

    boxes, order = inputs["boxes"], np.argsort(-inputs["scores"], kind="stable")
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    selected = []
    while order.size:
        best, order = order[0], order[1:]
        selected.append(best)
        shared = np.minimum(boxes[best, 2:], boxes[order, 2:]) - np.maximum(
            boxes[best, :2], boxes[order, :2]
        )
        overlap = np.maximum(shared, 0).prod(axis=1)
        order = order[overlap <= OVERLAP * (areas[best] + areas[order] - overlap)]
    return np.array(selected)


def numpy_paste(model: Model, inputs: Arrays) -> Any:
    """Resize with the weights of `numpy_preprocessor`, in the masks' type."""
    from evenbench.backends.preprocessing.numpy_preprocessor import resized, weights

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
    """`cv2.dnn.NMSBoxes`, with corners and sizes in float64."""
    import cv2
    import numpy as np

    boxes = inputs["boxes"].astype(np.float64)
    sized = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    return np.asarray(cv2.dnn.NMSBoxes(sized, inputs["scores"], 0.0, OVERLAP)).reshape(-1)


def opencv_paste(model: Model, inputs: Arrays) -> Any:
    """`cv2.resize` with INTER_LINEAR, mask by mask."""
    import cv2

    def resize(mask: Any, width: int, height: int) -> Any:
        return cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR)

    return paste_each(inputs["masks"], inputs["boxes"], *frame_size(model), resize)


def opencv_argmax(model: Model, inputs: Arrays) -> Any:
    """`cv2.reduceArgMax` over classes, with pixels flattened: OpenCV reads 3 axes as an image."""
    import cv2

    logits = inputs["logits"]
    return cv2.reduceArgMax(logits.reshape(len(logits), -1), 0).reshape(logits.shape[1:])


# -- torchvision -----------------------------------------------------------------------------------


def torchvision_nms(model: Model, inputs: Arrays) -> Any:
    """`torchvision.ops.nms`."""
    from torchvision import ops

    return ops.nms(inputs["boxes"], inputs["scores"], OVERLAP)


def torchvision_paste(model: Model, inputs: Arrays) -> Any:
    """`paste_masks_in_image`, as in torchvision's Mask R-CNN."""
    from torchvision.models.detection import roi_heads

    return roi_heads.paste_masks_in_image(
        inputs["masks"][:, None], inputs["boxes"], frame_size(model), padding=PADDING
    )[:, 0]


def torchvision_argmax(model: Model, inputs: Arrays) -> Any:
    """`torch.Tensor.argmax`."""
    return inputs["logits"].argmax(0)


# -- Pillow ----------------------------------------------------------------------------------------


def pillow_paste(model: Model, inputs: Arrays) -> Any:
    """`Image.transform` on float images of Pillow, mask by mask."""
    import numpy as np
    from PIL import Image as pillow

    def resize(mask: Any, width: int, height: int) -> Any:
        box = (0, 0, mask.shape[1], mask.shape[0])
        return np.asarray(
            pillow.fromarray(mask).transform(
                (width, height), pillow.Transform.EXTENT, box, pillow.Resampling.BILINEAR
            )
        )

    return paste_each(inputs["masks"], inputs["boxes"], *frame_size(model), resize)
