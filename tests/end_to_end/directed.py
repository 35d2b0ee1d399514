"""Sessions that pass whole frames by themselves, as a program in another language does: as told,
smudged, or one at a time only.
"""

from __future__ import annotations

import time
from dataclasses import replace

import filmed
import numpy as np
from PIL import Image

from evenbench.harness import Unsupported
from evenbench.harness.pipeline import drawing, postprocess
from evenbench.harness.pipeline.frame_spec import (
    FrameProcessor,
    FrameResult,
    LayoutSpec,
    ResizeSpec,
    StreamProcessor,
    StreamResult,
)
from evenbench.harness.pipeline.stages import Overlap, Slots

STAGES = ("preprocess", "infer", "postprocess", "draw")


class PloddingSession(filmed.LoopedSession, FrameProcessor):
    """Follows its specification with Pillow, and draws no letters. One frame at a time."""

    draws_letters = False
    smudge = 0.0

    def configure_frames(self, spec):
        self.spec = spec

    def work(self):
        return {name: getattr(self, f"_{name}") for name in STAGES}

    def _preprocess(self, flight):
        resized, last = self.spec.steps
        assert isinstance(resized, ResizeSpec)
        assert isinstance(last, LayoutSpec)
        small = Image.fromarray(flight["pixels"]).resize(
            (resized.width, resized.height), Image.Resampling[resized.filter.upper()]
        )
        tensor = (np.asarray(small, np.float32) * np.float32(last.scale)).transpose(2, 0, 1)[
            None
        ] + np.float32(self.smudge)
        flight["tensor"] = np.ascontiguousarray(tensor)

    def _infer(self, flight):
        self.bind({"x": flight["tensor"]})
        self.step()
        flight["outputs"] = self.fetch()

    def _postprocess(self, flight):
        flight["answer"] = postprocess.reader(self.cell.model)(flight["outputs"])

    def _draw(self, flight):
        picture = Image.fromarray(flight["pixels"])
        flight["drawn"] = np.asarray(
            drawing.draw(picture, self.spec.view, postprocess.without_text(flight["answer"]))
        )

    def process_frame(self, pixels, keep):
        flight, moments = {"pixels": pixels}, [time.monotonic_ns()]
        for do in self.work().values():
            do(flight)
            moments.append(time.monotonic_ns())
        taken = {
            name: late - early
            for name, early, late in zip(STAGES, moments, moments[1:], strict=False)
        }
        return made_of(taken, flight) if keep else FrameResult(taken)


def made_of(taken, flight):
    return FrameResult(taken, flight["tensor"], flight["outputs"], flight["drawn"])


class DirectedSession(PloddingSession, StreamProcessor):
    """The same, and several frames in flight."""

    def preload_frames(self, shape, frames):
        self.held = list(frames)
        assert (len(self.held), *self.held[0].shape) == shape

    def stream_frames(self, in_flight, period_ns, keep):
        flights = [{"pixels": pixels} for pixels in self.held]
        work = self.work()
        parts = [
            {name: work[name] for name in names} for names in (STAGES[:1], STAGES[1:2], STAGES[2:])
        ]
        made = Overlap(
            Slots(in_flight),
            time.monotonic_ns,
            lambda until: time.sleep(max(0, until - time.monotonic_ns()) / 1e9),
            period_ns,
        )
        passage = made.run(iter(flights), *parts)
        passage = replace(passage, stages_ns={name: passage.stages_ns[name] for name in STAGES})
        return StreamResult(
            passage,
            {
                number: made_of({}, flights[number])
                for number in keep
                if number not in passage.dropped
            },
        )


class BalkingSession(DirectedSession):
    """Says that it cannot."""

    def configure_frames(self, spec):
        raise Unsupported("nobody draws on a Sunday")


class SmudgedSession(DirectedSession):
    """Its pixels are not those that are judged."""

    smudge = 1 / 255


class Plodding(filmed.Painter):
    """Passes frames by itself, one at a time."""

    name = "plodding"

    def load(self, folder, cell):
        return PloddingSession(np.load(folder / "weights.npy"), cell)


class Directed(filmed.Painter):
    """Passes frames by itself."""

    name = "directed"

    def load(self, folder, cell):
        return DirectedSession(np.load(folder / "weights.npy"), cell)


class Balking(filmed.Painter):
    """Would pass frames by itself, but not these."""

    name = "balking"

    def load(self, folder, cell):
        return BalkingSession(np.load(folder / "weights.npy"), cell)


class Smudged(filmed.Painter):
    """Passes other frames than it was given."""

    name = "smudged"

    def load(self, folder, cell):
        return SmudgedSession(np.load(folder / "weights.npy"), cell)


BACKENDS = (
    f"{filmed.BACKENDS},plodding=directed:Plodding,directed=directed:Directed,"
    "smudged=directed:Smudged,balking=directed:Balking"
)
"""The value of EVENBENCH_BACKENDS that registers these as well."""
