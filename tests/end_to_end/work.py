"""A runtime whose lap is a pipeline, from pixels to numbers: three constants say how much work, how
right and how large.
"""

import numpy as np

from evenbench.harness import BATCH, Attestation, Backend, Golden, Model, Session, TensorSpec
from evenbench.harness.photographs import PHOTOGRAPHS, locate
from evenbench.harness.preprocess import CenterCrop, Layout, Normalise, Resize, ToArray

REPEATS = 100
NOISE = 1e-7
PADDING = 0

PIXELS, SIDE, ANSWERS = 96, 8, 16
STEPS = (
    Resize(12, antialias=True),
    CenterCrop(SIDE),
    ToArray(),
    Normalise((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
    Layout("CHW"),
)
MODEL = Model(
    "work",
    "work:build",
    (TensorSpec("pixels", (BATCH, PIXELS, PIXELS, 3), "uint8"),),
    (TensorSpec("y", (BATCH, ANSWERS)),),
    inputs_from="work:samples",
    task="regression",
)
BACKENDS = "work=work:Work,exact=work:Exact:golden"


def build():
    return np.random.default_rng(0).standard_normal((3 * SIDE * SIDE, ANSWERS)) / SIDE


def samples(model):
    """Three real photographs, decoded and cut to one size: what the pipeline is given."""
    from PIL import Image

    crops = []
    for photograph in PHOTOGRAPHS[2:5]:
        with Image.open(locate(photograph)) as image:
            crops.append(np.asarray(image.convert("RGB").resize((PIXELS, PIXELS)), dtype=np.uint8))
    return {"pixels": np.stack(crops)}


def preprocess(pixels):
    """One photograph as the network wants it: resized, cropped, normalised and laid out by the
    project's own steps.
    """
    from PIL import Image

    made = Image.fromarray(pixels)
    for step in STEPS:
        made = step.apply(made)
    return made.reshape(-1)


class WorkSession(Session):
    """The lap of a pipeline: preprocessing, once for every five of `repeats`, so that a tenth more
    takes a tenth longer; a product.
    """

    def __init__(self, weights, cell, noise, repeats):
        self.weights, self.cell, self.noise, self.repeats = weights, cell, noise, repeats

    def bind(self, inputs):
        self.pixels = inputs["pixels"]

    def step(self):
        for _ in range(max(1, self.repeats // 5)):
            seen = np.stack([preprocess(each) for each in self.pixels])
        self.y = seen.astype(self.weights.dtype) @ self.weights
        self.y = self.y * self.y.dtype.type(1 + self.noise)

    def fetch(self):
        return {"y": self.y.copy()}

    def attest(self):
        return Attestation(
            "work",
            "1.0",
            self.cell.device,
            self.cell.precision,
            self.cell.threads,
            "preserved",
            "off",
        )


class Work(Backend):
    name = "work"
    dtype = "float32"

    def prepare(self, source, cell, folder):
        np.save(
            folder / "weights.npy",
            np.load(source.weights_folder / "weights.npy").astype(self.dtype),
        )
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
