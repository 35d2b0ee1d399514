"""The story of one process: the phases, what was asked against what ran, and the verdict on the
outputs of the timed loop.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import Attestation
from harness.core import registry
from harness.core.types import BOUNDARIES, COMPUTE
from harness.measurement import golden as measurement_golden
from harness.measurement import judging, phases, provenance, resident
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

WEIGHTS = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """What a prepared cell finds on the disk: an artifact, five input batches, and their golden
    outputs.
    """
    register(monkeypatch)
    made = {name: tmp_path / name for name in ("artifact", "inputs", "golden")}
    for folder in made.values():
        folder.mkdir()
    x = samples(product())["x"][:, None, :]
    np.save(made["artifact"] / "weights.npy", WEIGHTS)
    np.save(made["inputs"] / "x.npy", x)
    np.savez(made["golden"] / "outputs.npz", y=x.astype(np.float64) @ WEIGHTS.astype(np.float64))
    (made["golden"] / "facts.json").write_text(
        json.dumps({"kind": "float64 numpy", "own_rmse": {}})
    )
    return made


def run(
    folders: Mapping[str, Path], backend: str = "product", golden: bool = True, **changed: Any
) -> dict[str, Any]:
    return resident.run(
        cell(backend, **changed),
        plan(),
        {name: folder for name, folder in folders.items() if golden or name != "golden"},
    )


def test_a_run_tells_everything_that_is_recorded(folders: dict[str, Path]) -> None:
    found = run(folders)
    assert found["parity"]["verdict"] == "pass"
    assert found["asked_is_used"] == ""
    assert set(found["phases_seconds"]) == {
        "load",
        "compile",
        "first_step",
        "warm_up",
        "sample",
        "parity",
    }
    assert all(seconds >= 0 for seconds in found["phases_seconds"].values())
    for boundary in BOUNDARIES:
        assert len(found["samples_ns"][boundary]) >= plan().min_samples
        assert sum(block["laps"] for block in found["blocks"][boundary]) == len(
            found["samples_ns"][boundary]
        )
    assert found["clock"] == "time.perf_counter_ns"
    assert found["attested"]["runtime"] == "numpy"
    assert found["peak_rss_bytes"] > 1_000_000
    assert json.loads(json.dumps(found, allow_nan=False)) == found, (
        "the parent would read something else"
    )


def test_one_weight_that_is_5_percent_too_large_fails(folders: dict[str, Path]) -> None:
    found = run(folders, "oneweight")["parity"]
    assert (found["verdict"], found["needed"] > 10) == ("fail", True)


def test_a_control_is_not_judged(folders: dict[str, Path]) -> None:
    assert run(folders, golden=False)["parity"] is None


class Shy(ProductSession):
    """Right at every step but one."""

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
def test_what_is_judged_comes_out_of_the_timed_loop(
    wrong_at: int, verdict: str, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a warm-up, step 1 is the first step, 2-6 and 7-11 the first laps of both boundaries,
    and 14 a kept lap.
    """
    register(monkeypatch, "shy=tests.unit.measurement.test_resident:ShyBackend")
    monkeypatch.setattr(
        resident.sampling,
        "warm_up",
        lambda session, batches, plan: {"windows_ns": [], "laps": 0, "stable": True},
    )
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
def test_asked_that_is_not_used_is_said(change: dict[str, Any], said: str) -> None:
    assert provenance.difference(cell("ort"), attestation(**change)) == said


@pytest.mark.parametrize(
    "missing", ["runtime", "version", "device", "precision", "denormals", "spinning", "threads"]
)
def test_an_incomplete_attestation_is_an_error_that_names_what_is_missing(missing: str) -> None:
    with pytest.raises(
        phases.PhaseError, match=rf"ort: attest\(\) left {missing} empty; read it from the runtime"
    ) as caught:
        provenance.difference(
            cell("ort"), attestation(**{missing: 0 if missing == "threads" else ""})
        )
    assert caught.value.phase == "sample"


def test_a_fallback_is_measured_and_said(folders: dict[str, Path]) -> None:
    found = run(folders, "narrows", precision="fp16")
    assert found["asked_is_used"] == "narrows: asked for precision fp16, ran fp32"


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
    found = run(folders, backend, golden=False, model=product(evaluation=held_out), batch=batch)
    assert found["accuracy"] == {"metric": "top-1", "value": 6 / 7, "count": 7}


def test_a_model_without_held_out_samples_has_no_accuracy(folders: dict[str, Path]) -> None:
    assert run(folders)["accuracy"] is None


def test_an_exception_carries_its_phase_and_its_time_is_kept() -> None:
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
            r"output y has the shapes \[1\], \[2\], .*--task detection \(docs/tasks\.md",
        ),
    ],
)
def test_outputs_that_are_missing_or_named_differently_are_errors(kept: Any, message: str) -> None:
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
    asked = cell("exact")
    np.save(folders["artifact"] / "weights.npy", WEIGHTS.astype(np.float64))
    judge = registry.golden_for(asked)
    return measurement_golden.make_golden(
        asked, judge, folders["artifact"], folders["inputs"], {}, tmp_path
    )  # type: ignore[return-value]


def test_a_golden_is_float64_and_says_what_it_is(folders: dict[str, Path], tmp_path: Path) -> None:
    assert golden(folders, tmp_path) == {
        "kind": "float64 numpy",
        "own_rmse": {},
        "accuracy": None,
        "work": {},
    }
    made = np.load(tmp_path / "outputs.npz")["y"]
    assert (made.dtype, made.shape) == (np.float64, (5, 1, 3))
    assert np.array_equal(
        made, np.load(folders["inputs"] / "x.npy").astype(np.float64) @ WEIGHTS.astype(np.float64)
    )


def test_a_golden_that_does_not_agree_with_itself_is_refused(
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
    asked = cell("null")
    session = registry.find("null").load(Path("unused"), asked)
    used: Attestation = session.attest()
    assert provenance.difference(asked, used) == ""


def test_outputs_may_have_any_name(tmp_path: Path) -> None:
    outputs = {
        name: np.arange(3.0) + number
        for number, name in enumerate(("file", "allow_pickle", "a/b", "self"))
    }
    measurement_golden._save(tmp_path / "outputs.npz", outputs)
    assert {name: list(array) for name, array in np.load(tmp_path / "outputs.npz").items()} == {
        k: list(v) for k, v in outputs.items()
    }
