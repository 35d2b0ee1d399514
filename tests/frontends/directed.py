"""Sessions that pass whole frames by themselves, as a program in another language does: one as it was told, one that smudges."""

from __future__ import annotations

import time

import filmed
import numpy as np
from PIL import Image

from harness import Unsupported, drawing
from harness.orders import LaidOut, Passed, PassesFrames, Resized


class DirectedSession(filmed.LoopedSession, PassesFrames):
    """Does what its orders say with Pillow, and has no letters."""

    draws_letters = False
    smudge = 0.0

    def direct(self, orders):
        self.orders = orders

    def passed(self, pixels, keep):
        moments = [time.monotonic_ns()]
        picture = Image.fromarray(pixels)
        resized, last = self.orders.steps
        assert isinstance(resized, Resized)
        assert isinstance(last, LaidOut)
        small = picture.resize((resized.width, resized.height), Image.Resampling[resized.filter.upper()])
        tensor = (np.asarray(small, np.float32) * np.float32(last.scale)).transpose(2, 0, 1)[None] + np.float32(self.smudge)
        moments.append(time.monotonic_ns())
        self.bind({"x": np.ascontiguousarray(tensor)})
        self.step()
        outputs = self.fetch()
        moments.append(time.monotonic_ns())
        answer = drawing.reader(self.cell.model)(outputs)
        moments.append(time.monotonic_ns())
        drawn = np.asarray(drawing.draw(picture, self.orders.view, drawing.wordless(answer)))
        moments.append(time.monotonic_ns())
        names = ("preprocess", "infer", "postprocess", "draw")
        stages = {name: late - early for name, early, late in zip(names, moments, moments[1:], strict=False)}
        return Passed(stages, tensor, outputs, drawn) if keep else Passed(stages)


class BalkingSession(DirectedSession):
    """Says that it cannot."""

    def direct(self, orders):
        raise Unsupported("nobody draws on a Sunday")


class SmudgedSession(DirectedSession):
    """Its pixels are not those that are judged."""

    smudge = 1 / 255


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


BACKENDS = f"{filmed.BACKENDS},directed=directed:Directed,smudged=directed:Smudged,balking=directed:Balking"
"""The value of EVENBENCH_BACKENDS that registers these as well."""
