"""Resident workers: loaded once, timed on command, stopped in between, judged at the end."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evenbench.harness import Cell, Session
from evenbench.harness.core.import_path import shared_path
from evenbench.harness.core.types import BOUNDARIES
from evenbench.harness.environment import system_info
from evenbench.harness.runner.child_process import first_to_speak
from evenbench.harness.runner.job import Job, Measurement, Reply
from evenbench.harness.runner.launcher import Worker
from tests.unit.builders import ROWS, Product, cell, plan, product, register, samples

HERE = "tests.unit.runner.test_resident_worker"
WEIGHTS = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)


class ReadsInput(Product):
    """Fails to load if standard input has a byte."""

    name = "readsinput"

    def load(self, folder: Path, cell: Cell) -> Session:
        if sys.stdin.read() or os.read(0, 1):
            raise RuntimeError("standard input belongs to the harness")
        return super().load(folder, cell)


class Exits(Product):
    """Ends the process in the first step after loading."""

    name = "exits"

    def session(self, weights: Any, cell: Cell) -> Session:
        os._exit(7)


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The prepared entries of a cell: an artifact, five input batches and the golden outputs."""
    register(monkeypatch, f"{ROWS},readsinput={HERE}:ReadsInput,exits={HERE}:Exits")
    entries = {name: tmp_path / name for name in ("artifact", "inputs", "golden")}
    for folder in entries.values():
        folder.mkdir()
    x = samples(product())["x"][:, None, :]
    np.save(entries["artifact"] / "weights.npy", WEIGHTS)
    np.save(entries["inputs"] / "x.npy", x)
    np.savez(entries["golden"] / "outputs.npz", y=x.astype(np.float64) @ WEIGHTS.astype(np.float64))
    facts = {"kind": "float64 numpy", "own_rmse": {}}
    (entries["golden"] / "facts.json").write_text(json.dumps(facts))
    return {name: str(folder) for name, folder in entries.items()}


def worker(folders: dict[str, str], backend: str = "product", pauses: bool = False) -> Worker:
    payload = Measurement(plan(), pauses=pauses)
    job = Job("measure", cell(backend), payload, folders=folders, sys_path=shared_path())
    return Worker(job, system_info.for_worker(1, {}), 60.0)


def laps(resident: Worker, number: int) -> list[int]:
    """Continue a stopped worker for a sample of `number` laps."""
    resident.process.go()
    sample = resident.ask({"do": "sample", "number": number})
    resident.process.stop()
    assert not isinstance(sample, Reply), sample
    return list(sample["laps_ns"])


def value_of(reply: Reply) -> dict[str, Any]:
    assert reply.value is not None, reply
    return dict(reply.value)


def test_several_workers_stay_resident_and_are_timed_in_turn(folders: dict[str, str]) -> None:
    with contextlib.ExitStack() as stack:
        residents = [
            stack.enter_context(worker(folders, backend)) for backend in ("product", "oneweight")
        ]
        for resident in residents:
            assert resident.ask() == {"ready": True}
            resident.process.stop()
        for number in (1, 7, 3):
            for resident in residents:
                times = laps(resident, number)
                assert len(times) == number
                assert all(isinstance(lap, int) and lap > 0 for lap in times)
        for resident in residents:
            resident.process.go()
        right, wrong = (value_of(resident.finish()) for resident in residents)
    assert right["parity"]["verdict"] == "pass"
    assert wrong["parity"]["verdict"] == "fail"
    assert right["attested"]["runtime"] == "numpy"
    assert right["cold_start_seconds"] > 0


def test_two_workers_load_at_a_time_and_wait_before_they_warm_up(folders: dict[str, str]) -> None:
    with worker(folders, pauses=True) as one, worker(folders, pauses=True) as other:
        processes = [one.process, other.process]
        assert first_to_speak(processes, time.monotonic()) is None, "a reply before the start"
        waiting = {one.process: one, other.process: other}
        while waiting:
            process = first_to_speak(list(waiting), one.deadline)
            assert process is not None
            message = waiting[process].advance()
            if message is not None:
                assert message == {"loaded": True}
                waiting.pop(process).process.stop()
        for resident in (one, other):
            resident.process.go()
            assert resident.ask({"do": "warm_up"}) == {"ready": True}
            assert not isinstance(resident.ask({"do": "turn", "number": 0}), Reply)
        assert value_of(one.finish())["parity"]["verdict"] == "pass"
        other.process.kill()
        assert first_to_speak([other.process], other.deadline) is other.process


def test_samples_and_turns_share_a_worker(folders: dict[str, str]) -> None:
    with worker(folders) as resident:
        assert resident.ask() == {"ready": True}
        for number in (0, 1, 5):
            turn = resident.ask({"do": "turn", "number": number})
            assert not isinstance(turn, Reply)
            assert set(turn) == {"times_ns", "enough", "over", "stable"}
            assert all(time_ns > 0 for time_ns in turn["times_ns"].values())
        sample = resident.ask({"do": "sample", "number": 4})
        assert not isinstance(sample, Reply)
        assert set(sample) == {"laps_ns", "cpu_ns", "preemptions", "machine_cpu_ns", "steal_ns"}
        measured = value_of(resident.finish())
    assert measured["interleaving"]["rounds"] == [0, 1, 5]
    for boundary in BOUNDARIES:
        laps = [block["laps"] for block in measured["blocks"][boundary]]
        assert (len(laps), sum(laps)) == (3, len(measured["samples_ns"][boundary]))
    assert measured["parity"]["verdict"] == "pass"


def test_idle_time_does_not_count_towards_the_timeout(
    folders: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = time.monotonic
    with worker(folders) as resident:
        assert resident.ask() == {"ready": True}
        monkeypatch.setattr(time, "monotonic", lambda: clock() + 3600.0)
        reply = resident.finish()
    assert value_of(reply)["parity"]["verdict"] == "pass"


def test_user_code_finds_an_empty_standard_input(folders: dict[str, str]) -> None:
    with worker(folders, "readsinput") as resident:
        assert resident.ask() == {"ready": True}
        sample = resident.ask({"do": "sample", "number": 2})
        assert not isinstance(sample, Reply), sample
        assert len(sample["laps_ns"]) == 2


def test_ask_returns_the_reply_of_a_worker_that_ended(folders: dict[str, str]) -> None:
    with worker(folders, "exits") as resident:
        reply = resident.ask()
    assert isinstance(reply, Reply)
    assert (reply.value, reply.outcome, reply.phase) == (None, "failed", "load")
    assert reply.reason == "measure exited with code 7 without a reply"
