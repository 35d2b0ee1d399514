"""Semantic segmentation: a class for each pixel of a photograph. Run it by its name: `evenbench run benchmarks/segmentation.py`.

The file is not called `bench_*.py`, so that the default suite stays one of minutes. At 128 x 128 pixels these networks do all that they do
at 520, in a tenth of the time.
"""

from typing import Any

from harness import BATCH, Case, Model, Recipe, TensorSpec, seeded
from harness.photographs import CALIBRATION, PHOTOGRAPHS
from harness.preprocess import IMAGENET_MEAN, IMAGENET_STD, CenterCrop, Decode, Layout, Normalise, Resize, ToArray

SIDE = 128
CLASSES = 21
"""Those of PASCAL VOC, the background included."""

IMAGENET_128 = Recipe(
    "imagenet_128",
    (Decode("RGB"), Resize(146, antialias=True), CenterCrop(SIDE), ToArray(), Normalise(IMAGENET_MEAN, IMAGENET_STD), Layout("CHW")),
)


def _segmenter(build: Any) -> Model:
    """A torchvision network with seeded weights; `out` are the logits of every pixel."""
    return Model(
        name=build.__name__,
        build=build,
        inputs=(TensorSpec("image", (BATCH, 3, SIDE, SIDE)),),
        outputs=(TensorSpec("out", (BATCH, CLASSES, SIDE, SIDE)),),
        recipe=IMAGENET_128,
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


LRASPP = _segmenter(lraspp_mobilenet_v3_large)
DEEPLABV3 = _segmenter(deeplabv3_mobilenet_v3_large)

runtimes = Case(models=(LRASPP, DEEPLABV3), backends=("torch-eager", "torch-script", "torch-compile", "ort", "openvino"))
