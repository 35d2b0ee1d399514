"""Frames through the C++ of a whole line, around a network that answers what it is told: the pixels
and the drawing are Python's.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from evenbench.backends.cpp import build, frames, toolchain
from evenbench.harness import ANY, BATCH, Model, Recipe, TensorSpec
from evenbench.harness.pipeline import drawing, frame_spec, postprocess
from evenbench.harness.preprocess import (
    IMAGENET_224,
    CenterCrop,
    Decode,
    Layout,
    Normalise,
    Resize,
    ToArray,
)

pytestmark = pytest.mark.skipif(not toolchain.compiler(), reason="no C++ compiler")

PROGRAM = """
#include <cstdio>
#include <cstdlib>
#include "frame_pipeline.hpp"
using namespace evenbench;

struct Told : Network {  // answers what lies in the folder
  std::string folder;
  std::vector<Array> outputs;
  void bind(const std::vector<View>&) override {}
  void step() override {}
  std::vector<Array> fetch() override { return outputs; }
  Facts facts(const std::string&) override { return {}; }
};

int main(int count, char** words) {
  const std::string folder = words[1];
  try {
    Told network;
    for (int at = 0; at < std::atoi(words[2]); ++at) {
      network.outputs.push_back(read_npy(folder + "/out" + std::to_string(at) + ".npy", ""));
    }
    FramePipeline pipeline(options_of({words + 3, words + count}));
    auto state = pipeline.make_state();
    const auto frame = read_npy(folder + "/frame.npy", "");
    for (int times = 0; times < 2; ++times) pipeline.process(network, frame_of(frame), state);
    write_npy(folder + "/tensor.npy", state.tensor);
    write_npy(folder + "/drawn.npy", state.drawn);
    std::puts(state.prediction.text().c_str());
  } catch (const std::exception& error) {
    std::puts(error.what());
    return 1;
  }
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compiled once, without a warning."""
    folder = tmp_path_factory.mktemp("pipeline")
    (folder / "pipeline.cpp").write_text(PROGRAM)
    flags = [flag for flag in build.FLAGS if flag != "-shared"]
    command = [
        *toolchain.compiler(),
        *flags,
        "-Werror",
        f"-I{build.SOURCES}",
        str(folder / "pipeline.cpp"),
        "-o",
        str(folder / "pipeline"),
        "-ldl",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "pipeline"


def frame(width: int, height: int) -> Any:
    """Noise on a slope, so that every pixel counts."""
    noise = np.random.default_rng(width).integers(0, 90, (height, width, 3))
    return (noise + np.linspace(0, 160, width)[None, :, None]).astype(np.uint8)


def passed(
    program: Path,
    folder: Path,
    model: Model,
    pixels: Any,
    outputs: Mapping[str, Any],
    by: str = "pillow",
) -> tuple[Any, Any, str]:
    """Tensor, drawing and words of one frame."""
    recipe = postprocess.recipe_of(model)
    told = frame_spec.of(model, recipe, by, pixels.shape[1], pixels.shape[0])
    np.save(folder / "palette.npy", told.palette)
    np.save(folder / "frame.npy", pixels)
    for place, spec in enumerate(model.outputs):
        np.save(folder / f"out{place}.npy", outputs[spec.name].astype(spec.dtype))
    words = [f"palette={folder / 'palette.npy'}", *frames.program_options(told)]
    done = subprocess.run(
        [program, folder, str(len(model.outputs)), *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return np.load(folder / "tensor.npy"), np.load(folder / "drawn.npy"), done.stdout.strip()


def in_python(
    model: Model, pixels: Any, outputs: Mapping[str, Any]
) -> tuple[Any, Any, postprocess.Prediction]:
    """The same by the harness."""
    recipe, picture = postprocess.recipe_of(model), Image.fromarray(pixels)
    value: Any = picture
    for step in recipe.steps[1:]:
        value = step.apply(value)
    specs = {spec.name: spec.dtype for spec in model.outputs}
    answer = postprocess.reader(model)(
        {name: values.astype(specs[name]) for name, values in outputs.items()}
    )
    drawn = drawing.draw(
        picture, drawing.view(recipe, *picture.size), postprocess.without_text(answer)
    )
    return value[None] if len(model.inputs[0].shape) == 4 else value, np.asarray(drawn), answer


def alike(
    program: Path, folder: Path, model: Model, pixels: Any, outputs: Mapping[str, Any]
) -> tuple[str, postprocess.Prediction]:
    tensor, drawn, words = passed(program, folder, model, pixels, outputs)
    wanted, painted, answer = in_python(model, pixels, outputs)
    assert tensor.dtype == wanted.dtype
    assert np.array_equal(tensor, wanted)
    assert np.array_equal(drawn, painted), (
        f"{np.count_nonzero((drawn != painted).any(-1))} pixels differ"
    )
    return words, answer


SQUARE = Recipe(
    "square", (Decode("RGB"), Resize(96, antialias=True, exact=True), ToArray(), Layout("CHW"))
)
NORMAL = Normalise((0.4, 0.5, 0.6), (0.2, 0.3, 0.1))
CUT = Recipe(
    "cut",
    (Decode("RGB"), Resize(70, antialias=True), CenterCrop(64), ToArray(), NORMAL, Layout("CHW")),
)
CUBIC = Recipe(
    "cubic",
    (
        Decode("RGB"),
        CenterCrop(64),
        Resize(96, antialias=True, filter="bicubic"),
        ToArray(),
        Layout("CHW"),
    ),
)
NEAR = Recipe(
    "near",
    (
        Decode("RGB"),
        Resize(43, antialias=False, filter="nearest", exact=True),
        ToArray(2.0),
        Layout("CHW"),
    ),
)


def model_of(
    recipe: Recipe, side: int, task: str, *outputs: TensorSpec, batched: bool = True
) -> Model:
    shape = (BATCH, 3, side, side) if batched else (3, side, side)
    return Model("m", "nobody:build", (TensorSpec("x", shape),), outputs, recipe=recipe, task=task)


@pytest.mark.parametrize(
    ("recipe", "side"), [(IMAGENET_224, 224), (SQUARE, 96), (CUT, 64), (CUBIC, 96), (NEAR, 43)]
)
@pytest.mark.parametrize("size", [(320, 180), (101, 120)])
def test_every_pixel_has_its_class(
    program: Path, tmp_path: Path, recipe: Recipe, side: int, size: tuple[int, int]
) -> None:
    model = model_of(
        recipe,
        side,
        "segmentation",
        TensorSpec("aux", (BATCH, 2)),
        TensorSpec("out", (BATCH, 5, side, side)),
    )
    scores = (
        np.random.default_rng(side)
        .standard_normal((1, 5, side // 8 + 1, side // 8 + 1))
        .repeat(8, 2)
        .repeat(8, 3)[..., :side, :side]
    )
    scores[:, :, :3] = 1.0  # where all are alike, the first one is it
    alike(program, tmp_path, model, frame(*size), {"aux": np.zeros((1, 2)), "out": scores})


def test_the_best_class_and_its_share(program: Path, tmp_path: Path) -> None:
    model = model_of(IMAGENET_224, 224, "classification", TensorSpec("logits", (BATCH, 7)))
    words, answer = alike(
        program,
        tmp_path,
        model,
        frame(320, 180),
        {"logits": np.array([[0.1, 3.0, -2.0, 3.0, 0.0, 1.0, 2.5]])},
    )
    best, share = words.split()
    assert answer.words == (f"class {best}  {float(share):.2f}",)


BOXES = (
    TensorSpec("boxes", (ANY, 4)),
    TensorSpec("labels", (ANY,), "int64"),
    TensorSpec("scores", (ANY,)),
)


@pytest.mark.parametrize("masks", [(), (64, 64), (1, 64, 64)])
def test_objects_are_outlined_and_covered(
    program: Path, tmp_path: Path, masks: tuple[int, ...]
) -> None:
    """Large, thin, inside out, outside, touching the edge, below the threshold; more kinds than
    colours.
    """
    generator = np.random.default_rng(len(masks))
    boxes = generator.uniform(-20, 84, (40, 4))
    boxes[5:10, 2] = boxes[5:10, 0] + generator.uniform(0, 3, 5)
    boxes[10:15, 3] = boxes[10:15, 1] + generator.uniform(0, 3, 5)
    outputs = {
        "boxes": boxes,
        "labels": generator.integers(0, 600, 40),
        "scores": generator.uniform(0, 1, 40),
    }
    specs = BOXES
    if masks:
        specs = (*BOXES, TensorSpec("masks", (ANY, *masks)))
        outputs["masks"] = (generator.random((40, *masks)) > 0.9) * generator.random((40, *masks))
    model = model_of(CUT, 64, "detection", *specs, batched=False)
    words, answer = alike(program, tmp_path, model, frame(320, 180), outputs)
    assert tuple(map(int, words.split())) == answer.kinds
    assert 5 < len(answer.kinds) < 40


@pytest.mark.parametrize(
    ("name", "shape", "said"),
    [
        ("boxes", (3, 4), "the numbers of boxes and scores differ from the 4 labels"),
        ("masks", (3, 64, 64), "fewer masks than labels"),
    ],
)
def test_outputs_that_do_not_belong_together_are_said(
    program: Path, tmp_path: Path, name: str, shape: tuple[int, ...], said: str
) -> None:
    right = {
        "boxes": np.zeros((4, 4)),
        "labels": np.ones(4),
        "scores": np.ones(4),
        "masks": np.ones((4, 64, 64)),
    }
    model = model_of(
        CUT, 64, "detection", *BOXES, TensorSpec("masks", (ANY, 64, 64)), batched=False
    )
    with pytest.raises(AssertionError, match=said):
        passed(program, tmp_path, model, frame(200, 120), {**right, name: np.ones(shape)})


def test_a_frame_without_objects_stays_as_it_is_but_for_the_view(
    program: Path, tmp_path: Path
) -> None:
    model = model_of(CUT, 64, "detection", *BOXES, batched=False)
    words, _ = alike(
        program,
        tmp_path,
        model,
        frame(200, 120),
        {"boxes": np.zeros((0, 4)), "labels": np.zeros(0), "scores": np.zeros(0)},
    )
    assert words == ""


def test_sampling_without_antialias_is_as_cpp_does_it_in_python(
    program: Path, tmp_path: Path
) -> None:
    from evenbench.harness.inputs import preprocessors

    recipe = replace(
        SQUARE, steps=(Decode("RGB"), Resize(96, antialias=False, exact=True), *SQUARE.steps[2:])
    )
    model = model_of(recipe, 96, "classification", TensorSpec("logits", (BATCH, 2)))
    pixels, by = frame(320, 180), preprocessors.find("cpp")
    tensor, _, _ = passed(program, tmp_path, model, pixels, {"logits": np.zeros((1, 2))}, by="cpp")
    assert np.array_equal(tensor[0], preprocessors.chain(by, recipe.steps[1:], by.opened(pixels)))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("step 0=resize 96 96 0 1 1", "step 0=turn 90"), "unknown step turn"),
        (("step 0=resize 96 96 0 1 1", "step 0=resize 96"), "the step resize 96 is incomplete"),
        (("step 0=resize 96 96 0 1 1", "step 0=resize 96 96 7 1 1"), "unknown filter number 7"),
        (("step 0=resize 96 96 0 1 1", "step 0=crop 300 0 96"), "the crop exceeds the image"),
        (
            ("step 0=resize 96 96 0 1 1", "step 0=resize 95 96 0 1 1"),
            "the recipe produces a different number of values than x has",
        ),
        (("task=classification", "task=poetry"), "the task poetry has no drawing"),
        (("scores=0", "score=0"), "the option scores is missing"),
    ],
)
def test_what_cannot_be_followed_is_said(
    program: Path, tmp_path: Path, change: tuple[str, str], said: str
) -> None:
    model, pixels = (
        model_of(SQUARE, 96, "classification", TensorSpec("logits", (BATCH, 2))),
        frame(320, 180),
    )
    told = frame_spec.of(model, SQUARE, "pillow", 320, 180)
    np.save(tmp_path / "palette.npy", told.palette)
    np.save(tmp_path / "frame.npy", pixels)
    np.save(tmp_path / "out0.npy", np.zeros((1, 2), np.float32))
    words = [change[1] if word == change[0] else word for word in frames.program_options(told)]
    assert change[1] in words
    command = [program, tmp_path, "1", f"palette={tmp_path / 'palette.npy'}", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (1, said)
