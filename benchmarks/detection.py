"""Object detection: boxes, classes and scores, as many as are found. Run it by its name: `evenbench run benchmarks/detection.py`.

The file is not called `bench_*.py`, so that the default suite stays one of minutes. Faster R-CNN decides in its graph which boxes to keep,
so that no exporter that needs all sizes ahead can take it.
"""

from typing import Any

from harness import ANY, Case, Model, Recipe, TensorSpec, seeded
from harness.photographs import PHOTOGRAPHS
from harness.preprocess import CenterCrop, Decode, Layout, Resize, ToArray

SIDE = 192
CLASSES = 8
"""The background included. Fewer than COCO's 91, so that seeded scores spread."""

SHARPNESS = 6.0
"""What the class head's seeded weights are multiplied by: as drawn, every class gets about the same score and nothing is found."""

PIXELS_192 = Recipe("pixels_192", (Decode("RGB"), Resize(SIDE, antialias=True), CenterCrop(SIDE), ToArray(), Layout("CHW")))
"""Pixels in 0..1: this network normalises them itself."""


def fasterrcnn_mobilenet_v3_large_320_fpn() -> Any:
    """One image [3, height, width] in; the boxes, labels and scores of that image out."""
    import torch
    from torchvision.models import detection

    class OfOneImage(torch.nn.Module):
        """torchvision's detectors take a list of images, and answer with a list of dictionaries."""

        def __init__(self) -> None:
            super().__init__()
            self.detector = detection.fasterrcnn_mobilenet_v3_large_320_fpn(
                weights=None, weights_backbone=None, num_classes=CLASSES, min_size=SIDE, max_size=SIDE
            )
            with torch.no_grad():
                self.detector.roi_heads.box_predictor.cls_score.weight.mul_(SHARPNESS)

        def forward(self, image: Any) -> Any:
            found = self.detector([image])[0]
            return found["boxes"], found["labels"], found["scores"]

    return OfOneImage()


FASTER_RCNN = Model(
    name="fasterrcnn_mobilenet_v3_320",
    build=fasterrcnn_mobilenet_v3_large_320_fpn,
    inputs=(TensorSpec("image", (3, SIDE, SIDE)),),
    outputs=(TensorSpec("boxes", (ANY, 4)), TensorSpec("labels", (ANY,), "int64"), TensorSpec("scores", (ANY,))),
    recipe=PIXELS_192,
    images=PHOTOGRAPHS,
    weights=seeded(0),
    task="detection",
)

TRACED = {"exporter": "torchscript", "opset": 17}
"""PyTorch's newer exporter stops at the boxes that are kept: their number depends on the data."""

runtimes = Case(
    models=(FASTER_RCNN,),
    backends=("torch-eager", "torch-script", "ort", "openvino"),
    options={"ort": (TRACED,), "openvino": (TRACED,)},
)
