"""Preprocessing and postprocessing steps around a network, each as a separate model.

Run with `evenbench run benchmarks/steps.py`. Like networks, steps are compared with float64
goldens. Photographs are files of equal size, so laps depend on the step and not on the picture.
Each step runs in a single thread, the maximum of Pillow.
"""

import io
from collections.abc import Mapping
from typing import Any

from harness import Case, Model, Recipe, TensorSpec, UsageError, own, photographs
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

WIDTH, HEIGHT = 400, 300
"""The size of every photograph: the smallest photograph's size, cropped from the middle."""

QUALITY = 90
ENCODED_BYTES = 65_536
"""An upper bound for files of this size and quality."""

SIDE = 224
MEAN_STD = Normalise(IMAGENET_MEAN, IMAGENET_STD)
TWO_LEVELS = 2 / 255
"""The tolerance for decoders and rounding, as a share of the largest level, far below the
differences of a wrong filter.
"""

NORMALISED = {"fp32": (0.0, TWO_LEVELS / 0.224 / 2.6)}
"""The tolerance after normalisation, in units of the largest magnitude, about 2.6."""

IN_LEVELS = {"fp32": (0.0, TWO_LEVELS)}


def pictures() -> list[Any]:
    """The photographs as Pillow images of equal size."""
    from PIL import Image

    images = []
    for photograph in photographs.PHOTOGRAPHS[:5]:
        with Image.open(photographs.locate(photograph)) as opened:
            image = opened.convert("RGB")
        left, top = (image.width - WIDTH) // 2, (image.height - HEIGHT) // 2
        images.append(image.crop((left, top, left + WIDTH, top + HEIGHT)))
    return images


def files(model: Model) -> Mapping[str, Any]:
    """Each picture as a JPEG file padded with zeros, and the number of bytes before padding."""
    import numpy as np

    encoded, counts = [], []
    for picture in pictures():
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=QUALITY)
        content = file.getvalue()
        if len(content) > ENCODED_BYTES:
            raise UsageError(
                f"a photograph takes {len(content)} bytes, more than {ENCODED_BYTES}; "
                "raise ENCODED_BYTES"
            )
        encoded.append(np.frombuffer(content.ljust(ENCODED_BYTES, b"\0"), np.uint8))
        counts.append([len(content)])
    return {"encoded": np.stack(encoded), "bytes": np.array(counts, np.int64)}


def pixels(model: Model) -> Mapping[str, Any]:
    """Each picture decoded and cropped to the size of the model's input."""
    import numpy as np

    height, width, _ = model.inputs[0].concrete(1)
    return {"pixels": np.stack([np.asarray(picture)[:height, :width] for picture in pictures()])}


