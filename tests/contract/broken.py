"""Deliberately broken sessions around a right one: proof that the contract and the parity gate
bite.

Each class breaks one promise of `harness.Session`. They wrap ONNX Runtime on the contract's small
network, so that all else about them is real.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from evenbench.backends.onnxruntime.backend import OnnxRuntime
from evenbench.backends.onnxruntime.session import OrtSession
from evenbench.harness import Attestation, Laps


class WrongDtype(OrtSession):
    """Answers in float64."""

    def fetch(self):
        return {name: value.astype(np.float64) for name, value in super().fetch().items()}


class WrongName(OrtSession):
    """Calls its output by another name."""

    def fetch(self):
        return {f"{name}_0": value for name, value in super().fetch().items()}


class WrongShape(OrtSession):
    """Drops the last class."""

    def fetch(self):
        return {name: value[..., :-1] for name, value in super().fetch().items()}


class Noisy(OrtSession):
    """Adds something new at every step, within tolerance."""

    calls = 0

    def step(self):
        super().step()
        self.calls += 1
        self.result = [
            value + np.float32(1e-9 * self.calls * np.abs(value).max() * 100)
            for value in self.result
        ]


class Caching(OrtSession):
    """Computes the first input, and answers every later one with it."""

    def step(self):
        if not self.result:
            super().step()


class Late(OrtSession):
    """Answers with the previous input's result, as a pipeline off by one does."""

    previous = None

    def step(self):
        super().step()
        current = self.result
        self.result = current if self.previous is None else self.previous
        self.previous = current


class WritesInputs(OrtSession):
    """Normalises its input in place."""

    def bind(self, inputs):
        for value in inputs.values():
            if value.flags.writeable:
                value *= 0.5
        super().bind(inputs)


class ReusesOutputs(OrtSession):
    """Fetches into one buffer, again and again."""

    buffer = None

    def fetch(self):
        fetched = super().fetch()
        if self.buffer is None:
            self.buffer = {name: value.copy() for name, value in fetched.items()}
        for name, value in fetched.items():
            self.buffer[name][:] = value
        return self.buffer


class IgnoresBatch(OrtSession):
    """Answers the whole batch with its first element's result; right at batch 1."""

    def fetch(self):
        return {
            name: np.repeat(value[:1], len(value), axis=0)
            for name, value in super().fetch().items()
        }


class Nameless(OrtSession):
    """Has a second clock, and does not say whose."""

    inner = "native"

    def inner_ns(self):
        return 1


class Overlong(OrtSession):
    """Its second clock sees a second in every lap, as that of a device does whose sync does not
    wait.
    """

    inner, inner_clock = "device", "wishful"

    def inner_ns(self):
        return 1_000_000_000


class Inventive(OrtSession):
    """Loops on its own and reports laps longer than the time that passed."""

    clock = "wishful"

    def laps(self, batches, count, boundary, keep):
        kept = {}
        for lap in range(count):
            self.bind(batches[lap % len(batches)])
            self.step()
            if lap in keep:
                kept[lap] = self.fetch()
        return Laps([10**12] * count, kept)


class SecretLoop(OrtSession):
    """Overrides the timed loop without naming a clock."""

    def laps(self, batches, count, boundary, keep):
        begin = time.perf_counter_ns()
        for lap in range(count):
            self.bind(batches[lap % len(batches)])
            self.step()
        each = (time.perf_counter_ns() - begin) // count
        return Laps([each] * count, {lap: self.fetch() for lap in keep})


class Shared(OrtSession):
    """Lets two threads have one place for their answers."""

    def beside(self):
        return self

    def step(self):
        super().step()
        time.sleep(0.002)


class Silent(OrtSession):
    """Attests nothing about denormals."""

    def attest(self) -> Attestation:
        return replace(super().attest(), denormals="")


class Boastful(OrtSession):
    """Runs in another precision than asked."""

    def attest(self) -> Attestation:
        return replace(super().attest(), precision="bf16")


class ClosesOnce(OrtSession):
    """A second close fails."""

    def close(self):
        if self.session is None:
            raise RuntimeError("already closed")
        super().close()


class Hungry(OrtSession):
    """Swallows what goes wrong in step and goes on with the last answer."""

    def __setattr__(self, name, value):
        if name == "step":  # the contract puts a crash here; this session refuses to take it
            return
        super().__setattr__(name, value)


def with_session(kind: type[OrtSession]) -> type[OnnxRuntime]:
    """ONNX Runtime with this session class, as a backend of its name."""

    class Broken(OnnxRuntime):
        name = kind.__name__.lower()

        def load(self, folder, cell):
            return kind(Path(folder) / "model.onnx", cell)

    return Broken


def __getattr__(name: str) -> type[OnnxRuntime]:
    """`NoisyBackend` is the backend of `Noisy`."""
    kind = globals().get(name.removesuffix("Backend"))
    if kind is None or not name.endswith("Backend"):
        raise AttributeError(name)
    return with_session(kind)


class LittersBackend(OnnxRuntime):
    """Leaves a file in the working folder while preparing."""

    name = "litters"

    def artifact_key(self, cell):
        return {**super().artifact_key(cell), "litters": True}

    def prepare(self, source, cell, folder):
        Path("litter.txt").write_text("left behind")
        return super().prepare(source, cell, folder)


class ForgetfulBackend(OnnxRuntime):
    """Prepares in memory, so that another process finds nothing."""

    name = "forgetful"
    kept: dict = {}

    def artifact_key(self, cell):
        return {**super().artifact_key(cell), "forgetful": True}

    def prepare(self, source, cell, folder):
        facts = super().prepare(source, cell, folder)
        (folder / "model.onnx").rename(folder.parent / f"{os.getpid()}.onnx")
        return facts
