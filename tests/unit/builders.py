"""Shared pieces of the unit tests: a clock that tests move, a session that spends its time, a numpy
runtime and its golden.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import math
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest

from evenbench.harness import (
    BATCH,
    PLANS,
    Attestation,
    Backend,
    Cell,
    Golden,
    Model,
    Plan,
    Session,
    Source,
    TensorSpec,
    worker,
)
from evenbench.harness.core import registry
from evenbench.harness.measurement import resident
from evenbench.harness.measurement.timing import Counters
from evenbench.harness.measurement.turns import Turns
from evenbench.harness.runner import group_sweep, launcher
from evenbench.harness.runner import job as runner_job

HERE = "tests.unit.builders"


class Clock:
    """Nanoseconds that pass only when somebody spends them."""

    def __init__(self) -> None:
        self.ns = 0

    def __call__(self) -> int:
        return self.ns

    def spend(self, ns: int) -> None:
        self.ns += ns


class ScriptedSession(Session):
    """Spends the clock's time in every verb, writes the verbs down, and answers with the input and
    the number of steps.
    """

    def __init__(
        self,
        clock: Clock,
        bind_ns: int = 0,
        step_ns: int | Callable[[int], int] = 1_000,
        sync_ns: int = 0,
        fetch_ns: int = 0,
    ) -> None:
        self.clock_of_test = clock
        self.bind_ns, self.sync_ns, self.fetch_ns = bind_ns, sync_ns, fetch_ns
        self.step_ns = step_ns if callable(step_ns) else lambda step: step_ns
        self.verbs: list[str] = []
        self.bound: list[int] = []
        self.steps = 0

    def _spend(self, verb: str, ns: int) -> None:
        self.verbs.append(verb)
        self.clock_of_test.spend(ns)

    def bind(self, inputs: Mapping[str, Any]) -> None:
        self._spend("bind", self.bind_ns)
        self.bound.append(int(inputs["x"][0]))

    def step(self) -> None:
        self._spend("step", self.step_ns(self.steps))
        self.steps += 1

    def sync(self) -> None:
        self._spend("sync", self.sync_ns)

    def fetch(self) -> Mapping[str, Any]:
        self._spend("fetch", self.fetch_ns)
        return {"y": np.array([self.bound[-1], self.steps])}

    def attest(self) -> Attestation:
        return attestation()


class Overlapping(ScriptedSession):
    """Three at once on a device that finishes one every 100 ns; `submit` blocks while all three are
    busy.
    """

    in_flight = 3

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.submitted: list[tuple[int, bool]] = []
        self.kept: dict[int, Any] = {}
        self.ends: list[int] = []

    def submit(self, inputs: Any, lap: int, keep: bool, copy: bool) -> None:
        if len(self.ends) >= self.in_flight:
            self.until(self.ends[-self.in_flight])
        self.ends.append(max(self.clock_of_test.ns, self.ends[-1] if self.ends else 0) + 100)
        self.submitted.append((int(inputs["x"][0]), copy))
        if keep:
            self.kept[lap] = inputs

    def until(self, ns: int) -> None:
        self.clock_of_test.ns = max(self.clock_of_test.ns, ns)

    def sync(self) -> None:
        self.until(self.ends[-1])

    def collected(self) -> Any:
        found, self.kept = self.kept, {}
        return found


def batches(count: int) -> list[dict[str, Any]]:
    """Input batches whose one number is their index."""
    return [{"x": np.array([index])} for index in range(count)]


def plan(**changed: Any) -> Plan:
    """A plan that stops as soon as eight laps are stable."""
    instant: dict[str, Any] = {
        "min_seconds": 0.0,
        "max_seconds": 0.05,
        "warmup_max_seconds": 0.05,
        "timeout_seconds": 30.0,
    }
    return replace(PLANS["quick"], **{**instant, **changed})


def sampled(
    session: Session,
    rotation: int,
    chosen: Plan,
    clock: Clock,
    read: Counters = lambda: (0, 0, 0, 0, 0, 0),
) -> Turns:
    """Turns of a session alone, until steady or out of time, as a process of one cell takes."""
    turns = Turns(session, batches(rotation), chosen, 0.0, clock, read)
    number, state = 0, turns.take(0)
    while not (state["over"] or (state["enough"] and state["stable"])):
        number += 1
        state = turns.take(number)
    return turns


def attestation(**changed: Any) -> Attestation:
    """A complete one, of a single-threaded fp32 run on the CPU."""
    facts: dict[str, Any] = {
        "device": "cpu",
        "precision": "fp32",
        "threads": 1,
        "denormals": "preserved",
        "spinning": "off",
    }
    return Attestation(**{"runtime": "numpy", "version": np.__version__, **facts, **changed})


# -- a runtime in numpy ----------------------------------------------------------------------------


def matrix() -> Any:
    """The `build` of the model below; its weights are drawn by the golden."""
    return "a matrix"


def samples(model: Model) -> dict[str, Any]:
    """Five inputs that differ."""
    return {"x": np.random.default_rng(1).standard_normal((5, 4)).astype(np.float32)}


PRODUCT = Model(
    name="product",
    build=f"{HERE}:matrix",
    inputs=(TensorSpec("x", (BATCH, 4)),),
    outputs=(TensorSpec("y", (BATCH, 3)),),
    inputs_from=f"{HERE}:samples",
    task="regression",
)


def product(**changed: Any) -> Model:
    """The model, with a declaration changed; `arguments={"seed": ...}` gives it other weights."""
    return replace(PRODUCT, **changed)


def cell(backend: str = "product", model: Model = PRODUCT, **changed: Any) -> Cell:
    """A cell of it."""
    return Cell(model, backend, **changed)


class ProductSession(Session):
    """y = x W."""

    def __init__(self, weights: Any, used: Attestation) -> None:
        self.weights, self.used = weights, used

    def bind(self, inputs: Mapping[str, Any]) -> None:
        self.x = inputs["x"].astype(self.weights.dtype)

    def step(self) -> None:
        self.y = self.x @ self.weights

    def fetch(self) -> Mapping[str, Any]:
        return {"y": self.y.copy()}

    def attest(self) -> Attestation:
        return self.used


class Product(Backend):
    """Right, and quick."""

    name = "product"
    precisions = ("fp32", "fp16")
    options = {"flag": "changes nothing but the artifact's key"}

    def prepare(self, source: Source, cell: Cell, folder: Path) -> Mapping[str, Any]:
        np.save(
            folder / "weights.npy",
            np.load(source.weights_folder / "weights.npy").astype(np.float32),
        )
        return {"format": "npy"}

    def load(self, folder: Path, cell: Cell) -> Session:
        return self.session(np.load(folder / "weights.npy"), cell)

    def session(self, weights: Any, cell: Cell) -> Session:
        return ProductSession(weights, attestation(precision=cell.precision, threads=cell.threads))


class Twin(Product):
    """The same under another name, so that a comparison has two members."""

    name = "twin"


class OneWeight(Product):
    """A single weight is 5 % too large."""

    name = "oneweight"

    def session(self, weights: Any, cell: Cell) -> Session:
        weights.flat[np.abs(weights).argmax()] *= 1.05
        return super().session(weights, cell)


class Narrows(Product):
    """Asked for fp16, it runs fp32 and says so; asked for fp32, it is right."""

    name = "narrows"

    def session(self, weights: Any, cell: Cell) -> Session:
        return ProductSession(weights, attestation(precision="fp32", threads=cell.threads))


class Raises(Product):
    """Gives up while it is loaded."""

    name = "raises"

    def load(self, folder: Path, cell: Cell) -> Session:
        raise RuntimeError("the runtime gave up")


class Absent(Product):
    """Needs a package that nobody has."""

    name = "absent"
    requires = ("no_such_runtime",)


class Exact(Golden):
    """Judges the product in float64; the seed in the model's arguments draws the weights."""

    name = "exact"
    kind = "float64 numpy"

    def supports(self, cell: Cell) -> str:
        return super().supports(cell) or (
            "" if cell.model.build.startswith(HERE) else "only for the product"
        )

    def weights_key(self, model: Model) -> Mapping[str, Any]:
        return {"seed": model.arguments.get("seed", "0")}

    def materialise(
        self, model: Model, batches: Mapping[str, Path], folder: Path
    ) -> Mapping[str, Any]:
        weights = np.random.default_rng(int(model.arguments.get("seed", "0"))).standard_normal(
            (4, 3)
        )
        np.save(folder / "weights.npy", weights)
        return {"sha256": hashlib.sha256(weights.tobytes()).hexdigest(), "note": "drawn"}

    def describe(self, model: Model) -> tuple[Sequence[TensorSpec], Sequence[TensorSpec]]:
        return PRODUCT.inputs, PRODUCT.outputs

    def prepare(self, source: Source, cell: Cell, folder: Path) -> Mapping[str, Any]:
        weights = np.load(source.weights_folder / "weights.npy").astype(
            np.float32
        )  # the values that everybody gets
        np.save(folder / "weights.npy", weights.astype(np.float64))
        return {}

    def load(self, folder: Path, cell: Cell) -> Session:
        return ProductSession(np.load(folder / "weights.npy"), attestation())