def objects(model: Model) -> Mapping[str, Any]:
    """Boxes around a few places, like boxes before suppression, with unequal scores."""
    import numpy as np

    generator = np.random.default_rng(0)
    count = model.inputs[0].concrete(1)[0]
    centres = generator.uniform(50, 350, (4, 12, 1, 2)) + generator.normal(
        0, 8, (4, 12, -(-count // 12), 2)
    )
    centres = centres.reshape(4, -1, 2)[:, :count]
    halves = generator.uniform(20, 45, (4, count, 2))
    boxes = np.concatenate([centres - halves, centres + halves], axis=-1).astype(np.float32)
    scores = np.stack([generator.permutation(count) for _ in range(4)]) + 1.0
    return {"boxes": boxes, "scores": (scores / (count + 1)).astype(np.float32)}


def masks(model: Model) -> Mapping[str, Any]:
    """Soft blobs of 28 x 28 with boxes, some beyond the edge of the picture."""
    import numpy as np

    generator = np.random.default_rng(0)
    count, side = model.inputs[0].concrete(1)[:2]
    place = np.arange(side) - side / 2
    radii = generator.uniform(4, 12, (4, count, 1, 1))
    blobs = 1 / (1 + np.exp(np.hypot(place[:, None], place) - radii))
    corners = generator.uniform(-20, 200, (4, count, 2))
    boxes = np.concatenate([corners, corners + generator.uniform(40, 120, (4, count, 2))], axis=-1)
    return {"masks": blobs.astype(np.float32), "boxes": boxes.astype(np.float32)}


def logits(model: Model) -> Mapping[str, Any]:
    """Random scores of every class at every pixel; an argmax costs the same for all scores."""
    import numpy as np

    return {
        "logits": np.random.default_rng(0).standard_normal(
            (3, *model.inputs[0].concrete(1)), np.float32
        )
    }


ENCODED = (TensorSpec("encoded", (ENCODED_BYTES,), "uint8"), TensorSpec("bytes", (1,), "int64"))


def _photo(
    name: str,
    steps: tuple[Any, ...],
    inputs: tuple[TensorSpec, ...],
    made_by: Any,
    tolerance: Mapping[str, Any],
) -> Model:
    return Model(
        name=name,
        build="backends.step_golden:photo",
        inputs=inputs,
        outputs=(TensorSpec("image", (3, SIDE, SIDE)),),
        recipe=Recipe(name, steps),
        inputs_from=made_by,
        weights=own(),
        task="step",
        tolerance=tolerance,
    )


def _pixels(height: int, width: int) -> tuple[TensorSpec, ...]:
    return (TensorSpec("pixels", (height, width, 3), "uint8"),)


def _resize(antialias: bool) -> tuple[Any, ...]:
    return Resize(256, antialias=antialias), CenterCrop(SIDE)


AFTER = (ToArray(), MEAN_STD, Layout("CHW"))
LEVELS = (ToArray(), Layout("CHW"))

DECODE = _photo("decode", (Decode(), CenterCrop(SIDE), *LEVELS), ENCODED, files, IN_LEVELS)
RESIZE = _photo("resize", (*_resize(True), *LEVELS), _pixels(HEIGHT, WIDTH), pixels, IN_LEVELS)
RESIZE_SAMPLED = _photo(
    "resize_sampled", (*_resize(False), *LEVELS), _pixels(HEIGHT, WIDTH), pixels, IN_LEVELS
)
NORMALISE = _photo("normalise", AFTER, _pixels(SIDE, SIDE), pixels, {})
PHOTO = _photo("photo", (Decode(), *_resize(True), *AFTER), ENCODED, files, NORMALISED)
PHOTO_SAMPLED = _photo(
    "photo_sampled", (Decode(), *_resize(False), *AFTER), ENCODED, files, NORMALISED
)


def _after(name: str, inputs: tuple[TensorSpec, ...], output: TensorSpec, made_by: Any) -> Model:
    build = f"backends.step_golden:{name}"
    return Model(name, build, inputs, (output,), inputs_from=made_by, weights=own(), task="step")


BOXES, OBJECTS, CLASSES = 600, 20, 21

NMS = _after(
    "nms",
    (TensorSpec("boxes", (BOXES, 4)), TensorSpec("scores", (BOXES,))),
    TensorSpec("kept", (BOXES,), "int64"),
    objects,
)
PASTE_MASKS = _after(
    "paste_masks",
    (TensorSpec("masks", (OBJECTS, 28, 28)), TensorSpec("boxes", (OBJECTS, 4))),
    TensorSpec("pasted", (OBJECTS, 240, 240)),
    masks,
)
ARGMAX = _after(
    "argmax",
    (TensorSpec("logits", (CLASSES, 240, 320)),),
    TensorSpec("classes", (240, 320), "int64"),
    logits,
)

LIBRARIES = ("steps-pillow", "steps-opencv", "steps-torchvision", "steps-numpy", "steps-cpp")

preprocessing = Case(
    (DECODE, RESIZE, RESIZE_SAMPLED, NORMALISE, PHOTO, PHOTO_SAMPLED), LIBRARIES, threads=(1,)
)
postprocessing = Case((NMS, PASTE_MASKS, ARGMAX), LIBRARIES, threads=(1,))
