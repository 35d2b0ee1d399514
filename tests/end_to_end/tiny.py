"""A runtime in a page of numpy, its golden, and the ways in which a backend can go wrong: front-end
tests take seconds.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np

from evenbench.harness import (
    BATCH,
    Attestation,
    Backend,
    Golden,
    Model,
    Session,
    TensorSpec,
    Unavailable,
)
from evenbench.harness.core.measurements import OperatorCall, OperatorProfile

INPUTS = (TensorSpec("x", (BATCH, 4)),)
OUTPUTS = (TensorSpec("y", (BATCH, 4)),)


def build():
    """The weights are the model."""
    return np.random.default_rng(0).standard_normal((4, 4))


def samples(model):
    """Three inputs that differ."""
    return {"x": np.random.default_rng(1).standard_normal((3, 4)).astype(np.float32)}


TINY = Model("tiny", "tiny:build", INPUTS, OUTPUTS, inputs_from="tiny:samples", task="regression")
OTHER = Model("other", "tiny:build", INPUTS, OUTPUTS, inputs_from="tiny:samples", task="regression")


class TinySession(Session):
    """One matrix product; counts its processes in the file that TINY_LOG names."""

    def __init__(self, weights, cell):
        self.weights, self.cell = weights, cell
        if os.environ.get("TINY_LOG"):
            with open(os.environ["TINY_LOG"], "a") as log:
                log.write(f"{cell.id}\n")

    def bind(self, inputs):
        self.x = inputs["x"]

    def step(self):
        self.y = self.x @ self.weights

    def fetch(self):
        return {"y": self.y.copy()}

    def attest(self):
        return Attestation(
            "tiny",
            "1.0",
            self.cell.device,
            self.cell.precision,
            self.cell.threads,
            "preserved",
            "off",
        )


class Tiny(Backend):
    """Right, and quick."""

    name = "tiny"
    dtype = "float32"

    def prepare(self, source, cell, folder):
        np.save(
            folder / "weights.npy",
            np.load(source.weights_folder / "weights.npy").astype(self.dtype),
        )
        return {}

    def load(self, folder, cell):
        return TinySession(np.load(folder / "weights.npy"), cell)

    def profile(self, folder, cell, inputs, now):
        call = OperatorCall("product", "MatMul", 0, 900)
        return OperatorProfile(f"profiler in process {os.getpid()}", (call,), 1000, "a note")


class Double(Tiny):
    """The same as Tiny, so that a group has two members."""

    name = "double"


class Wrong(Tiny):
    """Answers, but not what the model would."""

    name = "wrong"

    def load(self, folder, cell):
        return TinySession(1.5 * np.load(folder / "weights.npy"), cell)


class Absent(Tiny):
    """Needs a package that nobody has."""

    name = "absent"
    requires = ("no_such_runtime",)


class Late(Tiny):
    """Finds out in its own process that something is missing."""

    name = "late"

    def load(self, folder, cell):
        raise Unavailable("late: no such device; plug one in")


class Crash(Tiny):
    """Raises while it is loaded."""

    name = "crash"
    profile = Backend.profile

    def load(self, folder, cell):
        raise RuntimeError("the runtime gave up")


class Fallback(Tiny):
    """Says afterwards that it ran in another precision."""

    name = "fallback"

    def load(self, folder, cell):
        session = TinySession(np.load(folder / "weights.npy"), cell)
        session.attest = lambda: Attestation(
            "tiny", "1.0", "cpu", "bf16", cell.threads, "preserved", "off"
        )
        return session


class TinyGolden(Golden):
    """The same product in float64."""

    name = "tiny-golden"
    kind = "float64 numpy"

    def supports(self, cell):
        return super().supports(cell) or (
            "" if cell.model.build == "tiny:build" else "only for tiny models"
        )

    def weights_key(self, model):
        return {"model": "tiny"}

    def materialise(self, model, batches, folder):
        weights = build()
        np.save(folder / "weights.npy", weights)
        return {"sha256": hashlib.sha256(weights.tobytes()).hexdigest(), "note": "seed 0"}

    def describe(self, model):
        return INPUTS, OUTPUTS

    def prepare(self, source, cell, folder):
        np.save(folder / "weights.npy", np.load(Path(source.weights_folder) / "weights.npy"))
        return {}

    def load(self, folder, cell):
        weights = np.load(folder / "weights.npy")
        session = TinySession(weights, cell)
        session.bind = lambda inputs: setattr(session, "x", inputs["x"].astype(np.float64))
        return session


BACKENDS = ",".join(
    [
        "tiny-golden=tiny:TinyGolden:golden",
        *(
            f"{kind.name}=tiny:{kind.__name__}"
            for kind in (Tiny, Double, Wrong, Absent, Late, Crash, Fallback)
        ),
    ]
)
"""The value of EVENBENCH_BACKENDS that registers all of these."""
