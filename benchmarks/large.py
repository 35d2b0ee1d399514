"""The networks of the task files at deployment sizes: a run of hours on an otherwise idle machine.

Run with `evenbench run benchmarks/large.py`, and select networks with `-k`. Mask R-CNN takes
seconds per image on a few cores.
"""

from typing import Any

from benchmarks.detection import BOXES, ROADS, detr, detr_objects, of_one_image, sharpened, softened
from benchmarks.segmentation import deeplabv3_resnet50, segmenter
from benchmarks.shaping import with_objects
from benchmarks.text import LENGTHS, bert_base, tokens
from harness import ALL, ANY, BATCH, Case, Model, Recipe, TensorSpec, Unavailable, seeded
from harness.photographs import CALIBRATION, PHOTOGRAPHS
from harness.preprocess import (
    IMAGENET_224,
    IMAGENET_MEAN,
    IMAGENET_STD,
    CenterCrop,
    Decode,
    Layout,
    Normalise,
    Resize,
    ToArray,
)


def square(side: int, *more: Any) -> Recipe:
    """The middle of a photograph as pixels in 0..1, followed by the steps in `more`."""
    name = "imagenet" if more else "pixels"
    return Recipe(
        f"{name}_{side}",
        (
            Decode("RGB"),
            Resize(side, antialias=True),
            CenterCrop(side),
            ToArray(),
            *more,
            Layout("CHW"),
        ),
    )


NORMALISED = Normalise(IMAGENET_MEAN, IMAGENET_STD)

# -- detection: 800 pixels, 1000 proposals, 91 classes, up to 100 objects --------------------------

SIDE = 800
SHARPNESS = 12.0
"""The factor for class heads, as in `benchmarks.detection`, but larger for 91 classes."""


def fasterrcnn_resnet50_fpn() -> Any:
    from torchvision.models import detection

    return of_one_image(
        sharpened(detection.fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None), SHARPNESS)
    )


def maskrcnn_resnet50_fpn() -> Any:
    from torchvision.models import detection

    detector = softened(
        sharpened(detection.maskrcnn_resnet50_fpn(weights=None, weights_backbone=None), SHARPNESS)
    )
    return of_one_image(detector, "boxes", "labels", "scores", "masks")


def _detector(build: Any, *more: TensorSpec) -> Model:
    return Model(
        name=f"{build.__name__}_{SIDE}",
        build=build,
        inputs=(TensorSpec("image", (3, SIDE, SIDE)),),
        outputs=(*BOXES, *more),
        recipe=square(SIDE),
        images=PHOTOGRAPHS,
        weights=seeded(0),
        task="detection",
    )


FASTER_RCNN = _detector(fasterrcnn_resnet50_fpn)
MASK_RCNN = _detector(maskrcnn_resnet50_fpn, TensorSpec("masks", (ANY, 1, SIDE, SIDE)))
DETR = detr(SIDE, square(SIDE, NORMALISED), "detr_resnet50_800")


def detr_with_objects(module: Any, seed: int) -> None:
    """The weights of `DETR_OBJECTS`."""
    with_objects(module, square(SIDE, NORMALISED), PHOTOGRAPHS)


DETR_OBJECTS = detr_objects(
    SIDE, square(SIDE, NORMALISED), "detr_resnet50_objects_800", detr_with_objects
)

# -- detection in one stage: post-processing is outside the graph ----------------------------------

EFFICIENTDET_SIDE = 512
EFFICIENTDET_CLASSES = 90


def efficientdet_d0() -> Any:
    """EfficientDet-D0 up to the heads."""
    return efficientdet_heads(EFFICIENTDET_SIDE)


def efficientdet_heads(side: int) -> Any:
    """EfficientDet-D0 from square images to logits and offsets of all anchors, map by map."""
    import torch

    try:
        import effdet
    except ModuleNotFoundError as error:
        raise Unavailable(
            f"{error.name}, the builder of EfficientDet, is not installed; "
            "pip install 'evenbench[efficientdet]'"
        ) from error

    class Heads(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            config = effdet.get_efficientdet_config("efficientdet_d0")
            config.image_size = [side, side]  # decides the sizes of resized maps
            self.network = effdet.EfficientDet(config, pretrained_backbone=False)

        def forward(self, image: Any) -> Any:
            logits, offsets = self.network(image)
            return _listed(logits, EFFICIENTDET_CLASSES), _listed(offsets, 4)

    return Heads()


def _listed(maps: Any, size: int) -> Any:
    """Maps [batch, anchors x size, height, width] as a list [batch, all anchors, size]."""
    import torch

    return torch.cat(
        [values.permute(0, 2, 3, 1).reshape(values.shape[0], -1, size) for values in maps], 1
    )


def efficientdet(build: Any, side: int, name: str) -> Model:
    """The network of `build` on square images, with nine anchors at each place of five maps."""
    anchors = 9 * sum((side >> level) ** 2 for level in range(3, 8))
    return Model(
        name=name,
        build=build,
        inputs=(TensorSpec("image", (BATCH, 3, side, side)),),
        outputs=(
            TensorSpec("logits", (BATCH, anchors, EFFICIENTDET_CLASSES)),
            TensorSpec("offsets", (BATCH, anchors, 4)),
        ),
        recipe=square(side, NORMALISED),
        images=PHOTOGRAPHS,
        weights=seeded(0),
        task="detection",
    )


EFFICIENTDET = efficientdet(efficientdet_d0, EFFICIENTDET_SIDE, "efficientdet_d0_heads")

objects = Case(models=(FASTER_RCNN, MASK_RCNN), backends=ALL, options=ROADS)

heads = Case(models=(DETR, DETR_OBJECTS, EFFICIENTDET), backends=ALL)

# -- segmentation ----------------------------------------------------------------------------------

DEEPLABV3 = segmenter(deeplabv3_resnet50, 520, square(520, NORMALISED), "deeplabv3_resnet50_520")

pixels = Case(models=(DEEPLABV3,), backends=ALL)

# -- transformers ----------------------------------------------------------------------------------


def vit_b_16() -> Any:
    """ViT-B/16 with a random last layer; torchvision's zeros would make every output zero."""
    import torch
    from torchvision import models

    network = models.vit_b_16(weights=None)
    torch.nn.init.normal_(network.heads.head.weight, std=0.02)
    return network


VIT = Model(
    name="vit_b_16",
    build=vit_b_16,
    inputs=(TensorSpec("image", (BATCH, 3, 224, 224)),),
    outputs=(TensorSpec("logits", (BATCH, 1000)),),
    recipe=IMAGENET_224,
    images=PHOTOGRAPHS,
    calibration=CALIBRATION,
    weights=seeded(0),
)


def bert(length: int) -> Model:
    """BERT-base at a fixed sequence length, part of the name."""
    return Model(
        name=f"bert_base_{length}_tokens",
        build=bert_base,
        inputs=(
            TensorSpec("input_ids", (BATCH, length), "int64"),
            TensorSpec("attention_mask", (BATCH, length), "int64"),
        ),
        outputs=(TensorSpec("sentence_embedding", (BATCH, 768)),),
        inputs_from=tokens,
        weights=seeded(0),
        task="text",
    )


BERT = {length: bert(length) for length in LENGTHS}

encoders = Case(models=(VIT, *BERT.values()), backends=ALL)
