"""Object detection: boxes, classes, scores and masks, as many as are found. Run it by its name:
`evenbench run benchmarks/detection.py`.

The file is not called `bench_*.py`, so that the default suite stays one of minutes;
`benchmarks/large.py` has these networks at their real sizes. Most of them decide in their graph
which boxes to keep, so that no exporter that needs all sizes ahead can take them: what such
exporters take is a variant of its own, whose answer are the raw heads, or a network with so many
queries whatever it sees.
"""

from typing import Any

from benchmarks.shaping import pictures, set_norms, with_objects
from harness import (
    ALL,
    ANY,
    BATCH,
    Case,
    Model,
    Photograph,
    Recipe,
    TensorSpec,
    Unavailable,
    preprocess,
    seeded,
    trained,
)
from harness.photographs import PHOTOGRAPHS, locate
from harness.preprocess import IMAGENET_224, CenterCrop, Decode, Layout, Resize, ToArray

SIDE = 192
CLASSES = 8
"""The background included. Fewer than COCO's 91, so that seeded scores spread."""

SHARPNESS = 6.0
"""What the class head's seeded weights are multiplied by: as drawn, every class gets about the same
score and nothing is found.
"""

PIXELS_192 = Recipe(
    "pixels_192",
    (Decode("RGB"), Resize(SIDE, antialias=True), CenterCrop(SIDE), ToArray(), Layout("CHW")),
)
"""Pixels in 0..1: torchvision's detectors normalise them themselves."""

BOXES = (
    TensorSpec("boxes", (ANY, 4)),
    TensorSpec("labels", (ANY,), "int64"),
    TensorSpec("scores", (ANY,)),
)


# -- from an image to objects ----------------------------------------------------------------------


