"""The models of the default suite: a build function and a `Model` each, without runtime imports."""

from typing import Any

from benchmarks import digits
from harness import BATCH, Model, TensorSpec, seeded, trained
from harness.photographs import CALIBRATION, PHOTOGRAPHS
from harness.preprocess import IMAGENET_224


def _imagenet(build: Any) -> Model:
    """A torchvision classifier with seeded weights, fed with photographs at 224 x 224."""
    return Model(
        name=build.__name__,
        build=build,
        inputs=(TensorSpec("image", (BATCH, 3, 224, 224)),),
        outputs=(TensorSpec("logits", (BATCH, 1000)),),
        recipe=IMAGENET_224,
        images=PHOTOGRAPHS,
        calibration=CALIBRATION,
        weights=seeded(0),
    )


def resnet18() -> Any:
    from torchvision import models

    return models.resnet18(weights=None)


def resnet50() -> Any:
    from torchvision import models

    return models.resnet50(weights=None)


def mobilenet_v3_small() -> Any:
    from torchvision import models

    return models.mobilenet_v3_small(weights=None)


def efficientnet_b0() -> Any:
    from torchvision import models

    return models.efficientnet_b0(weights=None)


RESNET18 = _imagenet(resnet18)
RESNET50 = _imagenet(resnet50)
MOBILENET_V3_SMALL = _imagenet(mobilenet_v3_small)
EFFICIENTNET_B0 = _imagenet(efficientnet_b0)

DIGITS_CNN = Model(
    name="digits_cnn",
    build=digits.build,
    inputs=(TensorSpec("image", (BATCH, 1, 8, 8)),),
    outputs=(TensorSpec("logits", (BATCH, 10)),),
    inputs_from=digits.samples,
    evaluation=digits.held_out,
    calibration_from=digits.calibration,
    labels=tuple("0123456789"),
    weights=trained(digits.train, seed=0),
)
