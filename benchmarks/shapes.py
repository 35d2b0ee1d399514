"""Networks with inputs of changing size: sentences of three lengths, images of three sizes.

Run with `evenbench load benchmarks/shapes.py --scenario shapes --vary size`. The default suite
leaves this file out: every cell repeats a cell of fixed size for this scenario. On supporting
runtimes, a single network runs all sizes.
"""

from dataclasses import replace
from typing import Any

from benchmarks.detection import FASTER_RCNN, PIXELS_192, SIDE, TRACED
from benchmarks.segmentation import LRASPP, lraspp_mobilenet_v3_large, segmenter
from benchmarks.text import MINILM
from harness import Case, Model, Recipe, TensorSpec, preprocess
from harness.photographs import PHOTOGRAPHS, locate
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


def squares(side: int) -> Recipe:
    """The middle of a photograph, `side` pixels wide and high, scaled like the network's recipe."""
    scaled = (Decode("RGB"), Resize(round(side * 146 / 128), antialias=True), CenterCrop(side))
    return Recipe(
        f"imagenet_{side}",
        (*scaled, ToArray(), Normalise(IMAGENET_MEAN, IMAGENET_STD), Layout("CHW")),
    )


ANY_LENGTH = replace(MINILM[128], name="minilm_any_length", sizes=(MINILM[16], MINILM[64]))
"""Sequences of 128 tokens (in load), 16 and 64."""

ANY_SIZE = replace(
    LRASPP,
    name="lraspp_any_size",
    sizes=tuple(
        segmenter(lraspp_mobilenet_v3_large, side, squares(side), f"lraspp_{side}")
        for side in (96, 160)
    ),
)
"""Images of 128 x 128 pixels (in load), 96 x 96 and 160 x 160."""


def middles(model: Model) -> dict[str, Any]:
    """The middle rows of every photograph, for the image height of the model."""
    import numpy as np

    height = int(model.inputs[0].shape[1])
    first = (SIDE - height) // 2
    images = [
        preprocess.apply(PIXELS_192, locate(photograph))[:, first : first + height]
        for photograph in PHOTOGRAPHS
    ]
    return {model.inputs[0].name: np.ascontiguousarray(np.stack(images))}


def wide(height: int) -> Model:
    """The detector on images of `height` rows."""
    image = TensorSpec("image", (3, height, SIDE))
    return replace(
        FASTER_RCNN,
        name=f"fasterrcnn_{height}",
        inputs=(image,),
        recipe=None,
        images=(),
        inputs_from=middles,
    )


ANY_PHOTOGRAPH = replace(FASTER_RCNN, name="fasterrcnn_any_size", sizes=(wide(128), wide(160)))
"""Photographs of 192 x 192 pixels, and of fewer rows, a single image per inference."""

RUNTIMES = ("torch-eager", "torch-script", "torch-compile", "torch-aot", "ort", "openvino")

OPEN = ({}, {"dynamic": "size"})
"""A file of fixed size, and a file of any size."""

OPTIONS = {
    "torch-compile": ({}, *({"shapes": when} for when in ("each", "auto", "any"))),
    "ort": OPEN,
    "openvino": OPEN,
}

lengths = Case(models=(ANY_LENGTH,), backends=RUNTIMES, options=OPTIONS)
images = Case(models=(ANY_SIZE,), backends=RUNTIMES, options=OPTIONS)

objects = Case(
    models=(ANY_PHOTOGRAPH,),
    backends=("torch-eager", "torch-script", "ort", "openvino"),
    options=dict.fromkeys(("ort", "openvino"), ({**TRACED, "dynamic": "size"},)),
)
"""Traced detectors ([docs/reference/tasks.md](../docs/reference/tasks.md)) with open sizes."""

EITHER = ({"dynamic": "batch,size"},)

narrow = Case(
    models=(ANY_LENGTH,),
    backends=("ort", "openvino"),
    precisions=("fp16", "bf16"),
    options={"ort": EITHER, "openvino": EITHER},
)
"""Lower precisions for `--vary batch,size`: converted files with open batch and size."""

integers = Case(
    models=(ANY_LENGTH,), backends=("ort",), precisions=("int8-dynamic",), options={"ort": EITHER}
)
"""int8-dynamic, with ranges computed in each call. OpenVINO would run the file in fp32
([docs/reference/backends.md](../docs/reference/backends.md)).
"""
