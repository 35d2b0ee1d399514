"""A measured process: phases, request against attestation, and the verdict on timed outputs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evenbench.harness import Attestation
from evenbench.harness.core import registry
from evenbench.harness.core.types import BOUNDARIES, COMPUTE
from evenbench.harness.measurement import attestation as attested
from evenbench.harness.measurement import golden as measurement_golden
from evenbench.harness.measurement import judging, phases, resident
from tests.unit.builders import (
    Product,
    ProductSession,
    attestation,
    cell,
    plan,
    product,
    register,
    samples,
)

TURNS = [{"do": "turn", "number": number} for number in range(12)]
"""Turns enough for the least number of laps of the tests' plan."""

WEIGHTS = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """The prepared entries of a cell: an artifact, five input batches and the golden outputs."""
    register(monkeypatch)
    entries = {name: tmp_path / name for name in ("artifact", "inputs", "golden")}
    for folder in entries.values():
        folder.mkdir()
    x = samples(product())["x"][:, None, :]
    np.save(entries["artifact"] / "weights.npy", WEIGHTS)
    np.save(entries["inputs"] / "x.npy", x)
    np.savez(entries["golden"] / "outputs.npz", y=x.astype(np.float64) @ WEIGHTS.astype(np.float64))
    (entries["golden"] / "facts.json").write_text(
        json.dumps({"kind": "float64 numpy", "own_rmse": {}})
    )
    return entries


def run(
    folders: Mapping[str, Path], backend: str = "product", golden: bool = True, **changed: Any
) -> dict[str, Any]:
    return resident.run(
        cell(backend, **changed),
        plan(),
        {name: folder for name, folder in folders.items() if golden or name != "golden"},
        commands=TURNS,
    )


def test_a_process_returns_all_recorded_facts(folders: dict[str, Path]) -> None:
    measured = run(folders)
    assert measured["parity"]["verdict"] == "pass"
    assert measured["asked_is_used"] == ""
    assert set(measured["phases_seconds"]) == {
        "load",
        "compile",
        "first_step",
        "warm_up",
        "sample",
        "parity",
    }
    assert all(seconds >= 0 for seconds in measured["phases_seconds"].values())
    for boundary in BOUNDARIES:
        assert len(measured["samples_ns"][boundary]) >= plan().min_samples
        assert sum(block["laps"] for block in measured["blocks"][boundary]) == len(
            measured["samples_ns"][boundary]
        )
    assert measured["clock"] == "time.perf_counter_ns"
    assert measured["attested"]["runtime"] == "numpy"
    assert measured["peak_rss_bytes"] > 1_000_000
    assert json.loads(json.dumps(measured, allow_nan=False)) == measured, (
        "the parent would read something else"
    )


def test_a_weight_5_percent_too_large_fails(folders: dict[str, Path]) -> None:
    measured = run(folders, "oneweight")["parity"]
    assert (measured["verdict"], measured["needed"] > 10) == ("fail", True)


def test_a_control_is_not_judged(folders: dict[str, Path]) -> None:
    assert run(folders, golden=False)["parity"] is None


class Shy(ProductSession):
    """A session with wrong outputs at a single step."""

    steps = 0
    wrong_at = 0

    def step(self) -> None:
        super().step()
        self.steps += 1
        if self.steps == self.wrong_at:
            self.y = self.y * 1.5


class ShyBackend(Product):
    name = "shy"

    def session(self, weights: Any, cell: Any) -> Any:
        return Shy(weights, attestation())


