"""Video frames through one runtime in this process: decoded, preprocessed, inferred, read and
drawn, and every stage timed.

Some frames, evenly spaced, are judged against the golden: the very outputs that came out of the
timed passages. Runs inside a worker.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.errors import Unsupported, UsageError
from harness.core.types import Cell, Model, Plan
from harness.inputs import batches as inputs
from harness.measurement import judging, provenance
from harness.measurement.resident import resident
from harness.pipeline import frame_spec, modes, postprocess, video
from harness.pipeline.frame import Frame, Line, picture, prepared, tensor
from harness.pipeline.video import Footage, PipelineRequest
from harness.runner.job import Channel, Job

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


def perform(job: Job, channel: Channel) -> dict[str, Any]:
    """One task of a pipeline run in a worker, chosen by its name."""
    request: PipelineRequest = job.payload
    footage, folder, folders = (
        request.footage,
        Path(job.folder),
        {name: Path(path) for name, path in job.folders.items()},
    )
    if job.task == "video":
        return video.make(folder)
    if job.task == "record":
        video.record(footage.file, folder / video.RECORDING, footage.frames)
        return video.describe(folder / video.RECORDING, footage.frames)
    if job.task == "look":
        return video.describe(Path(footage.file), footage.frames)
    if job.task == "frames":
        return make_frames(job.cell.model, footage, folder)
    if job.task == "pictures":
        drawn = {name: path for name, path in folders.items() if name not in ("inputs", "golden")}
        return make_pictures(
            job.cell.model, footage, folders["inputs"], folders["golden"], drawn, folder
        )
    assert request.plan is not None
    return run(job.cell, request.plan, footage, folders, folder, channel.enter)


# -- the judged frames -----------------------------------------------------------------------------


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


# -- one process -----------------------------------------------------------------------------------


def run(
    cell: Cell,
    plan: Plan,
    footage: Footage,
    folders: Mapping[str, Path],
    drawn: Path,
    enter: Callable[[str], None],
) -> dict[str, Any]:
    """Pass the video through the cell's runtime once for each way; `folders` are the artifact, the
    judged frames as inputs, and the golden.

    The judged frames as they were drawn go into `drawn` as PNG files. Raises Unsupported where the
    model's outputs cannot be drawn.
    """
    postprocess.reader(cell.model)
    height, width = _seen(folders["inputs"]).shape[1:3]
    with resident(cell, plan, folders, enter) as loaded:
        session, batches, watch = loaded.session, loaded.batches, loaded.watch
        if session.in_flight > 1:
            raise Unsupported(
                f"{cell.backend} runs {session.in_flight} inferences at once; "
                "frames go through one at a time"
            )
        line = Line(session, cell.model, footage, (height, width))
        loaded.warm_up()
        with watch.phase("warm_up"):
            covers, why = modes.covered(line)
            modes.warm(line, covers, plan.window)
        with loaded.sampling() as seen:
            one = modes.alone(line, covers, batches)
            # The peak of one frame at a time, which every runtime does.
            peak = provenance.peak_rss_bytes(session)
            several = modes.in_flight(line, covers, batches)
            held, why_not_held = modes.held(line, covers, batches)
            seen.observe(modes.WHOLE)
        passages, kept = {**one[0], **several[0], **held[0]}, {**one[1], **several[1], **held[1]}
        attested = session.attest()
        with watch.phase("parity"):
            verdict = judging.judge(cell, kept, folders["golden"])
    _save(line, covers, kept, folders["inputs"], drawn)
    return {
        **provenance.provenance(cell, attested, folders, watch, ("av",)),
        "covers": covers,
        "alone_because": why,
        "not_held_because": why_not_held,
        "clock": session.clock,
        "passages": passages,
        "warm_up": loaded.warm,
        "gpu": loaded.observed,
        "peak_rss_bytes": peak,
        "parity": verdict,
        "accuracy": None,
    }


def _seen(folder: Path) -> Array:
    """The judged frames as they were decoded, uint8 [frames, height, width, 3]."""
    import numpy as np

    found: Array = np.load(folder / PIXELS, mmap_mode="r")
    return found


def _save(
    line: Line, covers: str, kept: Mapping[str, Mapping[int, Any]], folder: Path, drawn: Path
) -> None:
    """The judged frames as PNG files; those that nothing drew yet are drawn from the outputs that
    were judged.
    """
    import numpy as np

    pixels = _seen(folder)
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


# -- side by side ----------------------------------------------------------------------------------


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
    seen = postprocess.view(recipe, pixels.shape[2], pixels.shape[1])
    found: dict[str, list[dict[str, Any]]] = {"golden": [], **{key: [] for key in drawn}}
    for place, number in enumerate(footage.judged):
        outputs = {name: values[place] for name, values in wanted.items()}
        answer = read(outputs)
        right, bare = (
            postprocess.draw(picture(pixels[place]), seen, each)
            for each in (answer, postprocess.wordless(answer))
        )
        found["golden"].append(
            {"frame": number, "image": _jpeg(right, folder, f"golden-{number}.jpg")}
        )
        for key, its in drawn.items():
            with pillow.open(its / f"{number}.png") as opened:
                made = opened.convert("RGB")
            letters = not (its / WORDLESS).exists() or not any(answer.words)
            apart, share, levels = postprocess.difference(made, right if letters else bare, GAIN)
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
