"""Mask R-CNN with saturated masks, an example of mismatches between correct runtimes.

Run with `evenbench run benchmarks/saturated_masks.py`. The expected outcome is a mismatch,
explained in docs/reference/tasks.md. The network equals Mask R-CNN in
`benchmarks/detection.py`, without `softened`.
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
    """Mask R-CNN with initial weights: mask logits in the tens, so probabilities are 0 or 1."""
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
