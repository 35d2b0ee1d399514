"""Semantic segmentation: a class for each pixel of a photograph.

Run with `evenbench run benchmarks/segmentation.py`; the default suite takes only minutes and leaves
this file out. At 128 x 128 pixels the networks run the same operators as at 520, in a tenth of the
time.
"""

from typing import Any

from harness import ALL, BATCH, Case, Model, Recipe, TensorSpec, seeded
from harness.photographs import CALIBRATION, PHOTOGRAPHS
from harness.preprocess import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    CenterCrop,
    Decode,
    Layout,
    Normalise,
    Resize,
    ToArray,
)

SIDE = 128
CLASSES = 21
"""The classes of PASCAL VOC, including the background."""

IMAGENET_128 = Recipe(
    "imagenet_128",
    (
        Decode("RGB"),
        Resize(146, antialias=True),
        CenterCrop(SIDE),
        ToArray(),
        Normalise(IMAGENET_MEAN, IMAGENET_STD),
        Layout("CHW"),
    ),
)


def segmenter(build: Any, side: int = SIDE, recipe: Recipe = IMAGENET_128, name: str = "") -> Model:
    """A seeded torchvision network on square images; `out` holds the logits of every pixel."""
    return Model(
        name=name or build.__name__,
        build=build,
        inputs=(TensorSpec("image", (BATCH, 3, side, side)),),
        outputs=(TensorSpec("out", (BATCH, CLASSES, side, side)),),
        recipe=recipe,
        images=PHOTOGRAPHS,
        calibration=CALIBRATION,
        weights=seeded(0),
        task="segmentation",
    )


def lraspp_mobilenet_v3_large() -> Any:
    from torchvision.models import segmentation

    return segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None)


def deeplabv3_mobilenet_v3_large() -> Any:
    from torchvision.models import segmentation

    return segmentation.deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None)


def deeplabv3_resnet50() -> Any:
    from torchvision.models import segmentation

    return segmentation.deeplabv3_resnet50(weights=None, weights_backbone=None)


LRASPP = segmenter(lraspp_mobilenet_v3_large)
DEEPLABV3 = segmenter(deeplabv3_mobilenet_v3_large)
DEEPLABV3_RESNET50 = segmenter(deeplabv3_resnet50)

runtimes = Case(models=(LRASPP, DEEPLABV3, DEEPLABV3_RESNET50), backends=ALL)
