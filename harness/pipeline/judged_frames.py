"""The judged frames of a video: as inputs, as drawn, and side by side with the golden's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.errors import UsageError
from harness.core.types import Model
from harness.inputs import batches as inputs
from harness.measurement import judging
from harness.pipeline import drawing, frame_spec, modes, postprocess, video
from harness.pipeline.frame import Frame, Line, picture, prepared, tensor
from harness.pipeline.video import Footage

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

PIXELS = "seen.frames.npy"
"""The judged frames as they were decoded, beside the inputs; no input's file has a dot in its name.
"""

WORDLESS = "without-letters"
"""An empty file beside frames that were drawn by a session that has no letters."""

GAIN = 8
"""How much brighter a difference image is than the difference."""

QUALITY = 88
"""Of the JPEG files that people look at. Differences are taken before."""


def make_frames(model: Model, footage: Footage, folder: Path) -> dict[str, Any]:
    """Write the judged frames as the model's inputs, [frames, 1, ...], as `inputs.make` does;
    returns the facts for the record.
    """
    import numpy as np

    (spec,), judged = model.inputs, set(footage.judged)
    pixels = [
        image
        for number, image in enumerate(video.frames(Path(footage.file), footage.frames))
        if number in judged
    ]
    made = np.stack(
        [
            tensor(model, prepared(postprocess.recipe_of(model), image, picture(image)))
            for image in pixels
        ]
    )
    expected = spec.concrete(1)
    if made.shape[1:] != expected or str(made.dtype) != spec.dtype:
        raise UsageError(
            f"the recipe makes {made.dtype}{list(made.shape[1:])} of a frame, {spec.name} is {spec.dtype}{list(expected)}"
        )
    files = {spec.name: folder / inputs.file_of(spec.name)}
    np.save(files[spec.name], made)
    np.save(folder / PIXELS, np.stack(pixels))
    return {
        "names": [f"frame {number}" for number in footage.judged],
        "batches": len(pixels),
        "sha256": inputs.digest_batches(files),
    }


def decoded(folder: Path) -> Array:
    """The judged frames as they were decoded, uint8 [frames, height, width, 3]."""
    import numpy as np

    found: Array = np.load(folder / PIXELS, mmap_mode="r")
    return found


def save(
    line: Line, covers: str, kept: Mapping[str, Mapping[int, Any]], folder: Path, drawn: Path
) -> None:
    """The judged frames as PNG files; those that nothing drew yet are drawn from the outputs that
    were judged.
    """
    import numpy as np

    pixels = decoded(folder)
    for place, number in enumerate(line.footage.judged):
        frame = line.latest.get(number)
        if frame is None:
            frame = Frame(
                number,
                pixels[place],
                picture(np.array(pixels[place])),
                outputs=kept[modes.INFERENCE][place],
            )
            line.postprocess(frame)
            line.draw(frame)
        frame.drawn.save(drawn / f"{number}.png", compress_level=1)
    if (
        covers == modes.AFTER
        and isinstance(line.session, frame_spec.PassesFrames)
        and not line.session.draws_letters
    ):
        (drawn / WORDLESS).touch()


def make_pictures(
    model: Model,
    footage: Footage,
    frames: Path,
    golden: Path,
    drawn: Mapping[str, Path],
    folder: Path,
) -> dict[str, Any]:
    """The judged frames as drawn from the golden's outputs, those that each runtime drew, and their
    differences, as JPEG files in `folder`.

    `drawn` maps a cell's key to the PNG files of its process; those without letters are compared
    with the golden's without letters. Returns, for `golden` and every key, one entry per judged
    frame.
    """
    import numpy as np
    from PIL import Image as pillow

    wanted = judging.golden_outputs(golden, model)
    pixels, recipe, read = (
        np.load(frames / PIXELS),
        postprocess.recipe_of(model),
        postprocess.reader(model),
    )
    seen = drawing.view(recipe, pixels.shape[2], pixels.shape[1])
    found: dict[str, list[dict[str, Any]]] = {"golden": [], **{key: [] for key in drawn}}
    for place, number in enumerate(footage.judged):
        outputs = {name: values[place] for name, values in wanted.items()}
        answer = read(outputs)
        right, bare = (
            drawing.draw(picture(pixels[place]), seen, each)
            for each in (answer, postprocess.wordless(answer))
        )
        found["golden"].append(
            {"frame": number, "image": _jpeg(right, folder, f"golden-{number}.jpg")}
        )
        for key, its in drawn.items():
            with pillow.open(its / f"{number}.png") as opened:
                made = opened.convert("RGB")
            letters = not (its / WORDLESS).exists() or not any(answer.words)
            apart, share, levels = drawing.difference(made, right if letters else bare, GAIN)
            entry = {
                "frame": number,
                "image": _jpeg(made, folder, f"{key}-{number}.jpg"),
                "changed_share": share,
                "largest_levels": levels,
            }
            found[key].append(
                {
                    **entry,
                    "letters": letters,
                    "difference": _jpeg(apart, folder, f"{key}-{number}-difference.jpg"),
                }
            )
    return {**found, "kind": json.loads((golden / "facts.json").read_text())["kind"], "gain": GAIN}


def _jpeg(picture: Any, folder: Path, name: str) -> str:
    picture.save(folder / name, quality=QUALITY)
    return name