def of_one_image(detector: Any, *names: str) -> Any:
    """One image [3, height, width] in, the `names` of what `detector` found in it out: boxes,
    labels and scores where none are given.

    torchvision's detectors take a list of images, and answer with a list of dictionaries.
    """
    import torch

    class OfOneImage(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.detector = detector

        def forward(self, image: Any) -> Any:
            found = self.detector([image])[0]
            return tuple(found[name] for name in names or ("boxes", "labels", "scores"))

    return OfOneImage()


def sharpened(detector: Any, factor: float) -> Any:
    """`detector` (of the Faster R-CNN family) with the weights of its class head multiplied by
    `factor`.
    """
    import torch

    with torch.no_grad():
        detector.roi_heads.box_predictor.cls_score.weight.mul_(factor)
    return detector


def _faster_rcnn(**sizes: int) -> Any:
    from torchvision.models import detection

    made = detection.fasterrcnn_mobilenet_v3_large_320_fpn(
        weights=None, weights_backbone=None, num_classes=CLASSES, **sizes
    )
    return sharpened(made, SHARPNESS)


def fasterrcnn_mobilenet_v3_large_320_fpn() -> Any:
    """One image [3, height, width] in; the boxes, labels and scores of that image out."""
    return of_one_image(_faster_rcnn(min_size=SIDE, max_size=SIDE))


FASTER_RCNN = Model(
    name="fasterrcnn_mobilenet_v3_320",
    build=fasterrcnn_mobilenet_v3_large_320_fpn,
    inputs=(TensorSpec("image", (3, SIDE, SIDE)),),
    outputs=BOXES,
    recipe=PIXELS_192,
    images=PHOTOGRAPHS,
    weights=seeded(0),
    task="detection",
)

# -- images of two sizes ---------------------------------------------------------------------------

HEIGHTS = (SIDE, 128)
"""Every other photograph keeps its middle rows only."""


def of_two_sizes() -> Any:
    """Faster R-CNN on images of any size: a canvas [3, 192, 192], and the height and width [2] of
    the image in its upper left corner.

    What lies beside the image is cut off inside the graph, so that all behind it has the sizes that
    the input tells: the network scales the smaller images up.
    """
    import torch

    class OfTwoSizes(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = of_one_image(_faster_rcnn(min_size=SIDE - 32, max_size=SIDE + 32))

        def forward(self, canvas: Any, size: Any) -> Any:
            return self.inner(canvas[:, : size[0], : size[1]])

    return OfTwoSizes()


def canvases(model: Model) -> dict[str, Any]:
    """The photographs at two sizes, each on a canvas of zeros, and their sizes."""
    import numpy as np

    made: dict[str, list[Any]] = {spec.name: [] for spec in model.inputs}
    for index, photograph in enumerate(PHOTOGRAPHS):
        height = HEIGHTS[index % len(HEIGHTS)]
        first = (SIDE - height) // 2
        canvas = np.zeros((3, SIDE, SIDE), np.float32)
        canvas[:, :height] = preprocess.apply(PIXELS_192, locate(photograph))[
            :, first : first + height
        ]
        made["canvas"].append(canvas)
        made["size"].append(np.array([height, SIDE], np.int64))
    return {name: np.stack(arrays) for name, arrays in made.items()}


FASTER_RCNN_TWO_SIZES = Model(
    name="fasterrcnn_mobilenet_v3_two_sizes",
    build=of_two_sizes,
    inputs=(TensorSpec("canvas", (3, SIDE, SIDE)), TensorSpec("size", (2,), "int64")),
    outputs=BOXES,
    inputs_from=canvases,
    weights=seeded(0),
    task="detection",
)

# -- masks -----------------------------------------------------------------------------------------

PROPOSALS = 50
"""Regions that are looked at, where torchvision looks at 1000: nearly all work is done once for
each.
"""

OBJECTS = 10
"""How many of them are kept at most, where torchvision keeps 100: each gets a mask."""

MASK_SHARPNESS = 2.6
"""As `SHARPNESS`: on a ResNet-50 scores spread more."""

MASK_SOFTNESS = 0.02
"""As drawn, a mask's logits are in the tens and its probabilities 0 or 1. Pasting interpolates
between them, and halfway between 0 and 1 lies the level at which a pixel belongs to the object: the
last bit decides for up to one pixel in ten."""

MASK_BIAS = 0.2
"""Where nothing speaks for or against a pixel its logit would be 0, which is that level again."""


def softened(detector: Any) -> Any:
    """`detector` (a Mask R-CNN) with smooth masks."""
    import torch

    last = detector.roi_heads.mask_predictor.mask_fcn_logits
    with torch.no_grad():
        last.weight.mul_(MASK_SOFTNESS)
        last.bias.fill_(MASK_BIAS)
    return detector


def mask_rcnn() -> Any:
    """torchvision's Mask R-CNN for small images, its weights as drawn."""
    from torchvision.models import detection

    return detection.maskrcnn_resnet50_fpn(
        weights=None,
        weights_backbone=None,
        num_classes=CLASSES,
        min_size=SIDE,
        max_size=SIDE,
        rpn_post_nms_top_n_test=PROPOSALS,
        box_detections_per_img=OBJECTS,
    )


def maskrcnn_resnet50_fpn() -> Any:
    """One image [3, height, width] in; its boxes, labels, scores and masks [objects, 1, height,
    width], which are pasted inside, out.
    """
    return of_one_image(
        softened(sharpened(mask_rcnn(), MASK_SHARPNESS)), "boxes", "labels", "scores", "masks"
    )


MASK_RCNN = Model(
    name="maskrcnn_resnet50_fpn",
    build=maskrcnn_resnet50_fpn,
    inputs=(TensorSpec("image", (3, SIDE, SIDE)),),
    outputs=(*BOXES, TensorSpec("masks", (ANY, 1, SIDE, SIDE))),
    recipe=PIXELS_192,
    images=PHOTOGRAPHS[:5],
    weights=seeded(0),
    task="detection",
)

# -- one stage: objects, and the heads alone -------------------------------------------------------

SSD_SIDE = 320
ANCHORS = 3234
"""Of six maps, 20 x 20 to 1 x 1, with six anchors at each place."""

PIXELS_320 = Recipe(
    "pixels_320",
    (
        Decode("RGB"),
        Resize(SSD_SIDE, antialias=True),
        CenterCrop(SSD_SIDE),
        ToArray(),
        Layout("CHW"),
    ),
)


def _ssdlite() -> Any:
    from torchvision.models import detection

    return detection.ssdlite320_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=CLASSES
    )


def ssdlite320() -> Any:
    """SSDLite with its non-maximum suppression: one image in, its objects out."""
    return of_one_image(_ssdlite())


def _heads_of(detector: Any) -> Any:
    """The same network up to its heads: what the anchors, the threshold and the suppression then
    work on.
    """
    import torch

    class Heads(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.detector = detector

        def forward(self, images: Any) -> Any:
            scaled = (
                images - 0.5
            ) / 0.5  # what its transform does to an image that has its size already
            made = self.detector.head(list(self.detector.backbone(scaled).values()))
            return made["bbox_regression"], made["cls_logits"]

    return Heads()


def ssdlite320_heads() -> Any:
    """SSDLite without what follows its heads: images in, offsets to the anchors and logits out. All
    sizes are known ahead.
    """
    return _heads_of(_ssdlite())


def calibrated(module: Any, seed: int) -> None:
    """Batch norms set from all photographs at once: on its last map, of one pixel, one image alone
    has no variance.
    """
    set_norms(module, _heads_of(module.detector), pictures(PIXELS_320, PHOTOGRAPHS))


SSDLITE = Model(
    name="ssdlite320_mobilenet_v3",
    build=ssdlite320,
    inputs=(TensorSpec("image", (3, SSD_SIDE, SSD_SIDE)),),
    outputs=BOXES,
    recipe=PIXELS_320,
    images=PHOTOGRAPHS,
    weights=trained(calibrated, seed=0),
    task="detection",
)

SSDLITE_HEADS = Model(
    name="ssdlite320_mobilenet_v3_heads",
    build=ssdlite320_heads,
    inputs=(TensorSpec("image", (BATCH, 3, SSD_SIDE, SSD_SIDE)),),
    outputs=(
        TensorSpec("offsets", (BATCH, ANCHORS, 4)),
        TensorSpec("logits", (BATCH, ANCHORS, CLASSES)),
    ),
    recipe=PIXELS_320,
    images=PHOTOGRAPHS,
    weights=trained(calibrated, seed=0),
    task="detection",
)

# -- queries in the place of anchors: the heads alone, and objects ---------------------------------

DETR_SIDE = 224
QUERIES = 100
COCO = 91
"""Classes. One more, the last one, is none."""


def _detr() -> Any:
    """transformers' DETR on a ResNet-50, its weights as that draws them.

    Its batch norms are plain ones, not the frozen ones of training: at inference both compute the
    same, and seeded weights need statistics.
    """
    try:
        from transformers import DetrConfig, DetrForObjectDetection, ResNetConfig
    except ModuleNotFoundError as error:
        raise Unavailable(
            f"{error.name} is not installed, which builds DETR; pip install 'evenbench[text]'"
        ) from error
    made = DetrForObjectDetection(
        DetrConfig(
            use_timm_backbone=False,
            use_pretrained_backbone=False,
            backbone_config=ResNetConfig(out_features=["stage4"]),
            num_labels=COCO,
        )
    )
    _thaw(made)
    return made


def detr_resnet50() -> Any:
    """DETR up to its heads: images in; of 100 queries the logits (the last class is none) and boxes
    (centre and size, in 0..1) out.
    """
    detr = _detr()
    import torch

    class Detr(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.detr = detr

        def forward(self, image: Any) -> Any:
            made = self.detr(pixel_values=image)
            return made.logits, made.pred_boxes

    return Detr()


def detr_resnet50_objects() -> Any:
    """DETR with what follows its heads: one square image [3, side, side] in; of 100 queries the box
    in pixels, the class and the score out.

    A score is the share of the best class beside all others and none. No query suppresses another,
    so that all sizes are known ahead.
    """
    detr = _detr()
    import torch

    class Objects(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.detr = detr

        def forward(self, image: Any) -> Any:
            made = self.detr(pixel_values=image[None])
            scores, labels = made.logits[0].softmax(-1)[:, :COCO].max(-1)
            centre, size = made.pred_boxes[0].split(2, -1)
            corners = torch.cat([centre - size / 2, centre + size / 2], -1)
            return corners * image.shape[-1], labels, scores

    return Objects()


def _thaw(module: Any) -> None:
    """Put a plain batch norm in the place of every frozen one."""
    import torch
    from transformers.models.detr.modeling_detr import DetrFrozenBatchNorm2d

    for name, child in module.named_children():
        if isinstance(child, DetrFrozenBatchNorm2d):
            setattr(module, name, torch.nn.BatchNorm2d(len(child.weight)))
        else:
            _thaw(child)


def detr(
    side: int, recipe: Recipe, name: str, images: tuple[Photograph, ...] = PHOTOGRAPHS
) -> Model:
    """DETR on square images."""
    return Model(
        name=name,
        build=detr_resnet50,
        inputs=(TensorSpec("image", (BATCH, 3, side, side)),),
        outputs=(
            TensorSpec("logits", (BATCH, QUERIES, COCO + 1)),
            TensorSpec("pred_boxes", (BATCH, QUERIES, 4)),
        ),
        recipe=recipe,
        images=images,
        weights=seeded(0),
        task="detection",
    )


DETR = detr(DETR_SIDE, IMAGENET_224, "detr_resnet50", PHOTOGRAPHS[:5])


def detr_with_objects(module: Any, seed: int) -> None:
    """The weights of `DETR_OBJECTS`."""
    with_objects(module, IMAGENET_224, DETR.images)


def detr_objects(
    side: int, recipe: Recipe, name: str, train: Any, images: tuple[Photograph, ...] = PHOTOGRAPHS
) -> Model:
    """DETR on square images with its objects as outputs; `train` makes its weights by
    `with_objects`.
    """
    return Model(
        name=name,
        build=detr_resnet50_objects,
        inputs=(TensorSpec("image", (3, side, side)),),
        outputs=(
            TensorSpec("boxes", (QUERIES, 4)),
            TensorSpec("labels", (QUERIES,), "int64"),
            TensorSpec("scores", (QUERIES,)),
        ),
        recipe=recipe,
        images=images,
        weights=trained(train, seed=0),
        task="detection",
    )


DETR_OBJECTS = detr_objects(
    DETR_SIDE, IMAGENET_224, "detr_resnet50_objects", detr_with_objects, DETR.images
)

# -- what is run -----------------------------------------------------------------------------------

TRACED = {"exporter": "torchscript", "opset": 17}
"""PyTorch's newer exporter stops at the boxes that are kept: their number depends on the data."""

CONVERTED = {"frontend": "pytorch"}
"""The other road into OpenVINO: what was traced is converted by its own frontend, without an ONNX
file between.
"""

ROADS = {
    **dict.fromkeys(("ort", "cpp-ort", "ctypes-ort"), (TRACED,)),
    **dict.fromkeys(("openvino", "cpp-openvino"), (TRACED, CONVERTED)),
}
"""Which of them each runtime can take; a runtime in C++ reads the files of its Python counterpart.
"""

objects = Case(
    models=(FASTER_RCNN, FASTER_RCNN_TWO_SIZES, MASK_RCNN, SSDLITE), backends=ALL, options=ROADS
)

heads = Case(models=(SSDLITE_HEADS, DETR, DETR_OBJECTS), backends=ALL)