@pytest.mark.parametrize(("wrong_at", "verdict"), [(14, "fail"), (10**9, "pass")])
def test_judged_outputs_come_from_the_timed_loop(
    wrong_at: int, verdict: str, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a warm-up, step 1 is the first step, 2 an untimed lap, 3-7 and 8-12 the first laps of
    both boundaries, 13 an untimed lap, and 14 a kept lap.
    """
    register(monkeypatch, "shy=tests.unit.measurement.test_resident:ShyBackend")
    monkeypatch.setattr(
        resident.sampling,
        "warm_up",
        lambda session, batches, plan: {"windows_ns": [], "laps": 0, "stable": True},
    )
    monkeypatch.setattr("evenbench.harness.measurement.turns.MOST_UNTIMED_LAPS", 1)
    monkeypatch.setattr(Shy, "wrong_at", wrong_at)
    assert run(folders, "shy")["parity"]["verdict"] == verdict


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, ""),
        ({"precision": "bf16"}, "ort: asked for precision fp32, ran bf16"),
        ({"device": "CPU"}, "ort: asked for device cpu, ran CPU"),
        ({"threads": 4}, "ort: asked for threads 1, ran 4"),
        (
            {"precision": "fp16,fp32", "threads": 2},
            "ort: asked for precision fp32, ran fp16,fp32; threads 1, ran 2",
        ),
    ],
)
def test_a_difference_from_the_request_is_reported(change: dict[str, Any], said: str) -> None:
    assert attested.difference(cell("ort"), attestation(**change)) == said


@pytest.mark.parametrize(
    "missing", ["runtime", "version", "device", "precision", "denormals", "spinning", "threads"]
)
def test_an_incomplete_attestation_is_an_error_with_the_missing_field(missing: str) -> None:
    with pytest.raises(
        phases.PhaseError, match=rf"ort: attest\(\) left {missing} empty; read it from the runtime"
    ) as caught:
        attested.difference(
            cell("ort"), attestation(**{missing: 0 if missing == "threads" else ""})
        )
    assert caught.value.phase == "sample"


def test_a_fallback_is_measured_and_reported(folders: dict[str, Path]) -> None:
    measured = run(folders, "narrows", precision="fp16")
    assert measured["asked_is_used"] == "narrows: asked for precision fp16, ran fp32"


def held_out() -> Any:
    x = np.random.default_rng(2).standard_normal((7, 4)).astype(np.float32)
    return x, (x @ WEIGHTS).argmax(-1)


@pytest.mark.parametrize(("backend", "batch", "value"), [("product", 1, 1.0), ("product", 3, 1.0)])
def test_accuracy_counts_every_held_out_sample_once(
    backend: str, batch: int, value: float, folders: dict[str, Path]
) -> None:
    inputs, labels = held_out()
    labels[6] = (
        labels[6] + 1
    ) % 3  # the last one, which a batch of three shares with samples from the start
    np.save(folders["inputs"] / "evaluation.npy", inputs)
    np.save(folders["inputs"] / "labels.npy", labels)
    x = np.repeat(samples(product())["x"][:, None, :], batch, axis=1)
    np.save(folders["inputs"] / "x.npy", x)
    measured = run(folders, backend, golden=False, model=product(evaluation=held_out), batch=batch)
    assert measured["accuracy"] == {"metric": "top-1", "value": 6 / 7, "count": 7}


def test_a_model_without_held_out_samples_has_no_accuracy(folders: dict[str, Path]) -> None:
    assert run(folders)["accuracy"] is None


def test_an_exception_has_a_phase_and_the_time_is_kept() -> None:
    watch = phases.Stopwatch()
    with pytest.raises(phases.PhaseError, match="no memory") as caught, watch.phase("load"):
        raise MemoryError("no memory")
    assert (caught.value.phase, type(caught.value.error), list(watch.seconds)) == (
        "load",
        MemoryError,
        ["load"],
    )


def test_a_failing_step_closes_the_session(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[int] = []
    monkeypatch.setattr(ProductSession, "step", lambda session: 1 / 0)
    monkeypatch.setattr(ProductSession, "close", lambda session: closed.append(1))
    with pytest.raises(phases.PhaseError) as caught:
        run(folders)
    assert (caught.value.phase, closed) == ("first_step", [1])


def test_stacked_outputs_are_in_the_order_of_their_batches() -> None:
    kept = {2: {"y": [2]}, 0: {"y": [0]}, 1: {"y": [1]}}
    assert judging.stack(kept, 3)["y"].tolist() == [[0], [1], [2]]


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        ({0: {"y": [0]}, 2: {"y": [2]}}, r"no output was kept for batches \[1\]"),
        ({0: {"y": [0]}, 1: {"z": [1]}, 2: {"y": [2]}}, "names differ"),
        (
            {0: {"y": [0]}, 1: {"y": [1, 2]}, 2: {"y": [3]}},
            r"output y has the shapes \[1\], \[2\], .*--task detection \(docs/reference/tasks\.md",
        ),
    ],
)
def test_missing_or_differently_named_outputs_are_errors(kept: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        judging.stack(kept, 3)


def test_the_worse_boundary_decides(folders: dict[str, Path]) -> None:
    right = {
        index: {"y": array}
        for index, array in enumerate(
            np.load(folders["golden"] / "outputs.npz")["y"].astype(np.float32)
        )
    }
    wrong = {index: {"y": outputs["y"] * np.float32(1.5)} for index, outputs in right.items()}
    for kept in (
        {BOUNDARIES[0]: right, BOUNDARIES[1]: wrong},
        {BOUNDARIES[0]: wrong, BOUNDARIES[1]: right},
    ):
        assert judging.judge(cell(), kept, folders["golden"])["verdict"] == "fail"
    with pytest.raises(ValueError, match=f"{COMPUTE}: no output was kept"):
        judging.judge(cell(), {**dict.fromkeys(BOUNDARIES, right), COMPUTE: {}}, folders["golden"])


def golden(folders: dict[str, Path], tmp_path: Path) -> dict[str, Any]:
    declared = cell("exact")
    np.save(folders["artifact"] / "weights.npy", WEIGHTS.astype(np.float64))
    judge = registry.golden_for(declared)
    return measurement_golden.make_golden(
        declared, judge, folders["artifact"], folders["inputs"], {}, tmp_path
    )  # type: ignore[return-value]


def test_a_golden_is_float64_with_facts(folders: dict[str, Path], tmp_path: Path) -> None:
    assert golden(folders, tmp_path) == {
        "kind": "float64 numpy",
        "own_rmse": {},
        "own_share": {},
        "accuracy": None,
        "work": {},
    }
    outputs = np.load(tmp_path / "outputs.npz")["y"]
    assert (outputs.dtype, outputs.shape) == (np.float64, (5, 1, 3))
    assert np.array_equal(
        outputs,
        np.load(folders["inputs"] / "x.npy").astype(np.float64) @ WEIGHTS.astype(np.float64),
    )


def test_a_golden_with_unstable_outputs_is_refused(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = np.random.default_rng(0)
    monkeypatch.setattr(
        ProductSession, "fetch", lambda session: {"y": session.y + 1e-6 * noise.standard_normal()}
    )
    with pytest.raises(
        ValueError, match=r"does not agree with itself: y differs by .* put the model in eval mode"
    ):
        golden(folders, tmp_path)


def test_an_attestation_of_the_null_backend_is_complete() -> None:
    declared = cell("null")
    session = registry.find("null").load(Path("unused"), declared)
    used: Attestation = session.attest()
    assert attested.difference(declared, used) == ""


def test_outputs_may_have_any_name(tmp_path: Path) -> None:
    outputs = {
        name: np.arange(3.0) + number
        for number, name in enumerate(("file", "allow_pickle", "a/b", "self"))
    }
    measurement_golden._save(tmp_path / "outputs.npz", outputs)
    assert {name: list(array) for name, array in np.load(tmp_path / "outputs.npz").items()} == {
        k: list(v) for k, v in outputs.items()
    }


class Flying(ProductSession):
    """Three inferences in flight, and a second core in use."""

    in_flight = 3

    def submit(self, inputs: Any, lap: int, keep: bool, copy: bool) -> None:
        self.bind(inputs)
        self.step()
        if keep:
            self.fetched = {**getattr(self, "fetched", {}), lap: self.fetch()}

    def collected(self) -> Mapping[int, Any]:
        fetched, self.fetched = getattr(self, "fetched", {}), {}
        return fetched


class FlyingBackend(Product):
    name = "flying"
    options = {"hint": ""}

    def session(self, weights: Any, cell: Any) -> Any:
        return Flying(weights, attestation())


def test_inferences_in_flight_are_a_difference_unless_asked_for(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch, f"flying={__name__}:FlyingBackend")
    said = "flying: asked for single inferences, ran 3 in flight"
    assert run(folders, "flying")["asked_is_used"] == said
    asked = run(folders, "flying", options=(("hint", "throughput"),))
    assert asked["asked_is_used"] == ""


def test_cores_beyond_the_threads_are_a_difference(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resident.Turns, "cores", 2.0)
    assert "threads 1, used 2.0 cores" in run(folders)["asked_is_used"]
    assert "used" not in run(folders, threads=2)["asked_is_used"]


def test_an_honest_cell_is_possible(folders: dict[str, Path]) -> None:
    assert run(folders)["impossible"] == ""
