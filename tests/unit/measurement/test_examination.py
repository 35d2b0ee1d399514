"""Impossible laps: each lie around a session that spends a test's clock, and the honest session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from evenbench.harness import Laps, Session
from evenbench.harness.core.measurements import IMPOSSIBLE
from evenbench.harness.core.types import COMPUTE, HOST_TO_HOST
from evenbench.harness.measurement import plausibility
from evenbench.harness.measurement.examination import Examination, after_calls
from tests.unit.builders import Attestation, Clock, attestation

US = 1_000
STEP, COPY = 200 * US, 4 * US


class Honest(Session):
    """Sums its input; a step takes 200 µs, binding and fetching 4 µs each."""

    def __init__(self) -> None:
        self.time = Clock()
        self.x: Any = np.zeros(32, np.float32)
        self.y: Any = np.zeros(1, np.float32)

    def bind(self, inputs: Mapping[str, Any]) -> None:
        self.time.spend(COPY)
        self.x = inputs["x"]

    def compute(self) -> None:
        self.time.spend(STEP)
        self.y = self.x.sum(keepdims=True)

    def step(self) -> None:
        self.compute()

    def fetch(self) -> Mapping[str, Any]:
        self.time.spend(COPY)
        return {"y": self.y.copy()}

    def attest(self) -> Attestation:
        return attestation()


class Remembers(Honest):
    """A memory of results."""

    memory: dict[bytes, Any] = {}

    def step(self) -> None:
        key = self.x.tobytes()
        if key not in self.memory:
            self.compute()
            self.memory[key] = self.y
        self.y = self.memory[key]
        self.time.spend(100)


class RemembersAddresses(Remembers):
    """The same, by the identity of the array."""

    def step(self) -> None:
        key = repr(id(self.x)).encode()
        if key not in self.memory:
            self.compute()
            self.memory[key] = self.y
        self.y = self.memory[key]


class Binds(Honest):
    """The work in `bind`."""

    def bind(self, inputs: Mapping[str, Any]) -> None:
        super().bind(inputs)
        self.compute()

    def step(self) -> None:
        self.time.spend(100)


class Fetches(Honest):
    """The work in `fetch`, once per step."""

    waits = False

    def step(self) -> None:
        self.waits = True
        self.time.spend(100)

    def fetch(self) -> Mapping[str, Any]:
        if self.waits:
            self.compute()
            self.waits = False
        return super().fetch()


class Loops(Honest):
    """Its own loop and an honest clock; a call costs 50 µs."""

    clock = "own"
    share = 1.0
    skips = False

    def laps(self, batches: Sequence[Any], count: int, boundary: str, keep: Sequence[int]) -> Laps:
        self.time.spend(50 * US)
        laps_ns, kept = [], {}
        for lap in range(count):
            if self.skips and lap not in keep:
                laps_ns.append(100)
                continue
            self.bind(batches[lap % len(batches)])
            begin = self.time()
            self.step()
            if lap in keep or boundary == HOST_TO_HOST:
                kept[lap] = self.fetch()
            spent = STEP + (2 * COPY if boundary == HOST_TO_HOST else 0)
            laps_ns.append(int(spent * self.share) if begin else 0)
        return Laps(laps_ns, {lap: kept[lap] for lap in keep})


class Tenth(Loops):
    """A clock in other units."""

    share = 0.1


class Skips(Loops):
    """Laps without kept outputs are not run."""

    skips = True


BATCHES = [{"x": np.random.default_rng(n).standard_normal(32).astype(np.float32)} for n in range(4)]


def examined(session: Honest, batches: Sequence[Any] = BATCHES, **typical_ns: float) -> str:
    for batch in batches:  # as the timed laps did
        session.bind(batch)
        session.step()
    known = {COMPUTE: STEP, HOST_TO_HOST: STEP + 2 * COPY} | typical_ns
    laps_ns = {name: [lap_ns] * 9 for name, lap_ns in known.items()}
    return Examination(session, batches, laps_ns, session.time).reason()


@pytest.mark.parametrize("session", [Honest, Loops])
def test_an_honest_session_is_not_accused(session: type[Honest]) -> None:
    assert examined(session()) == ""


@pytest.mark.parametrize(
    ("session", "typical_ns", "said"),
    [
        (Remembers, {"compute": 100}, "answers are remembered"),
        (RemembersAddresses, {"compute": 100}, "answers are remembered"),
        (Binds, {"compute": 100}, "outputs follow bind without a step"),
        (Fetches, {"compute": 100}, "a sync that does not wait"),
        (Tenth, {"compute": STEP / 10, "host_to_host": STEP / 10}, "its clock is wrong"),
        (Skips, {"compute": 100, "host_to_host": 100}, "laps"),
    ],
)
def test_impossible_laps_have_a_reason(
    session: type[Honest], typical_ns: dict[str, float], said: str
) -> None:
    Remembers.memory.clear()
    reason = examined(session(), **typical_ns)
    assert reason.startswith(IMPOSSIBLE)
    assert said in reason


def test_a_session_that_refuses_an_experiment_is_not_accused() -> None:
    class Strict(Honest):
        def fetch(self) -> Mapping[str, Any]:
            raise RuntimeError("no step since bind")

        def step(self) -> None:
            if not self.x.flags.writeable and self.x is not BATCHES[0]["x"]:
                raise ValueError("unknown input")
            super().step()

    assert examined(Strict(), BATCHES[:1]) == ""


def test_a_slower_machine_after_the_laps_is_no_lie() -> None:
    """All laps take five times as long as before, on known inputs too."""
    assert examined(Honest(), compute=STEP / 5, host_to_host=STEP / 5 + 2 * COPY) == ""


class Stalls(Honest):
    """Two of three steps wait 28 ms for a thread without a core."""

    steps = 0

    def compute(self) -> None:
        super().compute()
        self.steps += 1
        self.time.spend(28_000 * US if self.steps % 3 else 0)


class LoopStalls(Stalls, Loops):
    """The same with its own loop and an honest clock."""

    def laps(self, batches: Sequence[Any], count: int, boundary: str, keep: Sequence[int]) -> Laps:
        laps_ns, kept = [], {}
        for lap in range(count):
            begin = self.time()
            self.bind(batches[lap % len(batches)])
            self.step()
            outputs = self.fetch()
            laps_ns.append(self.time() - begin)
            kept |= {lap: outputs} if lap in keep else {}
        return Laps(laps_ns, kept)


@pytest.mark.parametrize("session", [Stalls, LoopStalls])
def test_stalls_of_a_busy_machine_accuse_nobody(session: type[Honest]) -> None:
    """Most `compute` laps were quick, most of `host_to_host` stalled, by chance."""
    slow = STEP + 28_000 * US
    busy = session()
    laps_ns = {COMPUTE: [STEP] * 6 + [slow] * 3, HOST_TO_HOST: [STEP + 2 * COPY] + [slow] * 8}
    assert Examination(busy, BATCHES, laps_ns, busy.time).reason() == ""


def test_copying_that_takes_longest_is_no_hidden_work() -> None:
    class Copies(Honest):
        def bind(self, inputs: Mapping[str, Any]) -> None:
            self.time.spend(20 * STEP)
            super().bind(inputs)

    assert examined(Copies(), host_to_host=21 * STEP) == ""


@pytest.mark.parametrize(
    ("threads", "used", "accused"),
    [(1, 1.4, False), (1, 1.9, True), (2, 2.4, False), (8, 9.5, False), (8, 11.0, True)],
)
def test_cores_beyond_the_threads(threads: int, used: float, accused: bool) -> None:
    assert bool(plausibility.too_many_cores(threads, used)) == accused


@pytest.mark.parametrize(
    ("session", "said"),
    [
        *((Honest, ""), (Loops, ""), (Stalls, ""), (Remembers, "answers are remembered")),
        *((Binds, "outputs follow bind"), (Fetches, "a sync that does not wait")),
        (Tenth, "its clock is wrong"),
    ],
)
def test_a_session_of_load_or_pipeline_is_examined_by_laps_of_its_own(
    session: type[Honest], said: str
) -> None:
    Remembers.memory.clear()
    called = session()
    for batch in BATCHES:  # as the calls under load did
        called.bind(batch)
        called.step()
    reason = after_calls(called, BATCHES, called.time)
    assert bool(reason) == bool(said)
    assert said in reason
