"""Modes of passing a video's frames through a session: sequential, overlapped, or paced.

Each mode decodes frames within the run or before the run. Parity judges outputs of the timed runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from evenbench.harness.core.errors import Unsupported
from evenbench.harness.core.measurements import Block
from evenbench.harness.core.pipeline_terms import (
    AFTER_DECODING,
    DECODE,
    INFERENCE,
    OVERLAPPED,
    PACED,
    PREDECODED,
    PREDECODED_PACED,
    SEQUENTIAL,
    STAGES,
    WHOLE,
)
from evenbench.harness.core.session import Session
from evenbench.harness.core.types import HOST_TO_HOST, to_json
from evenbench.harness.inputs import preprocessors
from evenbench.harness.measurement import timing
from evenbench.harness.pipeline import frame_spec, stages
from evenbench.harness.pipeline.frame import Frame, FramePipeline, picture

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]
    Batches = Sequence[Mapping[str, Array]]

MAX_PREDECODED_BYTES = 1 << 30
"""Limit for decoded frames in memory."""

THREADS = {"before": ("preprocess",), "here": ("infer",), "after": ("postprocess", "draw")}
"""The stages of each thread in overlapped modes; decoding is in the first thread."""

LATER_STAGES = tuple(name for name in STAGES if name != DECODE)

ModeResults = tuple[dict[str, Any], dict[str, dict[int, Any]]]
"""Runs as JSON, and outputs of the judged frames by position; both by mode."""


def coverage(pipeline: FramePipeline) -> tuple[str, str]:
    """The stages within this session's runs, and the reason for inference alone.

    Configures a session with own code for frames.
    """
    session, (height, width) = pipeline.session, pipeline.size
    if type(session).laps is Session.laps:
        return WHOLE, ""
    if not isinstance(session, frame_spec.FrameProcessor):
        return INFERENCE, "its own loop takes inputs, and no frames"
    library = preprocessors.of(pipeline.recipe)
    try:
        spec = frame_spec.of(pipeline.model, pipeline.recipe, library, width, height)
        session.configure_frames(spec)
    except Unsupported as refused:
        return INFERENCE, str(refused)
    return AFTER_DECODING, ""


def warm_up(pipeline: FramePipeline, covers: str, count: int) -> None:
    """Pass some frames through the stages, to warm up decoder, fonts and buffers."""
    first = islice(pipeline.frames(), count)
    if covers == WHOLE:
        stages.sequential(first, pipeline.work(), timing.CLOCK)
        pipeline.kept = {}
    elif covers == AFTER_DECODING:
        for frame in first:
            _processor(pipeline).process_frame(frame.pixels, keep=False)


def sequential(pipeline: FramePipeline, covers: str, batches: Batches) -> ModeResults:
    """Run one frame after another, or for inference alone one judged input after another."""
    if covers == INFERENCE:
        return _inference_only(pipeline, batches)
    mode, run = {
        WHOLE: (SEQUENTIAL, _sequential),
        AFTER_DECODING: (AFTER_DECODING, _by_processor),
    }[covers]
    runs = {mode: observed(pipeline.session, lambda: run(pipeline))}
    return runs, {mode: pipeline.judged(batches)}


def overlapped(pipeline: FramePipeline, covers: str, batches: Batches) -> ModeResults:
    """Run whole pipelines with several frames in flight, and at the target rate if given."""
    if covers != WHOLE:
        return {}, {}

    def run(period_ns: int) -> stages.PipelineRun:
        return _overlap(pipeline, pipeline.frames(), period_ns)

    return _fast_and_paced(pipeline, batches, (OVERLAPPED, PACED), run)


def predecoded(pipeline: FramePipeline, covers: str, batches: Batches) -> tuple[ModeResults, str]:
    """Run the overlapped modes on decoded frames in memory; with the reason for no run."""
    reason = _not_predecoded(pipeline, covers)
    if covers == INFERENCE or reason:
        return ({}, {}), reason
    run = _stream(pipeline) if covers == AFTER_DECODING else _overlap_decoded(pipeline)
    return _fast_and_paced(pipeline, batches, (PREDECODED, PREDECODED_PACED), run), ""


def _not_predecoded(pipeline: FramePipeline, covers: str) -> str:
    """The reason against decoded frames in memory, or an empty string."""
    if covers == INFERENCE:
        return ""
    count, (height, width) = pipeline.footage.frames, pipeline.size
    frame_bytes = height * width * 3
    if count * frame_bytes > MAX_PREDECODED_BYTES:
        size, limit = count * frame_bytes / 2**30, MAX_PREDECODED_BYTES / 2**30
        return (
            f"{count} frames of {width}x{height} pixels are {size:.2f} GiB when decoded, and the "
            f"limit is {limit:g} GiB; measure {MAX_PREDECODED_BYTES // frame_bytes} frames or fewer"
        )
    if covers == AFTER_DECODING and not isinstance(pipeline.session, frame_spec.StreamProcessor):
        return "it passes frames one at a time"
    return ""


# -- runs ------------------------------------------------------------------------------------------


def _processor(pipeline: FramePipeline) -> frame_spec.FrameProcessor:
    assert isinstance(pipeline.session, frame_spec.FrameProcessor)
    return pipeline.session


def _sequential(pipeline: FramePipeline) -> stages.PipelineRun:
    return stages.sequential(pipeline.frames(), pipeline.work(), timing.CLOCK)


def _by_processor(pipeline: FramePipeline) -> stages.PipelineRun:
    """Frames through a frame processor, one after another: stages after decoding, by own clock."""
    session, judged = _processor(pipeline), set(pipeline.footage.judged)
    taken: dict[str, list[int]] = {name: [] for name in LATER_STAGES}
    for frame in pipeline.frames():
        result = session.process_frame(frame.pixels, keep=frame.number in judged)
        for name, duration in result.stages_ns.items():
            taken[name].append(duration)
        if frame.number in judged:
            pipeline.kept[frame.number] = _with_result(frame, result)
    return stages.PipelineRun(sum(map(sum, taken.values())), taken, len(taken["infer"]))


def _stream(pipeline: FramePipeline) -> Callable[[int], stages.PipelineRun]:
    """Preload all frames into a stream processor; returns the function for a run."""
    session, footage = pipeline.session, pipeline.footage
    assert isinstance(session, frame_spec.StreamProcessor)
    shape = (footage.frames, *pipeline.size, 3)
    session.preload_frames(shape, (frame.pixels for frame in pipeline.frames()))

    def run(period_ns: int) -> stages.PipelineRun:
        result = session.stream_frames(footage.in_flight, period_ns, footage.judged)
        pipeline.kept = {
            number: _with_result(pipeline.latest[number], kept)
            for number, kept in result.kept.items()
        }
        return result.run

    return run


def _overlap_decoded(pipeline: FramePipeline) -> Callable[[int], stages.PipelineRun]:
    """Decode all frames; returns the function for a run without the decoding stage."""
    decoded = [frame.pixels for frame in pipeline.frames()]

    def run(period_ns: int) -> stages.PipelineRun:
        frames = (Frame(number, pixels) for number, pixels in enumerate(decoded))
        result = _overlap(pipeline, frames, period_ns)
        return replace(result, stages_ns={name: result.stages_ns[name] for name in LATER_STAGES})

    return run


def _with_result(frame: Frame, result: frame_spec.FrameResult) -> Frame:
    drawn = picture(result.drawn)
    return replace(frame, tensor=result.tensor, outputs=result.outputs, drawn=drawn)


def _overlap(
    pipeline: FramePipeline, source: Iterator[Frame], period_ns: int
) -> stages.PipelineRun:
    work = pipeline.work()
    before, here, after = ({name: work[name] for name in names} for names in THREADS.values())
    slots = stages.Slots(pipeline.footage.in_flight)
    overlap = stages.Overlap(slots, timing.CLOCK, _sleep_until, period_ns)
    return overlap.run(source, before, here, after)


def _sleep_until(moment_ns: int) -> None:
    time.sleep(max(0.0, (moment_ns - timing.CLOCK()) / 1e9))


def _fast_and_paced(
    pipeline: FramePipeline,
    batches: Batches,
    names: tuple[str, str],
    run: Callable[[int], stages.PipelineRun],
) -> ModeResults:
    """Run as fast as possible, and at the target rate if given.

    A paced run may drop frames, so parity does not judge paced runs.
    """
    fast, paced = names
    runs = {fast: observed(pipeline.session, lambda: run(0))}
    kept = {fast: pipeline.judged(batches)}
    rate = pipeline.footage.target_per_second
    if rate:
        runs[paced] = observed(pipeline.session, lambda: run(round(1e9 / rate)))
        pipeline.kept = {}
    return runs, kept


def _inference_only(pipeline: FramePipeline, batches: Batches) -> ModeResults:
    """Run a session with an own loop on the preprocessed judged frames, in rotation.

    Only bind, infer and fetch are timed.
    """
    count, rotation = max(pipeline.footage.frames, 2 * len(batches)), len(batches)
    keep = set(range(rotation, 2 * rotation))
    kept: dict[int, Any] = {}

    def run() -> stages.PipelineRun:
        taken = timing.run_laps(
            pipeline.session, batches, 0, count, HOST_TO_HOST, keep, timing.CLOCK
        )
        kept.update({lap % rotation: outputs for lap, outputs in taken.kept.items()})
        return stages.PipelineRun(sum(taken.laps_ns), {"infer": taken.laps_ns}, count)

    return {INFERENCE: observed(pipeline.session, run)}, {INFERENCE: kept}


def observed(session: Session, run: Callable[[], stages.PipelineRun]) -> dict[str, Any]:
    """A run as JSON, with counters of the process and the machine as a block.

    The block's wall time includes the transfer of frames to a program, unlike the run's.
    """
    before, begin = timing.counters_of(session), timing.CLOCK()
    result = run()
    elapsed, after = timing.CLOCK() - begin, timing.counters_of(session)
    block = Block(result.frames, elapsed, **timing.counted(before, after))
    return {**to_json(result), "block": to_json(block)}
