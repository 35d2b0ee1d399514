"""A classifier of pictures in a page of numpy, right and wrong: pipelines are tested in seconds."""

from __future__ import annotations

import hashlib
import time

import numpy as np
import tiny

from evenbench.harness import BATCH, Case, Model, Recipe, TensorSpec
from evenbench.harness.photographs import PHOTOGRAPHS
from evenbench.harness.preprocess import Decode, Layout, Resize, ToArray

SIDE = 8
INPUTS = (TensorSpec("x", (BATCH, 3, SIDE, SIDE)),)
OUTPUTS = (TensorSpec("y", (BATCH, 4)),)
RECIPE = Recipe(
    "pixels_8", (Decode("RGB"), Resize(SIDE, antialias=True, exact=True), ToArray(), Layout("CHW"))
)

PICTURES = Model(
    "pictures",
    "filmed:build",
    INPUTS,
    OUTPUTS,
    recipe=RECIPE,
    images=PHOTOGRAPHS[:3],
    labels=("red", "green", "blue", "none"),
)
NUMBERS = Model("numbers", "filmed:build", INPUTS, OUTPUTS, inputs_from="filmed:samples")

pictures = Case((PICTURES,), ("painter", "liar", "absent"))
numbers = Case((NUMBERS,), ("painter",))
by_numpy = Case((PICTURES,), ("painter",), preprocessing=("numpy",))


def build():
    """The weights are the model."""
    return np.random.default_rng(0).standard_normal((3 * SIDE * SIDE, 4))


def samples(model):
    """Three inputs that differ."""
    return {"x": np.random.default_rng(1).random((3, 3, SIDE, SIDE)).astype(np.float32)}


class PaintedSession(tiny.TinySession):
    """One matrix product over all pixels."""

    def bind(self, inputs):
        self.x = inputs["x"].reshape(1, -1).astype(self.weights.dtype)


class Painter(tiny.Tiny):
    """Right, and quick."""

    name = "painter"

    def load(self, folder, cell):
        return PaintedSession(np.load(folder / "weights.npy"), cell)


class Liar(Painter):
    """Answers what another picture would get."""

    name = "liar"

    def load(self, folder, cell):
        return PaintedSession(-np.load(folder / "weights.npy"), cell)


class Sleeper(Painter):
    """Right, and slower than any camera."""

    name = "sleeper"

    def load(self, folder, cell):
        session = PaintedSession(np.load(folder / "weights.npy"), cell)
        step = session.step

        def slow():
            time.sleep(0.02)
            step()

        session.step = slow
        return session


class LoopedSession(PaintedSession):
    """Loops by itself, as a program in another language does."""

    clock = "the program's own"

    def laps(self, batches, count, boundary, keep):
        from evenbench.harness.core.session import Laps

        taken, kept = [], {}
        for lap in range(count):
            begin = time.monotonic_ns()
            self.bind(batches[lap % len(batches)])
            self.step()
            taken.append(max(1, time.monotonic_ns() - begin))
            if lap in keep:
                kept[lap] = self.fetch()
        return Laps(taken, kept)


class Looped(Painter):
    """Has a loop of its own."""

    name = "looped"

    def load(self, folder, cell):
        return LoopedSession(np.load(folder / "weights.npy"), cell)


class Easel(tiny.TinyGolden):
    """The same product in float64."""

    name = "easel"

    def supports(self, cell):
        return "" if cell.model.build == "filmed:build" else "only for pictures"

    def materialise(self, model, batches, folder):
        weights = build()
        np.save(folder / "weights.npy", weights)
        return {"sha256": hashlib.sha256(weights.tobytes()).hexdigest(), "note": "seed 0"}

    def describe(self, model):
        return INPUTS, OUTPUTS

    def load(self, folder, cell):
        return PaintedSession(np.load(folder / "weights.npy"), cell)


BACKENDS = ",".join(
    [
        "easel=filmed:Easel:golden",
        "absent=tiny:Absent",
        *(f"{kind.name}=filmed:{kind.__name__}" for kind in (Painter, Liar, Sleeper, Looped)),
    ]
)
"""The value of EVENBENCH_BACKENDS that registers all of these."""
