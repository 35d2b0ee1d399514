"""A runtime whose speed, answer and size are three constants: what the commits of the compared repository change."""

import numpy as np

from harness import BATCH, Attestation, Backend, Golden, Model, Session, TensorSpec

REPEATS = 100
NOISE = 1e-7
PADDING = 0

SIZE = 96
MODEL = Model(
    "work",
    "work:build",
    (TensorSpec("x", (BATCH, SIZE)),),
    (TensorSpec("y", (BATCH, SIZE)),),
    inputs_from="work:samples",
    task="regression",
)
BACKENDS = "work=work:Work,exact=work:Exact:golden"


def build():
    return np.random.default_rng(0).standard_normal((SIZE, SIZE)) / SIZE


def samples(model):
    return {"x": np.random.default_rng(1).standard_normal((3, SIZE)).astype(np.float32)}


class WorkSession(Session):
    """The same product, `repeats` times over: real work, so that a tenth more of it takes a tenth longer."""

    def __init__(self, weights, cell, noise, repeats):
        self.weights, self.cell, self.noise, self.repeats = weights, cell, noise, repeats

    def bind(self, inputs):
        self.x = inputs["x"]

    def step(self):
        for _ in range(self.repeats):
            self.y = self.x @ self.weights
        self.y = self.y * self.y.dtype.type(1 + self.noise)

    def fetch(self):
        return {"y": self.y.copy()}

    def attest(self):
        return Attestation("work", "1.0", self.cell.device, self.cell.precision, self.cell.threads, "preserved", "off")


class Work(Backend):
    name = "work"
    dtype = "float32"

    def prepare(self, source, cell, folder):
        np.save(folder / "weights.npy", np.load(source.weights_folder / "weights.npy").astype(self.dtype))
        (folder / "padding").write_bytes(bytes(PADDING))
        return {}

    def artifact_key(self, cell):
        return {"backend": self.name, "padding": PADDING}

    def load(self, folder, cell):
        return WorkSession(np.load(folder / "weights.npy"), cell, NOISE, REPEATS)


class Exact(Golden, Work):
    name = "exact"
    dtype = "float64"
    kind = "float64 numpy"

    def artifact_key(self, cell):
        return {"backend": self.name}

    def load(self, folder, cell):
        return WorkSession(np.load(folder / "weights.npy"), cell, 0.0, 1)

    def weights_key(self, model):
        return {"build": model.build}

    def materialise(self, model, batches, folder):
        weights = build()
        np.save(folder / "weights.npy", weights)
        return {"sha256": "0" * 64, "note": "a fixed matrix"}

    def describe(self, model):
        return model.inputs, model.outputs
