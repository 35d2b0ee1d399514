"""Negative controls of the timing: runtimes with right outputs and impossible laps.

All wrap ONNX Runtime and err in ways that real integrations do: a cache of results, a queue without
a wait, work in the wrong verb, a clock in other units. `evenbench selftest` runs these backends.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from evenbench.backends.onnx import export
from evenbench.backends.onnxruntime.backend import OnnxRuntime
from evenbench.backends.onnxruntime.session import OrtSession
from evenbench.harness import Cell, Laps, Session, Source, TensorSpec

if TYPE_CHECKING:
    from evenbench.harness.core.session import Arrays

ANSWERS = "answers.npz"

STEPS = 40
"""Steps before `LateSession` turns wrong: more than warm-up takes, fewer than a process does."""

TENTH = 10


def _digest(inputs: Arrays) -> str:
    whole = hashlib.sha256()
    for name in sorted(inputs):
        whole.update(inputs[name].tobytes())
    return whole.hexdigest()


class MemorySession(OrtSession):
    """Remembers the outputs of every input, by the sha256 of its bytes."""

    def __init__(self, file: Path, cell: Cell) -> None:
        super().__init__(file, cell)
        self.memory: dict[str, list[Any]] = {}
        self.digest = ""

    def bind(self, inputs: Arrays) -> None:
        super().bind(inputs)
        self.digest = _digest(inputs)

    def step(self) -> None:
        if self.digest not in self.memory:
            super().step()
            self.memory[self.digest] = self.result
        self.result = self.memory[self.digest]


class EagerSession(OrtSession):
    """Runs the network in `bind`; `step` does nothing."""

    def bind(self, inputs: Arrays) -> None:
        super().bind(inputs)
        super().step()

    def step(self) -> None:
        pass


class LazySession(OrtSession):
    """Runs the network in `fetch`, like a queue without a wait in `sync`."""

    waits = False

    def step(self) -> None:
        self.waits = True

    def fetch(self) -> Arrays:
        if self.waits:
            super().step()
            self.waits = False
        return super().fetch()


class LateSession(OrtSession):
    """Right until step `STEPS`, then always the same outputs, like a cache that fills."""

    steps = 0

    def step(self) -> None:
        self.steps += 1
        if self.steps <= STEPS:
            super().step()


class ClockSession(OrtSession):
    """Loops and measures by itself, and reports a tenth of the time."""

    clock = "a clock in other units"

    def laps(
        self, batches: Sequence[Arrays], count: int, boundary: str, keep: Sequence[int]
    ) -> Laps:
        laps_ns, kept = [], {}
        for lap in range(count):
            begin = time.perf_counter()
            self.bind(batches[lap % len(batches)])
            self.step()
            outputs = self.fetch()
            laps_ns.append(int((time.perf_counter() - begin) * 1e9 / TENTH))
            if lap in keep:
                kept[lap] = outputs
        return Laps(laps_ns, kept)


class _Dishonest(OnnxRuntime):
    """ONNX Runtime with another session on the same artifact."""

    kind: ClassVar[type[OrtSession]]

    def load(self, folder: Path, cell: Cell) -> Session:
        return self.kind(folder / export.FILE, cell)


class Eager(_Dishonest):
    """Right outputs, computed outside the laps of `compute`, in `bind`."""

    name, kind = "negative-eager", EagerSession


class Lazy(_Dishonest):
    """Right outputs, computed outside the laps of `compute`, in `fetch`."""

    name, kind = "negative-lazy", LazySession


class Late(_Dishonest):
    """Right outputs at first, wrong outputs later."""

    name, kind = "negative-late", LateSession


class Clock(_Dishonest):
    """Right outputs, and a wrong clock."""

    name, kind = "negative-clock", ClockSession


class Memory(_Dishonest):
    """Right outputs from a memory of results."""

    name, kind = "negative-memory", MemorySession

    def supports(self, cell: Cell) -> str:
        return super().supports(cell) or (
            ""
            if any(map(_may_change, cell.model.inputs))
            else f"{cell.model.name} has no input whose values may change without other work"
        )


class Answers(Memory):
    """Right outputs, stored in the artifact by prepare."""

    name = "negative-answers"

    def artifact_key(self, cell: Cell) -> Mapping[str, Any]:
        return {**super().artifact_key(cell), "answers": True}

    def prepare(self, source: Source, cell: Cell, folder: Path) -> Mapping[str, Any]:
        import numpy as np

        facts = super().prepare(source, cell, folder)
        session = OrtSession(folder / export.FILE, cell)
        batches = {name: np.load(file) for name, file in source.batches.items()}
        answers = {}
        for index in range(len(next(iter(batches.values())))):
            inputs = {name: array[index] for name, array in batches.items()}
            session.bind(inputs)
            session.step()
            for number, output in enumerate(session.result):
                answers[f"{_digest(inputs)} {number}"] = output
        np.savez(folder / ANSWERS, **answers)
        return facts

    def load(self, folder: Path, cell: Cell) -> Session:
        import numpy as np

        session = MemorySession(folder / export.FILE, cell)
        for name, output in np.load(folder / ANSWERS).items():
            session.memory.setdefault(name.partition(" ")[0], []).append(output)
        return session


def _may_change(spec: TensorSpec) -> bool:
    """Whether the harness can draw new values for an input (`fresh_inputs`)."""
    shape = spec.concrete(1)
    if "float" in spec.dtype:
        return prod(shape) >= 16
    return spec.dtype.startswith(("int", "uint")) and len(shape) >= 2 and shape[-1] >= 8
