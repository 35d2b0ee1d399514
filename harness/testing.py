"""The contract that every backend passes, shipped so that yours can prove it too.

    from harness.testing import BackendContract

    class TestMine(BackendContract):
        name = "mine"

The sessions run in the test process, on artifacts that fresh worker processes prepared; parity and
crashes go through the whole walk. A test that is expected to fail is named in `expected_failures`
with its reason, and must then fail.
"""

from __future__ import annotations

import functools
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest

from harness.core import artifact_store, import_strings, registry
from harness.core.backend import Backend, Session, Source
from harness.core.cases import Entry
from harness.core.errors import Unsupported
from harness.core.types import BOUNDARIES, INNER_BOUNDARIES, PLANS, Cell, Model
from harness.environment import cpu, virtualenvs
from harness.inputs import batches as inputs
from harness.measurement import provenance, sampling, timing
from harness.runner.preparation import Prepared, Preparer, Refusal
from harness.runner.schedule import Run

if TYPE_CHECKING:
    from harness.core.backend import Arrays

DEFAULT_MODEL = "backends.contract_model:TINY_CNN"
BATCHES = (1, 2, 7)
INNER = "EVENBENCH_CRASHING_BACKEND"
LAPS = 5
TOGETHER = 20
"""Calls of each of two threads on one network."""


class Kit:
    """A backend with its prepared artifacts, by batch size."""

    def __init__(
        self, backend: str, model: Model, precision: str, device: str, results: Path
    ) -> None:
        self.backend = backend
        self.results = results
        self.preparer = Preparer(PLANS["quick"].timeout_seconds)
        self.template = Cell(model, backend, precision, device, threads=cpu.cores())

    def cell(self, batch: int = 1, backend: str = "") -> Cell:
        """The contract's cell at a batch size, of this backend or another."""
        return replace(self.template, batch=batch, backend=backend or self.backend)

    def prepared(self, batch: int = 1) -> Prepared:
        """What the cell's processes read. Skips where the backend is not installed, fails where it
        refuses.
        """
        try:
            return self.preparer.prepare(self.cell(batch))
        except Refusal as refusal:
            if refusal.reply.outcome == "unavailable":
                pytest.skip(refusal.reply.reason)
            pytest.fail(
                f"{refusal.reply.outcome} in {refusal.reply.phase}: {refusal.reply.reason}\n{refusal.reply.traceback}"
            )

    def load(self, batch: int = 1) -> Session:
        """A session in this process. Fails for a backend that lives in another: here it would be
        another runtime.
        """
        if virtualenvs.request(self.backend):
            pytest.fail(
                f"{self.backend} lives in another environment, and the contract loads sessions here; install it here and test that"
            )
        return registry.find(self.backend).load(
            Path(self.prepared(batch).artifact.path), self.cell(batch)
        )

    def batches(self, batch: int = 1) -> list[dict[str, Any]]:
        """The read-only input batches."""
        return inputs.load(Path(self.prepared(batch).inputs.path), self.cell(batch).model)

    def measured(self, batch: int = 1, backend: str = "") -> Mapping[str, Any]:
        """The outcome of a quick run of the cell through fresh processes."""
        entry = Entry(self.cell(batch, backend))
        run = Run(
            [entry],
            replace(PLANS["quick"], min_seconds=0.0, warmup_max_seconds=0.1),
            self.results,
            fresh=True,
        )
        line = run.measure([entry])[0]
        run.finish()
        return line


def answer(session: Session, batch: Arrays) -> Arrays:
    """Bind, step, sync, fetch."""
    session.bind(batch)
    session.step()
    session.sync()
    return session.fetch()


def copied(arrays: Arrays) -> dict[str, Any]:
    """The arrays' values, safe from whoever writes to the originals later."""
    return {name: np.array(array, copy=True) for name, array in arrays.items()}


def assert_equal(made: Arrays, wanted: Arrays, message: str) -> None:
    """Bitwise equality of two answers."""
    for name, array in wanted.items():
        assert np.array_equal(made[name], array), f"output {name} {message}"


def _two_beside(session: Session) -> tuple[list[Session], str]:
    """Two sessions on the network of another, or none and why not."""
    try:
        return [session.beside() for _ in range(2)], ""
    except Unsupported as refused:
        return [], str(refused)


def assert_close(answers: Sequence[Arrays], wanted: Arrays, message: str) -> None:
    """Equality up to the order of additions, which several threads may change."""
    for name, array in wanted.items():
        allowed = 1e-3 * max(1e-12, float(np.abs(array).max(initial=0)))
        assert all(np.allclose(made[name], array, rtol=1e-3, atol=allowed) for made in answers), (
            f"output {name} {message}"
        )


