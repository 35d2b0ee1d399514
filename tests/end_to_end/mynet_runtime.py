"""A runtime and golden in numpy on weights from `build`; the key of the weights never changes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from evenbench.harness import Attestation, Backend, Golden, Session
from evenbench.harness.core import import_strings


class MatrixSession(Session):
    """Multiplies by every matrix in turn."""

    def __init__(self, weights, cell):
        self.weights, self.cell = weights, cell

    def bind(self, inputs):
        self.x = inputs["x"].astype(self.weights.dtype)

    def step(self):
        self.y = self.x
        for matrix in self.weights:
            self.y = np.tanh(self.y @ matrix)

    def fetch(self):
        return {"y": self.y.copy()}

    def attest(self):
        facts = self.cell.device, self.cell.precision, self.cell.threads
        return Attestation("matrices", "1.0", *facts, "preserved", "off")


class Matrices(Backend):
    """float32."""

    name = "matrices"
    dtype = "float32"

    def prepare(self, source, cell, folder):
        weights = np.load(Path(source.weights_folder) / "weights.npy")
        np.save(folder / "weights.npy", weights.astype(self.dtype))
        return {}

    def load(self, folder, cell):
        return MatrixSession(np.load(folder / "weights.npy"), cell)


class MatricesGolden(Matrices, Golden):
    """float64."""

    name = "matrices-golden"
    kind = "float64 numpy"
    dtype = "float64"

    def weights_key(self, model):
        return {"model": "matrices"}

    def materialise(self, model, batches, folder):
        weights = import_strings.resolve(model.build)()
        np.save(folder / "weights.npy", weights)
        return {"sha256": hashlib.sha256(weights.tobytes()).hexdigest(), "note": "seed 0"}

    def describe(self, model):
        return model.inputs, model.outputs


BACKENDS = "matrices=mynet_runtime:Matrices,matrices-golden=mynet_runtime:MatricesGolden:golden"
