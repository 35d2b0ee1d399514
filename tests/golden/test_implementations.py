"""One recipe by several libraries on real photographs: equal within two levels, or a difference
that has a name and a knob.

What is wrong (colour order, mean, scale, filter, pixel centres) must be beyond those two levels on
every photograph, or the comparison would not see it.
"""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks import models
from evenbench.backends.preprocessing import numpy_preprocessor, opencv_preprocessor
from evenbench.harness import PLANS, Case, Recipe, preprocess
from evenbench.harness.collection import matrix
from evenbench.harness.core.cases import Entry
from evenbench.harness.core.types import Photograph
from evenbench.harness.inputs import pixel_difference, preprocessors
from evenbench.harness.inputs.pixel_difference import ALLOWED, Difference
from evenbench.harness.inputs.preprocessors import Implementation, ImplementedRecipe, chain
from evenbench.harness.photographs import PHOTOGRAPHS, locate
from evenbench.harness.preprocess import (
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
from evenbench.harness.runner.schedule import Run

AFTER = IMAGENET_224.steps[2:]
SAMPLED = Recipe("sampled", (Decode(), Resize(256, antialias=False), *AFTER))
NEAREST = Recipe("nearest", (Decode(), Resize(256, antialias=False, filter="nearest"), *AFTER))
CUBIC = Recipe("cubic", (Decode(), Resize(256, antialias=True, filter="bicubic"), *AFTER))
ENLARGED = Recipe(
    "enlarged", (Decode(), Resize(900, antialias=True), CenterCrop(600), ToArray(), Layout("HWC"))
)
SQUARE = Recipe("square", (Decode(), Resize(300, antialias=True, exact=True), ToArray(), Layout()))
GREY = Recipe(
    "grey",
    (
        Decode("L"),
        Resize(256, antialias=True),
        CenterCrop(224),
        ToArray(),
        Normalise((0.5,), (0.25,)),
        Layout(),
    ),
)
DECODED = Recipe("decoded", (Decode(), ToArray(), Layout()))

RECIPES = (IMAGENET_224, SAMPLED, NEAREST, CUBIC, ENLARGED, SQUARE, GREY, DECODED)
OTHERS = preprocessors.names()[1:]
JPEGS = tuple(photograph for photograph in PHOTOGRAPHS if photograph.path.endswith(".jpg"))
SOME = PHOTOGRAPHS[:4]
"""Two JPEGs and two PNGs: 640 x 427, square, and 451 x 300, of which the last is nearly as small as
the recipe asks.
"""


def library(name: str) -> Implementation:
    found = preprocessors.find(name)
    for package in found.missing():
        pytest.skip(f"{name} needs {package}")
    return found


def difference(recipe: Recipe, photograph: Photograph, by: str | Implementation) -> Difference:
    """Against the steps as they are written."""
    file = locate(photograph)
    made = (
        preprocessors.apply(ImplementedRecipe(recipe.name, recipe.steps, by), file)
        if isinstance(by, str)
        else chain(by, recipe.steps, file.read_bytes())
    )
    return pixel_difference.between(recipe, made, preprocess.apply(recipe, file))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
@pytest.mark.parametrize("name", [name for name in OTHERS if name != "opencv-area"])
def test_every_library_makes_the_same_levels(name: str, recipe: Recipe) -> None:
    """Each on four photographs; on all ten for the recipe that the default suite uses."""
    library(name)
    why = preprocessors.refuses(recipe, name)
    if why:
        assert (name, recipe.name) in {
            ("opencv", other) for other in ("imagenet_224", "cubic", "enlarged", "square", "grey")
        }
        return
    for photograph in PHOTOGRAPHS if recipe is IMAGENET_224 else SOME:
        found = difference(recipe, photograph, name)
        assert found.worst <= ALLOWED, (photograph.name, found)


def test_pillow_by_its_content_is_pillow_by_its_name() -> None:
    """The implementation for which the others can be exchanged equals the steps, to the byte."""
    for photograph in SOME:
        file = locate(photograph)
        made = chain(preprocessors.find("pillow"), IMAGENET_224.steps, file.read_bytes())
        assert made.tobytes() == preprocess.apply(IMAGENET_224, file).tobytes()


@pytest.mark.parametrize(
    "recipe",
    [recipe for recipe in RECIPES if recipe is not SAMPLED],
    ids=lambda recipe: recipe.name,
)
def test_cpp_makes_the_bytes_of_pillow(recipe: Recipe) -> None:
    """Fixed point between the passes and float32 after them, as Pillow and NumPy have them: not a
    level apart, so that what a C++ program makes of a frame can be judged by the golden of the
    plain model."""
    by = library("cpp")
    for photograph in SOME:
        file = locate(photograph)
        assert (
            chain(by, recipe.steps, file.read_bytes()).tobytes()
            == preprocess.apply(recipe, file).tobytes()
        ), photograph.name


@pytest.mark.parametrize(
    "size", [(101, 120), (120, 101), (100, 110), (100, 112), (40, 300), (90, 90), (50, 200)]
)
@pytest.mark.parametrize("filter", ["bilinear", "bicubic"])
def test_cpp_takes_the_passes_in_the_order_of_pillow(size: tuple[int, int], filter: Any) -> None:
    """Levels are whole between the two, so that the other order is a level off; Pillow 13 begins
    with the rows of what is tall.
    """
    by = library("cpp")
    pixels = np.random.default_rng(size[0]).integers(0, 256, (*size[::-1], 3)).astype(np.uint8)
    step = Resize(90, antialias=True, filter=filter, exact=True)
    assert (
        by.resize(by.opened(pixels), step, 90, 90).tobytes()
        == np.asarray(step.apply(Image.fromarray(pixels))).tobytes()
    )


@pytest.mark.parametrize("name", OTHERS)
def test_decoders_differ_on_jpeg_only(name: str) -> None:
    """The same photograph as PNG and as JPEG: PNG is lossless and leaves a decoder nothing to
    decide.
    """
    by = library(name)
    for photograph in JPEGS[:2]:
        with Image.open(locate(photograph)) as opened:
            image = opened.convert("RGB")
        for kind, allowed in (("PNG", 0), ("JPEG", ALLOWED)):
            file = io.BytesIO()
            image.save(file, kind)
            ours = np.asarray(Image.open(file).convert("RGB"), dtype=np.int16)
            theirs = in_memory(by, file.getvalue())
            assert int(np.abs(ours - theirs).max()) <= allowed, (photograph.name, kind)


def test_the_jpeg_decoder_is_the_knob() -> None:
    """These libraries all carry libjpeg-turbo. FFmpeg decodes and upsamples colour in its own way:
    the same file, other levels.
    """
    av = pytest.importorskip("av")
    for photograph in JPEGS[:2]:
        file = io.BytesIO()
        with Image.open(locate(photograph)) as opened:
            opened.save(file, "JPEG", quality=90, subsampling="4:2:0")
        content = file.getvalue()
        with av.open(io.BytesIO(content), format="jpeg_pipe") as container:
            theirs = next(container.decode(video=0)).to_ndarray(format="rgb24").astype(np.int16)
        turbo = in_memory(preprocessors.find("pillow"), content)
        assert theirs.shape == turbo.shape
        assert np.abs(theirs - turbo).max() > ALLOWED
        for name in OTHERS:
            assert np.abs(in_memory(library(name), content) - turbo).max() <= ALLOWED


def in_memory(by: Implementation, encoded: bytes) -> Any:
    """Decoded only, as int16 [height, width, 3]."""
    made = chain(by, (Decode(), ToArray(scale=1), Layout("HWC")), encoded)
    return made.astype(np.int16)


# -- differences that have a name ------------------------------------------------------------------


def without(step: type, *, by: Any) -> Recipe:
    """The recipe with the one step of that kind exchanged."""
    return replace(
        IMAGENET_224,
        steps=tuple(by if isinstance(each, step) else each for each in IMAGENET_224.steps),
    )


class Corners(numpy_preprocessor.NumPy):
    """Samples at the corners of pixels, as resizes without half-pixel centres do."""

    centre = 0.0

    def resize(self, image: Any, step: Resize, width: int, height: int) -> Any:
        down, across = (
            numpy_preprocessor.weights(size, target, step.filter, step.antialias, self.centre)
            for size, target in ((image.shape[0], height), (image.shape[1], width))
        )
        return np.clip(np.rint(numpy_preprocessor.resized(image, down, across)), 0, 255).astype(
            np.uint8
        )


class Centred(Corners):
    """The same code with the knob where it belongs."""

    centre = numpy_preprocessor.HALF


class Bgr(opencv_preprocessor.OpenCv):
    """OpenCV's own order of colours, forgotten to be turned."""

    def decode(self, encoded: bytes, step: Decode) -> Any:
        return super().decode(encoded, step)[:, :, ::-1]


class Oriented(opencv_preprocessor.OpenCv):
    """OpenCV as it decodes by default."""

    def decode(self, encoded: bytes, step: Decode) -> Any:
        import cv2

        return cv2.cvtColor(
            cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB
        )


def made_with(recipe: Recipe, file: Path) -> Difference:
    """The recipe against the one it should have been: levels are those of the right one."""
    return pixel_difference.between(
        IMAGENET_224, preprocess.apply(recipe, file), preprocess.apply(IMAGENET_224, file)
    )


WRONG = {
    "another mean": without(Normalise, by=Normalise((0.5, 0.5, 0.5), IMAGENET_STD)),
    "another deviation": without(Normalise, by=Normalise(IMAGENET_MEAN, (0.5, 0.5, 0.5))),
    "mean of the other order": without(
        Normalise, by=Normalise(IMAGENET_MEAN[::-1], IMAGENET_STD[::-1])
    ),
    "levels of 0 to 255": without(ToArray, by=ToArray(scale=1.0)),
    "no antialias": without(Resize, by=Resize(256, antialias=False)),
    "another filter": without(Resize, by=Resize(256, antialias=True, filter="bicubic")),
    "another size": without(Resize, by=Resize(240, antialias=True)),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_wrong_recipe_is_beyond_what_is_allowed(mistake: str) -> None:
    for photograph in PHOTOGRAPHS:
        assert made_with(WRONG[mistake], locate(photograph)).worst > ALLOWED, photograph.name


@pytest.mark.parametrize(("wrong", "right"), [(Corners(), Centred())], ids=["half-pixel centres"])
def test_pixel_centres_are_the_knob(wrong: Implementation, right: Implementation) -> None:
    for photograph in SOME:
        assert difference(SAMPLED, photograph, wrong).worst > ALLOWED
        assert difference(SAMPLED, photograph, right).worst <= ALLOWED


def test_colour_order_is_the_knob() -> None:
    right = library("opencv")
    for photograph in SOME:
        assert difference(SAMPLED, photograph, Bgr()).worst > ALLOWED
        assert difference(SAMPLED, photograph, right).worst <= ALLOWED


def test_antialiasing_is_the_knob() -> None:
    """What OpenCV's linear resize makes is the recipe without antialias, and is not the one with
    it.
    """
    right = library("opencv")
    antialiased = Recipe("antialiased", IMAGENET_224.steps)
    for photograph in SOME[:3]:
        file = locate(photograph)
        sampled = chain(right, SAMPLED.steps, file.read_bytes())
        assert (
            pixel_difference.between(
                antialiased, sampled, preprocess.apply(antialiased, file)
            ).worst
            > 10 * ALLOWED
        )
        assert (
            pixel_difference.between(SAMPLED, sampled, preprocess.apply(SAMPLED, file)).worst
            <= ALLOWED
        )


def test_averaging_areas_is_another_filter() -> None:
    """`opencv-area` may be asked for, and says what it is: beyond two levels, and nearer than
    sampling.
    """
    library("opencv-area")
    assert "INTER_AREA" in preprocessors.find("opencv-area").does["Resize"]
    for photograph in SOME[:3]:
        file = locate(photograph)
        area = difference(IMAGENET_224, photograph, "opencv-area")
        sampled = pixel_difference.between(
            IMAGENET_224, preprocess.apply(SAMPLED, file), preprocess.apply(IMAGENET_224, file)
        )
        assert area.worst > ALLOWED
        assert area.share < sampled.share


def test_orientation_is_the_knob(tmp_path: Path) -> None:
    """A JPEG that says it lies on its side: every library here leaves it so; OpenCV would turn it
    unasked.
    """
    right, file = library("opencv"), tmp_path / "side.jpg"
    with Image.open(locate(PHOTOGRAPHS[0])) as opened:
        exif = opened.getexif()
        exif[0x0112] = 6
        opened.save(file, exif=exif)
    assert chain(Oriented(), DECODED.steps, file.read_bytes()).shape == (3, 640, 427)
    for by in (right, *(library(name) for name in OTHERS)):
        assert (
            pixel_difference.between(
                DECODED,
                chain(by, DECODED.steps, file.read_bytes()),
                preprocess.apply(DECODED, file),
            ).worst
            <= ALLOWED
        )


def test_the_written_out_filter_agrees_with_its_definition() -> None:
    """Halving with antialias: each target sees four sources at distances of 1/4, 3/4 of the widened
    triangle.
    """
    row = numpy_preprocessor.weights(8, 4, "bilinear", True)[1]
    assert row.tolist() == pytest.approx([0, 1 / 8, 3 / 8, 3 / 8, 1 / 8, 0, 0, 0])
    assert numpy_preprocessor.weights(4, 8, "bilinear", True)[1].tolist() == pytest.approx(
        [0.75, 0.25, 0, 0]
    )
    assert numpy_preprocessor.weights(4, 8, "nearest", False).argmax(1).tolist() == [
        0,
        0,
        1,
        1,
        2,
        2,
        3,
        3,
    ]


@pytest.mark.slow
def test_an_axis_of_libraries_is_measured_and_never_compared(tmp_path: Path) -> None:
    """Through processes of their own: both are right about their own inputs, which are not the same
    bytes.
    """
    for package in ("torch", "torchvision"):
        pytest.importorskip(package)
    cells = matrix.expand(
        Case(
            (models.MOBILENET_V3_SMALL,), ("torch-eager",), preprocessing=("pillow", "torchvision")
        )
    )
    entries = [Entry(cell, "tests") for cell in cells]
    lines = Run(entries, PLANS["quick"], tmp_path, fresh=True).measure(entries)
    assert [(line["outcome"], line["reason"]) for line in lines] == [("ok", "")] * 2
    recorded = {line["inputs"]["recipe"]: line for line in lines}
    assert set(recorded) == {"imagenet_224", "imagenet_224+torchvision"}
    assert len({line["input_sha256"] for line in lines}) == 2
    assert len({line["cell"]["group"] for line in lines}) == 2
