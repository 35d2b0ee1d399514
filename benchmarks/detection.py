"""Object detection: boxes, classes, scores and masks, with data-dependent numbers of objects.

Run with `evenbench run benchmarks/detection.py`; the default suite takes only minutes and leaves
this file out. `benchmarks/large.py` has the networks at deployment sizes. Most networks select
boxes inside the graph, so exporters with fixed sizes cannot export the network. For such exporters
there are variants: the raw heads, or a network with a fixed number of queries.
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
"""The number of classes, including the background. With COCO's 91, seeded scores would not spread.
"""

SHARPNESS = 6.0
"""The factor for the weights of the class head. With initial weights, all classes score about the
same, and no object is detected.
"""

PIXELS_192 = Recipe(
    "pixels_192",
    (Decode("RGB"), Resize(SIDE, antialias=True), CenterCrop(SIDE), ToArray(), Layout("CHW")),
)
"""Pixels in 0..1, because torchvision's detectors normalise internally."""

BOXES = (
    TensorSpec("boxes", (ANY, 4)),
    TensorSpec("labels", (ANY,), "int64"),
    TensorSpec("scores", (ANY,)),
)


# -- from an image to objects ----------------------------------------------------------------------


def of_one_image(detector: Any, *names: str) -> Any:
    """A detector from an image [3, height, width] to the outputs in `names`.

    The default outputs are boxes, labels and scores. torchvision's detectors take a list of images,
    and return a list of dictionaries.
    """
    import torch

    class OfOneImage(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.detector = detector

        def forward(self, image: Any) -> Any:
            objects = self.detector([image])[0]
            return tuple(objects[name] for name in names or ("boxes", "labels", "scores"))

    return OfOneImage()


def sharpened(detector: Any, factor: float) -> Any:
    """A Faster R-CNN detector with the weights of the class head multiplied by `factor`."""
    import torch

    with torch.no_grad():
        detector.roi_heads.box_predictor.cls_score.weight.mul_(factor)
    return detector


def _faster_rcnn(**sizes: int) -> Any:
    from torchvision.models import detection

    detector = detection.fasterrcnn_mobilenet_v3_large_320_fpn(
        weights=None, weights_backbone=None, num_classes=CLASSES, **sizes
    )
    return sharpened(detector, SHARPNESS)


def fasterrcnn_mobilenet_v3_large_320_fpn() -> Any:
    """Faster R-CNN from an image [3, height, width] to boxes, labels and scores."""
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
"""The heights of the images: every other photograph keeps only the middle rows."""


def of_two_sizes() -> Any:
    """Faster R-CNN on images of any size.

    Inputs are a canvas [3, 192, 192], and the height and width [2] of the image in the upper left
    corner. The graph crops the canvas to the image, so later sizes depend on the input, and the
    network scales smaller images up.
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
    """The photographs at two sizes, each on a canvas of zeros, and the sizes."""
    import numpy as np

    arrays: dict[str, list[Any]] = {spec.name: [] for spec in model.inputs}
    for index, photograph in enumerate(PHOTOGRAPHS):
        height = HEIGHTS[index % len(HEIGHTS)]
        first = (SIDE - height) // 2
        canvas = np.zeros((3, SIDE, SIDE), np.float32)
        canvas[:, :height] = preprocess.apply(PIXELS_192, locate(photograph))[
            :, first : first + height
        ]
        arrays["canvas"].append(canvas)
        arrays["size"].append(np.array([height, SIDE], np.int64))
    return {name: np.stack(values) for name, values in arrays.items()}


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
"""The number of region proposals, instead of torchvision's 1000. Nearly all work is per proposal.
"""

OBJECTS = 10
"""The maximum number of objects, each with a mask, instead of torchvision's 100."""

MASK_SHARPNESS = 2.6
"""The `SHARPNESS` of Mask R-CNN, smaller because a ResNet-50 spreads scores more."""

MASK_SOFTNESS = 0.02
"""The factor for mask weights. With initial weights, mask logits are in the tens, and probabilities
are 0 or 1. Pasting interpolates probabilities, and the threshold of a mask is halfway between 0 and
1, so the last bit would decide for up to a tenth of the pixels."""

MASK_BIAS = 0.2
"""The bias of mask logits: without evidence, a logit of 0 would be exactly on the threshold."""


def softened(detector: Any) -> Any:
    """`detector` (a Mask R-CNN) with smooth masks."""
    import torch

    last = detector.roi_heads.mask_predictor.mask_fcn_logits
    with torch.no_grad():
        last.weight.mul_(MASK_SOFTNESS)
        last.bias.fill_(MASK_BIAS)
    return detector


def mask_rcnn() -> Any:
    """torchvision's Mask R-CNN for small images, with initial weights."""
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
    """Mask R-CNN from an image [3, height, width] to boxes, labels, scores and pasted masks.

    Masks have the shape [objects, 1, height, width].
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
"""The anchors of six maps, 20 x 20 to 1 x 1, with six anchors at each place."""

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
    """SSDLite with non-maximum suppression, from an image to objects."""
    return of_one_image(_ssdlite())


def _heads_of(detector: Any) -> Any:
    """A detector up to the heads, without anchors, threshold and suppression."""
    import torch

    class Heads(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.detector = detector

        def forward(self, images: Any) -> Any:
            # The detector's transform for images of the final size.
            scaled = (images - 0.5) / 0.5
            outputs = self.detector.head(list(self.detector.backbone(scaled).values()))
            return outputs["bbox_regression"], outputs["cls_logits"]

    return Heads()


def ssdlite320_heads() -> Any:
    """SSDLite up to the heads: images in, offsets to anchors and logits out, of fixed sizes."""
    return _heads_of(_ssdlite())


def calibrated(module: Any, seed: int) -> None:
    """Set batch norms from all photographs together.

    The last map has a single pixel, without variance for a single image.
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

# -- queries instead of anchors: the heads alone, and objects --------------------------------------

DETR_SIDE = 224
QUERIES = 100
COCO = 91
"""The number of classes, without the last class, "no object"."""


def _detr() -> Any:
    """transformers' DETR on a ResNet-50, with initial weights and plain batch norms.

    DETR's frozen batch norms equal plain batch norms at inference, but cannot be calibrated for
    seeded weights.
    """
    try:
        from transformers import DetrConfig, DetrForObjectDetection, ResNetConfig
    except ModuleNotFoundError as error:
        raise Unavailable(
            f"{error.name}, the builder of DETR, is not installed; pip install 'evenbench[text]'"
        ) from error
    detr = DetrForObjectDetection(
        DetrConfig(
            use_timm_backbone=False,
            use_pretrained_backbone=False,
            backbone_config=ResNetConfig(out_features=["stage4"]),
            num_labels=COCO,
        )
    )
    _thaw(detr)
    return detr


def detr_resnet50() -> Any:
    """DETR up to the heads: images in, logits and boxes of 100 queries out.

    The last class is "no object"; boxes are centre and size in 0..1.
    """
    detr = _detr()
    import torch

    class Detr(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.detr = detr

        def forward(self, image: Any) -> Any:
            outputs = self.detr(pixel_values=image)
            return outputs.logits, outputs.pred_boxes

    return Detr()


def detr_resnet50_objects() -> Any:
    """DETR with post-processing: a square image [3, side, side] in, boxes, classes and scores out.

    Boxes are in pixels, for each of 100 queries. A score is the softmax of the best class, with "no
    object" among the classes. Queries do not suppress each other, so all sizes are fixed.
    """
    detr = _detr()
    import torch

    class Objects(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.detr = detr

        def forward(self, image: Any) -> Any:
            outputs = self.detr(pixel_values=image[None])
            scores, labels = outputs.logits[0].softmax(-1)[:, :COCO].max(-1)
            centre, size = outputs.pred_boxes[0].split(2, -1)
            corners = torch.cat([centre - size / 2, centre + size / 2], -1)
            return corners * image.shape[-1], labels, scores

    return Objects()


def _thaw(module: Any) -> None:
    """Replace every frozen batch norm with a plain batch norm."""
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
    """DETR on square images with objects as outputs; `train` calls `with_objects`."""
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

# -- cases -----------------------------------------------------------------------------------------

TRACED = {"exporter": "torchscript", "opset": 17}
"""PyTorch's newer exporter fails at selected boxes, because the number depends on the data."""

CONVERTED = {"frontend": "pytorch"}
"""The conversion by OpenVINO's PyTorch frontend from a traced module, without an ONNX file."""

ROADS = {
    **dict.fromkeys(("ort", "cpp-ort", "ctypes-ort"), (TRACED,)),
    **dict.fromkeys(("openvino", "cpp-openvino"), (TRACED, CONVERTED)),
}
"""The supported options of each runtime. C++ runtimes read the files of the Python runtimes."""

objects = Case(
    models=(FASTER_RCNN, FASTER_RCNN_TWO_SIZES, MASK_RCNN, SSDLITE), backends=ALL, options=ROADS
)

heads = Case(models=(SSDLITE_HEADS, DETR, DETR_OBJECTS), backends=ALL)
