"""Modes of passing frames: decoded frames in memory, limit, pace, and judged outputs."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import numpy as np
import pytest

from evenbench.harness import BATCH, Model, Recipe, TensorSpec
from evenbench.harness.core import pipeline_terms
from evenbench.harness.pipeline import modes
from evenbench.harness.pipeline import video as videos
from evenbench.harness.pipeline.frame import FramePipeline
from evenbench.harness.pipeline.frame_spec import (
    FrameProcessor,
    FrameResult,
    FrameSpec,
    StreamProcessor,
    StreamResult,
)
from evenbench.harness.pipeline.stages import PipelineRun
from evenbench.harness.pipeline.video import Footage
from evenbench.harness.preprocess import Decode, Layout, Resize, ToArray

pytest.importorskip("PIL")

RECIPE = Recipe(
    "small", (Decode("RGB"), Resize(2, antialias=True, exact=True), ToArray(), Layout("CHW"))
)
MODEL = Model(
    "m",
    "nobody:build",
    (TensorSpec("x", (BATCH, 3, 2, 2)),),
    (TensorSpec("y", (BATCH, 4)),),
    recipe=RECIPE,
)
HEIGHT, WIDTH = 4, 6
PIXELS = [np.full((HEIGHT, WIDTH, 3), 10 * number, np.uint8) for number in range(5)]
JUDGED = (0, 3)
LATER = ("preprocess", "infer", "postprocess", "draw")


def tensor(number: int) -> Any:
    return np.full((1, 3, 2, 2), number, np.float32)


class Plain(FrameProcessor):
    """One frame at a time; its tensor holds the number of the frame."""

    def configure_frames(self, spec: FrameSpec) -> None:
        raise NotImplementedError

    def usage(self) -> None:
        return None

    def made(self, number: int) -> FrameResult:
        return FrameResult(
            dict.fromkeys(LATER, 7), tensor(number), {"y": np.full((1, 4), number)}, PIXELS[number]
        )

    def process_frame(self, pixels: Any, keep: bool) -> FrameResult:
        return self.made(int(pixels[0, 0, 0]) // 10)


class Streaming(Plain, StreamProcessor):
    """Several in flight, and at a pace it drops the frame that is judged last."""

    def __init__(self, smudge: float = 0.0, loses: bool = False) -> None:
        self.smudge, self.loses = smudge, loses
        self.told: list[Any] = []

    def preload_frames(self, shape: tuple[int, int, int, int], frames: Iterable[Any]) -> None:
        self.told.append((shape, [int(each[0, 0, 0]) for each in frames]))

    def stream_frames(self, in_flight: int, period_ns: int, keep: Collection[int]) -> StreamResult:
        self.told.append((in_flight, period_ns, tuple(keep)))
        dropped = (3,) if period_ns or self.loses else ()
        kept = {number: self.made(number) for number in keep if number not in dropped}
        for each in kept.values():
            each.tensor[...] += self.smudge
        return StreamResult(
            PipelineRun(
                99, {name: [7] * (5 - len(dropped)) for name in LATER}, 5 - len(dropped), dropped
            ),
            kept,
        )


@pytest.fixture(autouse=True)
def video(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(videos, "frames", lambda file, most: iter(PIXELS[:most]))


def pipeline_of(session: Any, rate: float = 0.0) -> FramePipeline:
    return FramePipeline(session, MODEL, Footage("", len(PIXELS), JUDGED, 3, rate), (HEIGHT, WIDTH))


BATCHES = [{"x": tensor(number)} for number in JUDGED]


def test_a_session_gets_all_frames_to_hold_and_passes_them_as_they_are_asked() -> None:
    session = Streaming()
    pipeline = pipeline_of(session, rate=50.0)
    runs, kept = modes.sequential(pipeline, pipeline_terms.AFTER_DECODING, BATCHES)
    assert (list(runs), list(kept)) == (
        [pipeline_terms.AFTER_DECODING],
        [pipeline_terms.AFTER_DECODING],
    )
    assert modes.overlapped(pipeline, pipeline_terms.AFTER_DECODING, BATCHES) == ({}, {}), (
        "it never decodes"
    )
    (runs, judged), reason = modes.predecoded(pipeline, pipeline_terms.AFTER_DECODING, BATCHES)
    assert reason == ""
    assert session.told == [
        ((5, HEIGHT, WIDTH, 3), [0, 10, 20, 30, 40]),
        (3, 0, JUDGED),
        (3, 20_000_000, JUDGED),
    ]
    assert list(runs) == [pipeline_terms.PREDECODED, pipeline_terms.PREDECODED_PACED]
    assert runs[pipeline_terms.PREDECODED_PACED]["dropped"] == [3]
    assert {
        mode: {place: float(each["y"].flat[0]) for place, each in found.items()}
        for mode, found in judged.items()
    } == {pipeline_terms.PREDECODED: {0: 0.0, 1: 3.0}}, (
        "frames may be dropped at a pace, and are not judged there"
    )
    assert sorted(pipeline.latest) == list(JUDGED)


def test_without_a_target_there_is_no_pace() -> None:
    session = Streaming()
    pipeline = pipeline_of(session)
    modes.sequential(pipeline, pipeline_terms.AFTER_DECODING, BATCHES)
    (runs, _), _ = modes.predecoded(pipeline, pipeline_terms.AFTER_DECODING, BATCHES)
    assert list(runs) == [pipeline_terms.PREDECODED]
    assert len(session.told) == 2


@pytest.mark.parametrize(
    ("session", "said"),
    [
        (Streaming(smudge=0.5), "tensor of judged frame 0 differs from the golden"),
        (Streaming(loses=True), "judged frame 3 did not pass"),
    ],
)
def test_judged_frames_in_flight_are_those_that_the_golden_got(
    session: Streaming, said: str
) -> None:
    pipeline = pipeline_of(session)
    modes.sequential(pipeline, pipeline_terms.AFTER_DECODING, BATCHES)
    with pytest.raises(ValueError, match=said):
        modes.predecoded(pipeline, pipeline_terms.AFTER_DECODING, BATCHES)


@pytest.mark.parametrize("covers", [pipeline_terms.WHOLE, pipeline_terms.AFTER_DECODING])
def test_frames_that_would_fill_the_memory_are_not_held(
    covers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Streaming()
    monkeypatch.setattr(modes, "MAX_PREDECODED_BYTES", 5 * HEIGHT * WIDTH * 3 - 1)
    found, why = modes.predecoded(pipeline_of(session), covers, BATCHES)
    assert found == ({}, {})
    assert why.startswith("5 frames of 6x4 pixels are ")
    assert why.endswith("measure 4 frames or fewer")
    assert session.told == []


def test_as_many_as_fit_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modes, "MAX_PREDECODED_BYTES", 5 * HEIGHT * WIDTH * 3)
    pipeline = pipeline_of(Streaming())
    modes.sequential(pipeline, pipeline_terms.AFTER_DECODING, BATCHES)
    assert modes.predecoded(pipeline, pipeline_terms.AFTER_DECODING, BATCHES)[1] == ""


def test_what_passes_one_frame_at_a_time_says_so() -> None:
    assert modes.predecoded(pipeline_of(Plain()), pipeline_terms.AFTER_DECODING, BATCHES) == (
        ({}, {}),
        "it passes frames one at a time",
    )


def test_inference_alone_holds_no_frames() -> None:
    assert modes.predecoded(pipeline_of(Streaming()), pipeline_terms.INFERENCE, BATCHES) == (
        ({}, {}),
        "",
    )
