"""Video frames through one runtime in this process: decoded, preprocessed, inferred, read and
drawn, and every stage timed.

Some frames, evenly spaced, are judged against the golden: the very outputs that came out of the
timed passages. Runs inside a worker.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.errors import Unsupported
from harness.core.types import Cell, Plan
from harness.measurement import judging, provenance
from harness.measurement.resident import resident
from harness.pipeline import judged_frames, modes, postprocess, video
from harness.pipeline.frame import Line
from harness.pipeline.video import Footage, PipelineRequest
from harness.runner.job import Channel, Job

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


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
        return judged_frames.make_frames(job.cell.model, footage, folder)
    if job.task == "pictures":
        drawn = {name: path for name, path in folders.items() if name not in ("inputs", "golden")}
        return judged_frames.make_pictures(
            job.cell.model, footage, folders["inputs"], folders["golden"], drawn, folder
        )
    assert request.plan is not None
    return run(job.cell, request.plan, footage, folders, folder, channel.enter)


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
    height, width = judged_frames.decoded(folders["inputs"]).shape[1:3]
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
    judged_frames.save(line, covers, kept, folders["inputs"], drawn)
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