class BackendContract:
    """Derive from it, set `name`, and pytest collects the contract for your backend."""

    name: ClassVar[str]
    precision: ClassVar[str] = "fp32"
    device: ClassVar[str] = "cpu"
    model: ClassVar[Model | None] = None
    """The model that the contract runs; the default one is a small PyTorch network."""
    expected_failures: ClassVar[Mapping[str, str]] = {}
    """Test name to the reason why it must fail."""

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        for test, reason in cls.expected_failures.items():
            setattr(cls, test, _expected_to_fail(getattr(cls, test), reason))

    @pytest.fixture(scope="class")
    @classmethod
    def kit(cls, tmp_path_factory: pytest.TempPathFactory) -> Kit:
        model = cls.model or import_strings.resolve(DEFAULT_MODEL)
        return Kit(cls.name, model, cls.precision, cls.device, tmp_path_factory.mktemp("results"))

    @pytest.fixture
    def session(self, kit: Kit) -> Iterator[Session]:
        loaded = kit.load()
        yield loaded
        loaded.close()

    def test_outputs_are_as_declared(self, kit: Kit, session: Session) -> None:
        made = answer(session, kit.batches()[0])
        wanted = {spec.name: (spec.concrete(1), spec.dtype) for spec in kit.cell().model.outputs}
        assert {name: (array.shape, str(array.dtype)) for name, array in made.items()} == wanted

    def test_same_input_same_output(self, kit: Kit, session: Session) -> None:
        batch = kit.batches()[0]
        assert_equal(
            answer(session, batch),
            copied(answer(session, batch)),
            "differs between two steps on one input",
        )

    def test_new_inputs_are_used(self, kit: Kit, session: Session) -> None:
        first, second, *_ = kit.batches()
        before = copied(answer(session, first))
        after = answer(session, second)
        assert any(not np.array_equal(after[name], array) for name, array in before.items()), (
            "the answer to a new input is the old one"
        )
        assert_equal(answer(session, first), before, "depends on the input before")

    def test_inputs_are_not_modified(self, kit: Kit, session: Session) -> None:
        batch = {name: np.array(array) for name, array in kit.batches()[0].items()}
        before = copied(batch)
        answer(session, batch)
        assert_equal(batch, before, "is an input, and was written to")

    def test_fetched_arrays_never_change(self, kit: Kit, session: Session) -> None:
        first, second, *_ = kit.batches()
        fetched = answer(session, first)
        before = copied(fetched)
        answer(session, second)
        assert_equal(fetched, before, "changed after it was fetched")

    @pytest.mark.parametrize("batch", BATCHES)
    def test_parity(self, kit: Kit, batch: int) -> None:
        kit.prepared(batch)
        line = kit.measured(batch)
        assert line["outcome"] == "ok", f"{line['phase']}: {line['reason']}\n{line['traceback']}"
        assert line["parity"] is not None, "nothing was compared: a control has no answer"
        assert line["parity"]["needed"] <= line["parity"]["allowed"]
        assert line["parity"]["artifact_sha256"] == line["artifact_sha256"]
        assert line["parity"]["input_sha256"] == line["input_sha256"]

    def test_laps_fit_the_wall(self, kit: Kit, session: Session) -> None:
        for boundary in BOUNDARIES:
            begin = time.perf_counter_ns()
            laps = timing.run_laps(
                session, kit.batches(), 0, LAPS, boundary, {1}, time.perf_counter_ns
            )
            wall = time.perf_counter_ns() - begin
            assert len(laps.laps_ns) == LAPS
            assert all(isinstance(lap, int) and lap > 0 for lap in laps.laps_ns)
            assert sum(laps.laps_ns) <= wall
            assert list(laps.kept) == [1]

    def test_sessions_beside_each_other_answer_alike(self, kit: Kit, session: Session) -> None:
        """Where several threads may call one network, each of them gets what it would get alone,
        and leaves the others as they are.
        """
        others, refused = _two_beside(session)
        assert others or refused, "beside() refuses in words"
        if refused:
            return
        batches = kit.batches()[:2]
        alone = [copied(answer(session, batch)) for batch in batches]
        everybody = threading.Barrier(len(others))

        def call(place: int) -> list[dict[str, Any]]:
            everybody.wait(timeout=60)
            return [copied(answer(others[place], batches[place])) for _ in range(TOGETHER)]

        with ThreadPoolExecutor(len(others)) as pool:
            answers = list(pool.map(call, range(len(others))))
        for other in others:
            other.close()
        for made, wanted in zip(answers, alone, strict=True):
            assert_close(made, wanted, "differs where another thread asks something else meanwhile")
        assert_close(
            [answer(session, batches[0])],
            alone[0],
            "differs once the sessions beside it are closed",
        )

    def test_only_a_named_clock_overrides_laps(self, session: Session) -> None:
        own_loop = type(session).laps is not Session.laps
        own_clock = session.clock != Session.clock
        assert own_loop == own_clock, (
            "a session that times itself overrides laps and names its clock; any other does neither"
        )

    def test_a_second_clock_sees_each_lap_from_within(self, kit: Kit, session: Session) -> None:
        assert session.inner in ("", *INNER_BOUNDARIES), (
            "inner names the boundary of a second clock, or is empty"
        )
        assert bool(session.inner) == bool(session.inner_clock), (
            "a second clock has a boundary and a name, or neither"
        )
        if session.inner:
            samples, _ = sampling.sample(
                session, kit.batches(), replace(PLANS["quick"], min_seconds=0.0, max_seconds=0.1)
            )
            assert len(samples[session.inner].laps_ns) == len(samples["compute"].laps_ns)
            assert all(isinstance(lap, int) and lap > 0 for lap in samples[session.inner].laps_ns)
            assert sampling.binding(samples, session) is not None, (
                "or ValueError: a lap that is shorter than what it contains"
            )

    def test_attestation_is_complete_and_as_asked(self, kit: Kit, session: Session) -> None:
        answer(session, kit.batches()[0])
        assert provenance.difference(kit.cell(), session.attest()) == ""

    def test_prepare_writes_only_in_its_folder(
        self, kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        prepared = kit.prepared()
        before = _digests(prepared)
        elsewhere = [tmp_path / name for name in ("here", "home")]
        for folder in elsewhere:
            folder.mkdir()
        monkeypatch.chdir(elsewhere[0])
        monkeypatch.setenv("HOME", str(elsewhere[1]))
        monkeypatch.setenv(
            artifact_store.VARIABLE, str(_without(Path(prepared.artifact.path), tmp_path / "cache"))
        )
        Preparer(PLANS["quick"].timeout_seconds).prepare(kit.cell())
        assert [
            sorted(str(path) for path in folder.rglob("*") if path.is_file())
            for folder in elsewhere
        ] == [[], []]
        assert _digests(prepared) == before, "prepare changed what it was given"

    def test_closes_twice(self, kit: Kit) -> None:
        session = kit.load()
        answer(session, kit.batches()[0])
        session.close()
        session.close()

    @pytest.mark.parametrize("how", ["raise", "abort"])
    def test_crash_in_step_becomes_an_outcome(
        self, kit: Kit, how: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        kit.prepared()
        monkeypatch.setenv(INNER, f"{kit.backend}:{how}")
        added = ",".join(
            filter(
                None, [os.environ.get(registry.VARIABLE, ""), "crashing=harness.testing:Crashing"]
            )
        )
        monkeypatch.setenv(registry.VARIABLE, added)
        with fresh_registry():
            line = kit.measured(backend="crashing")
        assert line["outcome"] == "failed"
        assert line["signal"] == ("SIGABRT" if how == "abort" else "")
        assert "crash" in line["traceback"].lower() or "abort" in line["traceback"].lower()


def _expected_to_fail(test: Callable[..., None], reason: str) -> Callable[..., None]:
    @functools.wraps(test)
    def wrapped(*arguments: Any, **keywords: Any) -> None:
        test(*arguments, **keywords)

    marked: Callable[..., None] = pytest.mark.xfail(reason=reason, strict=True)(wrapped)
    return marked


def _without(artifact: Path, cache: Path) -> Path:
    """A cache in which everything is there already but this one artifact: what others make of the
    model is not the backend's.
    """
    for folder in filter(Path.is_dir, artifact.parents[1].iterdir()):
        (cache / folder.name).mkdir(parents=True)
        for entry in folder.iterdir():
            if entry != artifact and not entry.name.startswith("."):
                (cache / folder.name / entry.name).symlink_to(entry)
    return cache


def _digests(prepared: Prepared) -> dict[str, str]:
    folders = [Path(prepared.inputs.path), Path(prepared.artifact.path)]
    return {
        str(path): artifact_store.digest_file(path)
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


class fresh_registry:
    """Forget which backends are registered, on entry and on exit, since tests change the variable
    that names them.
    """

    def __enter__(self) -> None:
        registry.rows.cache_clear()
        registry.find.cache_clear()

    def __exit__(self, *error: object) -> None:
        self.__enter__()


class Crashing(Backend):
    """Another backend whose step fails, by raising or by aborting the process, as
    `EVENBENCH_CRASHING_BACKEND` says.
    """

    name = "crashing"

    def __init__(self) -> None:
        inner, _, self.how = os.environ[INNER].partition(":")
        self.inner = registry.find(inner)
        self.precisions, self.devices = self.inner.precisions, self.inner.devices  # type: ignore[misc]
        self.uses_weights = self.inner.uses_weights  # type: ignore[misc]

    def supports(self, cell: Cell) -> str:
        return self.inner.supports(cell)

    def variables(self, cell: Cell) -> Mapping[str, str]:
        return self.inner.variables(cell)

    def artifact_key(self, cell: Cell) -> Mapping[str, Any]:
        return self.inner.artifact_key(cell)

    def prepare(self, source: Source, cell: Cell, folder: Path) -> Mapping[str, Any]:
        return self.inner.prepare(source, cell, folder)

    def load(self, folder: Path, cell: Cell) -> Session:
        session = self.inner.load(folder, cell)
        session.step = self._crash  # type: ignore[method-assign]
        return session

    def _crash(self) -> None:
        if self.how == "abort":
            os.abort()
        raise RuntimeError("crash on purpose")
