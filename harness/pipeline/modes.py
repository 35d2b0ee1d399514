"""The ways of passing a video's frames through one session: one at a time, with several in flight,
at a camera's pace; decoded on their way, or before. What came of the judged frames comes out of the
very passages that are timed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from harness.core.backend import Session
from harness.core.errors import Unsupported
from harness.core.measurements import Block
from harness.core.types import HOST_TO_HOST, to_json
from harness.inputs import preprocessors
from harness.measurement import timing
from harness.pipeline import frame_spec, stages
from harness.pipeline.frame import Frame, Line, picture

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]
    Batches = Sequence[Mapping[str, Array]]

WHOLE, AFTER, INFERENCE = "pipeline", "after_decoding", "inference"
"""What a session's passages cover: every stage from the encoded frame to the drawn one; all but
decoding; binding, inference and fetching alone. The last two are ways as well."""

SEQUENTIAL, OVERLAPPED, PACED = "sequential", "overlapped", "paced"
"""Of whole pipelines: one frame at a time, with several in flight, and at the target rate."""

HELD, HELD_PACED = "after_decoding_overlapped", "after_decoding_paced"
"""The last two of frames that are decoded before the clock starts, and lie in memory: by them
programs that never decode are compared.
"""

HELD_BYTES = 1 << 30
"""Of decoded frames that lie in memory, at most: a long video would fill it."""

GROUPS = {"before": ("preprocess",), "here": ("infer",), "after": ("postprocess", "draw")}
"""Which stages share a thread where frames overlap; decoding is in that of `before`."""

Found = tuple[dict[str, Any], dict[str, dict[int, Any]]]
"""Passages as JSON, and the outputs of the judged frames by their place, both by way."""


def covered(line: Line) -> tuple[str, str]:
    """What can be timed of this session's frames, and why where it is inference alone. One that
    passes frames by itself is told how.
    """
    session, (height, width) = line.session, line.size
    if type(session).laps is Session.laps:
        return WHOLE, ""
    if not isinstance(session, frame_spec.PassesFrames):
        return INFERENCE, "its own loop takes inputs, and no frames"
    try:
        session.direct(
            frame_spec.of(line.model, line.recipe, preprocessors.of(line.recipe), width, height)
        )
    except Unsupported as refused:
        return INFERENCE, str(refused)
    return AFTER, ""


def warm(line: Line, covers: str, count: int) -> None:
    """Some frames through what will be timed: the decoder, letters to draw with, memory that is
    kept.
    """
    first = islice(line.frames(), count)
    if covers == WHOLE:
        stages.sequential(first, line.work(), timing.CLOCK)
        line.kept = {}
    elif covers == AFTER:
        for frame in first:
            _passing(line).passed(frame.pixels, keep=False)


def alone(line: Line, covers: str, batches: Batches) -> Found:
    """One frame after another, or one judged input after another where nothing but inference can be
    timed.
    """
    way = {WHOLE: SEQUENTIAL}.get(covers, covers)
    if covers == INFERENCE:
        return _inferred(line, batches)
    passage = {WHOLE: _sequential, AFTER: _directed}[covers]
    return {way: observed(line.session, lambda: passage(line))}, {way: line.judged(batches)}


def in_flight(line: Line, covers: str, batches: Batches) -> Found:
    """With several in flight, each decoded on its way; at the target rate as well, where there is
    one.
    """
    if covers != WHOLE:
        return {}, {}
    return _overlapped(
        line, batches, (OVERLAPPED, PACED), lambda period: _overlap(line, line.frames(), period)
    )


def held(line: Line, covers: str, batches: Batches) -> tuple[Found, str]:
    """The same of frames that are decoded before; and why nothing of it is measured, in words,
    where it is not.
    """
    if covers == INFERENCE:
        return ({}, {}), ""
    why = _not_held(line, covers)
    if why:
        return ({}, {}), why
    if covers == AFTER:
        passing = _passing(line)
        assert isinstance(passing, frame_spec.StreamsFrames)
        passing.hold(
            (line.footage.frames, *line.size, 3), (frame.pixels for frame in line.frames())
        )
        return _overlapped(
            line, batches, (HELD, HELD_PACED), lambda period: _streamed(line, period)
        ), ""
    decoded = [frame.pixels for frame in line.frames()]

    def passage(period_ns: int) -> stages.Passage:
        made = _overlap(
            line, (Frame(number, pixels) for number, pixels in enumerate(decoded)), period_ns
        )
        return replace(
            made,
            stages_ns={
                name: taken for name, taken in made.stages_ns.items() if name != stages.DECODE
            },
        )

    return _overlapped(line, batches, (HELD, HELD_PACED), passage), ""


def _not_held(line: Line, covers: str) -> str:
    count, (height, width) = line.footage.frames, line.size
    needed = math.prod((count, height, width, 3))
    if needed > HELD_BYTES:
        return (
            f"{count} frames of {width}x{height} pixels are {needed / 2**30:.2f} GiB when they are decoded, and at most "
            f"{HELD_BYTES / 2**30:g} GiB is held; give --frames {HELD_BYTES // (height * width * 3)} or fewer"
        )
    if covers == AFTER and not isinstance(line.session, frame_spec.StreamsFrames):
        return "it passes frames one at a time"
    return ""


# -- passages --------------------------------------------------------------------------------------


def _passing(line: Line) -> frame_spec.PassesFrames:
    assert isinstance(line.session, frame_spec.PassesFrames)
    return line.session


def _sequential(line: Line) -> stages.Passage:
    return stages.sequential(line.frames(), line.work(), timing.CLOCK)


def _directed(line: Line) -> stages.Passage:
    """A session that passes frames by itself gets them decoded, one after another: all later
    stages, by its own clock.
    """
    session, judged = _passing(line), set(line.footage.judged)
    taken: dict[str, list[int]] = {name: [] for name in stages.STAGES if name != stages.DECODE}
    for frame in line.frames():
        found = session.passed(frame.pixels, keep=frame.number in judged)
        for name, took in found.stages_ns.items():
            taken[name].append(took)
        if frame.number in judged:
            line.kept[frame.number] = _kept(frame, found)
    return stages.Passage(sum(map(sum, taken.values())), taken, len(taken["infer"]))


def _streamed(line: Line, period_ns: int) -> stages.Passage:
    """The same with several in flight, of the frames that the session holds."""
    session = line.session
    assert isinstance(session, frame_spec.StreamsFrames)
    found = session.streamed(line.footage.in_flight, period_ns, line.footage.judged)
    line.kept = {
        number: _kept(line.latest[number], passed) for number, passed in found.kept.items()
    }
    return found.passage


def _kept(frame: Frame, found: frame_spec.Passed) -> Frame:
    return replace(frame, tensor=found.tensor, outputs=found.outputs, drawn=picture(found.drawn))


def _overlap(line: Line, source: Iterator[Frame], period_ns: int) -> stages.Passage:
    work = line.work()
    before, here, after = ({each: work[each] for each in names} for names in GROUPS.values())
    made = stages.Overlap(
        stages.Slots(line.footage.in_flight), timing.CLOCK, _sleep_until, period_ns
    )
    return made.run(source, before, here, after)


def _sleep_until(moment_ns: int) -> None:
    time.sleep(max(0.0, (moment_ns - timing.CLOCK()) / 1e9))


def _overlapped(
    line: Line, batches: Batches, names: tuple[str, str], passage: Callable[[int], stages.Passage]
) -> Found:
    """As fast as they go, and at the target rate where there is one; frames may be dropped there,
    and what comes of it is not judged.
    """
    way, paced = names
    passages = {way: observed(line.session, lambda: passage(0))}
    kept = {way: line.judged(batches)}
    rate = line.footage.target_per_second
    if rate:
        passages[paced] = observed(line.session, lambda: passage(round(1e9 / rate)))
        line.kept = {}
    return passages, kept


def _inferred(line: Line, batches: Batches) -> Found:
    """A session that loops and times by itself gets the judged frames, preprocessed, in rotation:
    binding, inference and fetching alone.
    """
    count, rotation = max(line.footage.frames, 2 * len(batches)), len(batches)
    keep = set(range(rotation, 2 * rotation))
    kept: dict[int, Any] = {}

    def laps() -> stages.Passage:
        taken = timing.run_laps(line.session, batches, 0, count, HOST_TO_HOST, keep, timing.CLOCK)
        kept.update({lap % rotation: outputs for lap, outputs in taken.kept.items()})
        return stages.Passage(sum(taken.laps_ns), {"infer": taken.laps_ns}, count)

    return {INFERENCE: observed(line.session, laps)}, {INFERENCE: kept}


def observed(session: Session, run: Callable[[], stages.Passage]) -> dict[str, Any]:
    """A passage as JSON, with what its process and the machine did meanwhile. The block's time is
    that of what was counted, which of a program that is handed its frames is more than the
    passage's.
    """
    before, begin = timing.counters_of(session), timing.CLOCK()
    passage = run()
    elapsed, after = timing.CLOCK() - begin, timing.counters_of(session)
    block = Block(passage.frames, elapsed, **timing.counted(before, after))
    return {**to_json(passage), "block": to_json(block)}
