"""Judged frames of a video: as model inputs, as drawn pictures, and compared with the golden's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.harness.core import pipeline_terms
from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.types import Model
from evenbench.harness.inputs import batches as inputs
from evenbench.harness.measurement import judging
from evenbench.harness.pipeline import drawing, frame_spec, postprocess, video
from evenbench.harness.pipeline.frame import Frame, FramePipeline, picture, preprocessed, tensor
from evenbench.harness.pipeline.video import Footage

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

PIXELS = "seen.frames.npy"
"""File of the decoded judged frames, beside the inputs; no input's file name has a further dot."""

WORDLESS = "without-letters"
"""Empty file beside frames drawn by a session without text."""

GAIN = 8
"""Brightness factor of difference images."""

QUALITY = 88
"""JPEG quality of pictures for people. Differences are computed before compression."""


def make_inputs(model: Model, footage: Footage, folder: Path) -> dict[str, Any]:
    """Write the judged frames as the model's inputs, [frames, 1, ...], as `inputs.make` does.

    Returns the facts for the record. Raises UsageError for a recipe with another shape or type than
    the model's input.
    """
    import numpy as np

    (spec,), judged = model.inputs, set(footage.judged)
    frames = enumerate(video.frames(Path(footage.file), footage.frames))
    pixels = [image for number, image in frames if number in judged]
    recipe = postprocess.recipe_of(model)
    arrays = [preprocessed(recipe, image, picture(image)) for image in pixels]
    stacked = np.stack([tensor(model, array) for array in arrays])
    shape, expected = stacked.shape[1:], spec.concrete(1)
    if shape != expected or str(stacked.dtype) != spec.dtype:
        raise UsageError(
            f"recipe {recipe.name} makes {stacked.dtype}{list(shape)} of a frame, but input "
            f"{spec.name} is {spec.dtype}{list(expected)}; choose another recipe"
        )
    files = {spec.name: folder / inputs.file_of(spec.name)}
    np.save(files[spec.name], stacked)
    np.save(folder / PIXELS, np.stack(pixels))
    return {
        "names": [f"frame {number}" for number in footage.judged],
        "batches": len(pixels),
        "sha256": inputs.digest_batches(files),
    }


def decoded(folder: Path) -> Array:
    """The decoded judged frames, uint8 [frames, height, width, 3]."""
    import numpy as np

    pixels: Array = np.load(folder / PIXELS, mmap_mode="r")
    return pixels


def save_drawn(
    pipeline: FramePipeline,
    covers: str,
    kept: Mapping[str, Mapping[int, Any]],
    folder: Path,
    drawn: Path,
) -> None:
    """Write the judged frames as PNG files into `drawn`.

    Frames without a drawing are drawn from the judged outputs.
    """
    import numpy as np

    pixels = decoded(folder)
    for place, number in enumerate(pipeline.footage.judged):
        frame = pipeline.latest.get(number)
        if frame is None:
            image, outputs = picture(np.array(pixels[place])), kept[pipeline_terms.INFERENCE][place]
            frame = Frame(number, pixels[place], image, outputs=outputs)
            pipeline.postprocess(frame)
            pipeline.draw(frame)
        frame.drawn.save(drawn / f"{number}.png", compress_level=1)
    if covers == pipeline_terms.AFTER_DECODING:
        session = pipeline.session
        if isinstance(session, frame_spec.FrameProcessor) and not session.draws_letters:
            (drawn / WORDLESS).touch()


def make_pictures(
    model: Model,
    footage: Footage,
    frames: Path,
    golden: Path,
    drawn: Mapping[str, Path],
    folder: Path,
) -> dict[str, Any]:
    """Write the judged frames of golden and runtimes, with differences, as JPEG files.

    `drawn` maps a cell's key to the folder with the PNG files. Frames without text are compared
    with the golden's frames without text. Returns an entry per judged frame, for `golden` and each
    key.
    """
    import numpy as np

    outputs, pixels = judging.golden_outputs(golden, model), decoded(frames)
    read = postprocess.reader(model)
    view = drawing.view(postprocess.recipe_of(model), pixels.shape[2], pixels.shape[1])
    entries: dict[str, list[dict[str, Any]]] = {"golden": [], **{key: [] for key in drawn}}
    for place, number in enumerate(footage.judged):
        prediction = read({name: values[place] for name, values in outputs.items()})
        image = picture(np.array(pixels[place]))
        with_text = drawing.draw(image, view, prediction)
        textless = drawing.draw(image, view, postprocess.without_text(prediction))
        name = _jpeg(with_text, folder, f"golden-{number}.jpg")
        entries["golden"].append({"frame": number, "image": name})
        for key, files in drawn.items():
            has_text = not (files / WORDLESS).exists() or not any(prediction.words)
            expected = with_text if has_text else textless
            entry = _compared(files / f"{number}.png", expected, folder, f"{key}-{number}")
            entries[key].append({"frame": number, **entry, "letters": has_text})
    return {
        **entries,
        "kind": json.loads((golden / "facts.json").read_text())["kind"],
        "gain": GAIN,
    }


def _compared(file: Path, expected: Any, folder: Path, name: str) -> dict[str, Any]:
    """A drawn frame beside the golden's, as JPEG files and numbers."""
    from PIL import Image as pillow

    with pillow.open(file) as opened:
        actual = opened.convert("RGB")
    image, share, levels = drawing.difference(actual, expected, GAIN)
    return {
        "image": _jpeg(actual, folder, f"{name}.jpg"),
        "changed_share": share,
        "largest_levels": levels,
        "difference": _jpeg(image, folder, f"{name}-difference.jpg"),
    }


def _jpeg(image: Any, folder: Path, name: str) -> str:
    image.save(folder / name, quality=QUALITY)
    return name