ROWS = ",".join(
    f"{kind.name}={HERE}:{kind.__name__}"
    for kind in (Product, Twin, OneWeight, Narrows, Raises, Absent)
)


def register(monkeypatch: pytest.MonkeyPatch, rows: str = ROWS) -> None:
    """Register the numpy runtimes and their golden, in this process and in its workers, until the
    test ends.
    """
    monkeypatch.setenv(registry.VARIABLE, f"exact={HERE}:Exact:golden,{rows}")
    monkeypatch.setattr(registry, "rows", functools.cache(registry.rows.__wrapped__))
    monkeypatch.setattr(registry, "find", functools.cache(registry.find.__wrapped__))


def work_here(monkeypatch: pytest.MonkeyPatch) -> list[runner_job.Job]:
    """Let workers do their jobs in this process, which takes no time; returns the jobs as they are
    done.
    """
    done: list[runner_job.Job] = []

    def start(job: runner_job.Job, *arguments: Any) -> WorkerHere:
        done.append(job)
        return WorkerHere(job)

    monkeypatch.setattr(launcher, "Worker", start)
    monkeypatch.setattr(group_sweep, "first_to_speak", lambda processes, deadline: processes[0])
    # All workers share this process's CPU time, so one seems to use the cores of all.
    monkeypatch.setattr(resident.ResidentCell, "differences", lambda self: [])
    return done


