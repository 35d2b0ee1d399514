"""An asynchronous device: laps end with the work, by the host's clock and the device's clock."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evenbench.harness import Cell, Session
from evenbench.harness.core import artifact_store
from evenbench.harness.core.cases import Entry
from evenbench.harness.core.types import BOUNDARIES
from evenbench.harness.runner.schedule import Run
from tests.unit.builders import Product, ProductSession, attestation, cell, plan, register

WORK_NS = 50_000_000
"""The time that the simulated device computes after `step` has returned."""


class EarlySession(ProductSession):
    """A session with asynchronous steps: a thread does the work and takes the time, like events."""

    inner, inner_clock = "device", "played events"
    took_ns = 0

    def step(self) -> None:
        self.device = threading.Thread(target=self._compute)
        self.device.start()

    def _compute(self) -> None:
        begin = time.perf_counter_ns()
        time.sleep(WORK_NS / 1e9)
        super().step()
        self.took_ns = time.perf_counter_ns() - begin

    def sync(self) -> None:
        self.device.join()

    def inner_ns(self) -> int:
        return self.took_ns


class Early(Product):
    """Right, and asynchronous."""

    name = "early"

    def session(self, weights: Any, cell: Cell) -> Session:
        return EarlySession(weights, attestation(threads=cell.threads))


class ForgetsSession(EarlySession):
    """A session with a `sync` that returns at once; `fetch` waits instead."""

    def sync(self) -> None:
        pass

    def inner_ns(self) -> int:
        self.device.join()
        return super().inner_ns()

    def fetch(self) -> Any:
        self.device.join()
        return super().fetch()


class Forgets(Early):
    """A backend without synchronisation."""

    name = "forgets"

    def session(self, weights: Any, cell: Cell) -> Session:
        return ForgetsSession(weights, attestation(threads=cell.threads))


def measured(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The cell's line, after the whole walk in fresh processes."""
    monkeypatch.setenv(artifact_store.VARIABLE, str(folder / "cache"))
    register(
        monkeypatch,
        ",".join(
            f"{kind.name}=tests.unit.measurement.test_device_time:{kind.__name__}"
            for kind in (Early, Forgets)
        ),
    )
    entries = [Entry(cell(name))]
    (line,) = Run(
        entries, replace(plan(), max_seconds=0.3), folder / "results", fresh=True
    ).measure(entries)
    return dict(line)


def test_enqueued_work_is_inside_every_lap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = measured("early", tmp_path, monkeypatch)
    assert line["outcome"] == "ok", line["reason"] + line["traceback"]
    for boundary in (*BOUNDARIES, "device"):
        (laps,) = line["samples_ns"][boundary]
        assert laps
        assert min(laps) >= WORK_NS, boundary
    (compute,), (device,) = line["samples_ns"]["compute"], line["samples_ns"]["device"]
    assert len(compute) == len(device)
    assert all(outside >= inside for outside, inside in zip(compute, device, strict=True)), (
        "host wall holds the device's time"
    )
    assert line["inner_clock"] == "played events"
    assert line["binding_ns"][0] >= 0


def test_a_sync_that_does_not_wait_is_no_measurement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lap cannot be shorter than the device's work, so both clocks are kept."""
    line = measured("forgets", tmp_path, monkeypatch)
    assert (line["outcome"], line["phase"], line["samples_ns"]) == ("failed", "sample", {})
    assert "sync() returned before the work was done" in line["reason"]
