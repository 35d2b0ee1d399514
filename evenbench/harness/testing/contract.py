"""The tests of the contract for backends."""

from __future__ import annotations

import functools
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest

from evenbench.harness.core import artifact_store, import_strings, registry
from evenbench.harness.core.errors import Unsupported
from evenbench.harness.core.plans import PLANS
from evenbench.harness.core.session import Session
from evenbench.harness.core.types import BOUNDARIES, INNER_BOUNDARIES, Model
from evenbench.harness.measurement import attestation, sampling, timing
from evenbench.harness.measurement.turns import Turns
from evenbench.harness.runner.preparation import Preparer
from evenbench.harness.runner.prepared import Prepared
from evenbench.harness.testing.crashing import INNER, fresh_registry
from evenbench.harness.testing.kit import Kit
from evenbench.harness.testing.outputs import answer, assert_close, assert_equal, copied

if TYPE_CHECKING:
    pass

DEFAULT_MODEL = "evenbench.backends.contract_model:TINY_CNN"
BATCHES = (1, 2, 7)
LAPS = 5
TOGETHER = 20
"""Calls of each of two threads on one network."""


class BackendContract:
    """The contract's tests. Derive a class, set `name`, and pytest collects the tests."""

    name: ClassVar[str]
    precision: ClassVar[str] = "fp32"
    device: ClassVar[str] = "cpu"
    model: ClassVar[Model | None] = None
    """The contract's model (default: a small PyTorch network)."""
    threads: ClassVar[int] = 0
    """The number of threads; 0 for all cores."""
    expected_failures: ClassVar[Mapping[str, str]] = {}
    """Reasons for failures by test name."""

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        for test, reason in cls.expected_failures.items():
            setattr(cls, test, _expected_to_fail(getattr(cls, test), reason))

    @pytest.fixture(scope="class")
    @classmethod
    def kit(cls, tmp_path_factory: pytest.TempPathFactory) -> Kit:
        model = cls.model or import_strings.resolve(DEFAULT_MODEL)
        results = tmp_path_factory.mktemp("results")
        return Kit(cls.name, model, cls.precision, cls.device, results, cls.threads)

    @pytest.fixture
    def session(self, kit: Kit) -> Iterator[Session]:
        loaded = kit.load()
        yield loaded
        loaded.close()

    def test_outputs_are_as_declared(self, kit: Kit, session: Session) -> None:
        outputs = answer(session, kit.batches()[0])
        wanted = {spec.name: (spec.concrete(1), spec.dtype) for spec in kit.cell().model.outputs}
        assert {name: (array.shape, str(array.dtype)) for name, array in outputs.items()} == wanted

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
        """Threads on a shared network get the same outputs as alone, without side effects."""
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
        for outputs, wanted in zip(answers, alone, strict=True):
            assert_close(
                outputs, wanted, "differs where another thread asks something else meanwhile"
            )
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
            turns = Turns(session, kit.batches(), PLANS["quick"], typical_ns=0.0)
            for number in range(3):
                turns.take(number)
            samples = turns.samples()
            assert len(samples[session.inner].laps_ns) == len(samples["compute"].laps_ns)
            assert all(isinstance(lap, int) and lap > 0 for lap in samples[session.inner].laps_ns)
            assert sampling.binding(samples, session) is not None, (
                "or ValueError: a lap that is shorter than what it contains"
            )

    def test_attestation_is_complete_and_as_asked(self, kit: Kit, session: Session) -> None:
        answer(session, kit.batches()[0])
        assert attestation.difference(kit.cell(), session.attest()) == ""

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
                None,
                [
                    os.environ.get(registry.VARIABLE, ""),
                    "crashing=harness.testing.crashing:Crashing",
                ],
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
    """A copy of the cache without this artifact, so only the backend's own files are created."""
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


def _two_beside(session: Session) -> tuple[list[Session], str]:
    """Two sessions on the network of `session`, or none and the reason."""
    try:
        return [session.beside() for _ in range(2)], ""
    except Unsupported as refused:
        return [], str(refused)
