"""Why the masks of right runtimes differ: Mask R-CNN whose masks are sure of every pixel.
`evenbench run benchmarks/saturated_masks.py`.

A mismatch is the result here: docs/tasks.md says what it means. The network is that of
`benchmarks/detection.py` but for `softened`.
"""

from typing import Any

from benchmarks.detection import (
    BOXES,
    CONVERTED,
    MASK_SHARPNESS,
    PIXELS_192,
    SIDE,
    TRACED,
    mask_rcnn,
    of_one_image,
    sharpened,
)
from harness import ANY, Case, Model, TensorSpec, seeded
from harness.photographs import PHOTOGRAPHS


def maskrcnn_saturated() -> Any:
    """As drawn, a mask's logits are in the tens, and so its probabilities 0 or 1."""
    return of_one_image(
        sharpened(mask_rcnn(), MASK_SHARPNESS), "boxes", "labels", "scores", "masks"
    )


SATURATED = Model(
    name="maskrcnn_resnet50_fpn_saturated",
    build=maskrcnn_saturated,
    inputs=(TensorSpec("image", (3, SIDE, SIDE)),),
    outputs=(*BOXES, TensorSpec("masks", (ANY, 1, SIDE, SIDE))),
    recipe=PIXELS_192,
    images=PHOTOGRAPHS,
    weights=seeded(0),
    task="detection",
)

masks = Case(
    models=(SATURATED,),
    backends=("torch-eager", "ort", "openvino"),
    options={"ort": (TRACED,), "openvino": (CONVERTED,)},
)