class WorkerHere:
    """A worker in a thread of this process, with the interface of `launcher.Worker`."""

    deadline = math.inf

    def __init__(self, job: runner_job.Job) -> None:
        self.job = job
        self.process = MagicMock(timed_out=False)
        self.process.resident_bytes.return_value = 1
        self._commands: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._messages: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self) -> WorkerHere:
        return self

    def __exit__(self, *exception: object) -> None:
        self._commands.put(b"")
        self._thread.join()

    def ask(self, command: Mapping[str, Any] | None = None) -> Any:
        if command:
            self._commands.put(json.dumps(command).encode())
        while (message := self.advance()) is None:
            pass
        return message

    def advance(self) -> Any:
        message = self._messages.get()
        if "value" in message:
            return runner_job.Reply(**message, wall_seconds=0.5)
        return None if "phase" in message else message

    def finish(self) -> runner_job.Reply:
        self._commands.put(b"")
        while not isinstance(message := self.ask(), runner_job.Reply):
            pass
        return message

    def _serve(self) -> None:
        channel = runner_job.Channel(io.BytesIO(), iter(self._commands.get, b""))  # type: ignore[arg-type]
        channel.tell = self._messages.put  # type: ignore[method-assign]
        self._messages.put(json.loads(json.dumps(worker.reply_to(self.job, channel))))
