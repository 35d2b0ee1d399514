"""A process of a pipeline run: video frames through all stages, timed and judged.

Parity judges some evenly spaced frames, with the outputs of the timed runs. Runs inside a worker.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from evenbench.harness.core import pipeline_terms
from evenbench.harness.core.errors import Unsupported
from evenbench.harness.core.plans import Plan
from evenbench.harness.core.types import Cell
from evenbench.harness.measurement import judging, provenance
from evenbench.harness.measurement.resident import ResidentCell, resident
from evenbench.harness.pipeline import judged_frames, modes, postprocess, video
from evenbench.harness.pipeline.frame import FramePipeline
from evenbench.harness.pipeline.video import Footage, PipelineRequest
from evenbench.harness.runner.job import Channel, Job


def perform(job: Job, channel: Channel) -> dict[str, Any]:
    """A task of a pipeline run in a worker, by the task's name."""
    request: PipelineRequest = job.payload
    footage, folder = request.footage, Path(job.folder)
    folders = {name: Path(path) for name, path in job.folders.items()}
    if job.task == "video":
        return video.make(folder)
    if job.task == "record":
        video.record(footage.file, folder / video.RECORDING, footage.frames)
        return video.describe(folder / video.RECORDING, footage.frames)
    if job.task == "look":
        return video.describe(Path(footage.file), footage.frames)
    if job.task == "frames":
        return judged_frames.make_inputs(job.cell.model, footage, folder)
    if job.task == "pictures":
        frames, golden = folders.pop("inputs"), folders.pop("golden")
        model = job.cell.model
        return judged_frames.make_pictures(model, footage, frames, golden, folders, folder)
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
    """Pass the video through the cell's runtime once per mode.

    `folders` has the artifact, the judged frames as inputs, and the golden. The drawn judged frames
    go into `drawn` as PNG files. Raises Unsupported for outputs without a drawing.
    """
    postprocess.reader(cell.model)
    height, width = judged_frames.decoded(folders["inputs"]).shape[1:3]
    with resident(cell, plan, folders, enter) as loaded:
        session, watch = loaded.session, loaded.watch
        if session.in_flight > 1:
            raise Unsupported(
                f"{cell.backend} runs {session.in_flight} inferences at once, but pipelines need "
                "one at a time; choose a cell without that option"
            )
        pipeline = FramePipeline(session, cell.model, footage, (height, width))
        loaded.make_ready()
        with watch.phase("warm_up"):
            covers, reason = modes.coverage(pipeline)
            modes.warm_up(pipeline, covers, plan.window)
        measured, kept = _sampled(loaded, pipeline, covers)
        attested = session.attest()
        with watch.phase("parity"):
            verdict = judging.judge(cell, kept, folders["golden"])
        # Last, because the experiments bind inputs that no record names.
        impossible = loaded.examined() if verdict["verdict"] == "pass" else ""
    judged_frames.save_drawn(pipeline, covers, kept, folders["inputs"], drawn)
    return {
        **provenance.provenance(cell, attested, folders, watch, ("av",)),
        **measured,
        "covers": covers,
        "alone_because": reason,
        "clock": session.clock,
        "warm_up": loaded.warm,
        "gpu": loaded.observed,
        "parity": verdict,
        "impossible": impossible,
        "accuracy": None,
    }


def _sampled(
    loaded: ResidentCell, pipeline: FramePipeline, covers: str
) -> tuple[dict[str, Any], dict[str, dict[int, Any]]]:
    """The runs of all modes as JSON, and the outputs of the judged frames by mode."""
    batches = loaded.batches
    with loaded.sampling() as observer:
        sequential = modes.sequential(pipeline, covers, batches)
        # Peak memory is for one frame at a time, the only mode of every session.
        peak = provenance.peak_rss_bytes(pipeline.session)
        overlapped = modes.overlapped(pipeline, covers, batches)
        predecoded, not_predecoded = modes.predecoded(pipeline, covers, batches)
        observer.observe(pipeline_terms.WHOLE)
    measured = {
        "passages": {**sequential[0], **overlapped[0], **predecoded[0]},
        "not_held_because": not_predecoded,
        "peak_rss_bytes": peak,
    }
    return measured, {**sequential[1], **overlapped[1], **predecoded[1]}
