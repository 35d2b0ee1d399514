"""Entries are made once before timing, shared between cells, and made again after a change."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evenbench.harness import Cell, Session
from evenbench.harness.core import artifact_store
from evenbench.harness.runner import interpreters, launcher
from evenbench.harness.runner.job import Job
from evenbench.harness.runner.preparation import Preparer
from evenbench.harness.runner.prepared import Refusal
from tests.unit.builders import ROWS, Product, cell, product, register, work_here


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """The workers' jobs in order, done in this process."""
    monkeypatch.setenv(artifact_store.VARIABLE, str(tmp_path))
    register(
        monkeypatch,
        f"{ROWS},drawn=tests.unit.runner.test_preparation:Drawn,quantises=tests.unit.runner.test_preparation:Quantises",
    )
    return work_here(monkeypatch)


def tasks(jobs: Sequence[Job]) -> list[str]:
    return [f"{job.task} {job.cell.backend}" for job in jobs]


def test_everything_is_made_once_in_order(jobs: list[Job]) -> None:
    prepared = Preparer(30.0).prepare(cell())
    assert tasks(jobs) == [
        "inputs product",
        "weights product",
        "prepare product",
        "prepare exact",
        "golden exact",
    ]
    assert not any(entry.cached for entry in (prepared.inputs, prepared.artifact, prepared.golden))  # type: ignore[union-attr]
    assert prepared.weights["source"] == "own"
    assert prepared.folders() == {
        "inputs": prepared.inputs.path,
        "artifact": prepared.artifact.path,
        "golden": prepared.golden.path,
    }  # type: ignore[union-attr]


def test_a_second_run_starts_no_process(jobs: list[Job]) -> None:
    first = Preparer(30.0).prepare(cell())
    jobs.clear()
    again = Preparer(30.0).prepare(cell())
    assert tasks(jobs) == []
    assert again.artifact.cached
    assert again.artifact.sha256 == first.artifact.sha256


@pytest.mark.parametrize(
    ("change", "remade"),
    [
        (
            {"model": product(arguments={"seed": "1"})},
            [
                "inputs product",
                "weights product",
                "prepare product",
                "prepare exact",
                "golden exact",
            ],
        ),
        ({"options": (("flag", "other"),)}, ["prepare product"]),
        ({"precision": "fp16"}, ["prepare product"]),
        ({"backend": "twin"}, ["prepare twin"]),
        ({"batch": 2}, ["inputs product", "prepare product", "prepare exact", "golden exact"]),
        ({"model": product(name="renamed", task="other")}, []),
        ({"threads": 7}, []),
    ],
    ids=["weights", "flag", "precision", "backend", "batch", "name", "threads"],
)
def test_a_change_makes_the_dependent_entries_again_and_no_others(
    change: dict[str, Any], remade: list[str], jobs: list[Job]
) -> None:
    Preparer(30.0).prepare(cell())
    jobs.clear()
    Preparer(30.0).prepare(cell(**change))
    assert tasks(jobs) == remade


def test_one_changed_weight_is_another_artifact_and_another_golden(jobs: list[Job]) -> None:
    first, other = (
        Preparer(30.0).prepare(cell(model=product(arguments={"seed": seed}))) for seed in "01"
    )
    assert first.weights["sha256"] != other.weights["sha256"]
    assert first.artifact.sha256 != other.artifact.sha256
    assert first.golden.sha256 != other.golden.sha256  # type: ignore[union-attr]


def test_backends_share_inputs_weights_and_golden(jobs: list[Job]) -> None:
    preparer = Preparer(30.0)
    first, second = preparer.prepare(cell()), preparer.prepare(cell("twin"))
    assert (first.inputs, first.weights, first.golden) == (
        second.inputs,
        second.weights,
        second.golden,
    )
    assert tasks(jobs).count("golden exact") == 1


def test_weights_do_not_depend_on_the_batch(jobs: list[Job]) -> None:
    prepared = Preparer(30.0).prepare(cell(batch=3))
    assert [job.cell.batch for job in jobs if job.task in ("inputs", "weights")] == [3, 1, 1]
    assert prepared.inputs.facts["batches"] == 3


def test_a_control_needs_neither_weights_nor_golden(jobs: list[Job]) -> None:
    prepared = Preparer(30.0).prepare(cell("null"))
    assert tasks(jobs) == ["inputs null", "prepare null"]
    assert (prepared.golden, prepared.weights["sha256"]) == (None, "")


def refusal(cell: Cell, preparer: Preparer | None = None) -> Any:
    with pytest.raises(Refusal) as caught:
        (preparer or Preparer(30.0)).prepare(cell)
    return caught.value.reply


def test_an_unsupported_cell_is_refused_before_any_process(
    jobs: list[Job],
) -> None:
    reply = refusal(cell(precision="bf16"))
    assert (reply.outcome, reply.phase, reply.reason) == (
        "unsupported",
        "prepare",
        "product runs fp32, fp16, not bf16",
    )
    assert "runs on cpu, not cuda:1" in refusal(cell(device="cuda:1")).reason
    assert "has no option speed; expected flag" in refusal(cell(options=(("speed", 9),))).reason
    assert jobs == []


def test_a_missing_package_is_unavailable_with_the_install_hint(jobs: list[Job]) -> None:
    reply = refusal(cell("absent"))
    assert (reply.outcome, jobs) == ("unavailable", [])
    assert "no_such_runtime is not installed; see EVENBENCH_BACKENDS" in reply.reason


def test_a_model_without_a_golden_is_unsupported(
    jobs: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    reply = refusal(cell("drawn", model=product(build="", file="model.tflite")))
    assert (reply.outcome, reply.phase) == ("unsupported", "parity")
    assert "no golden can judge product" in reply.reason


def test_a_missing_environment_has_a_hint_with_the_variable(
    jobs: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    reply = refusal(cell("product@1.24.1"))
    assert (reply.outcome, jobs) == ("unavailable", [])
    assert "set EVENBENCH_PYTHON_1_24_1 to its Python" in reply.reason
    assert '[tool.evenbench.environments] "1.24.1" = ' in reply.reason
    monkeypatch.setenv("EVENBENCH_PYTHON_1_24_1", sys.executable)
    assert interpreters.interpreter_for(cell("product@1.24.1")) == sys.executable
    monkeypatch.setattr(
        Product, "artifact_key", lambda backend, cell: {"format": "the same for every version"}
    )
    own, other = Preparer(30.0).prepare(cell()), Preparer(30.0).prepare(cell("product@1.24.1"))
    assert own.artifact.path != other.artifact.path, "an artifact of one version served another"


class Drawn(Product):
    """A backend that fails in `prepare`."""

    name = "drawn"

    def prepare(self, source: Any, cell: Cell, folder: Path) -> Any:
        (folder / "half").write_text("made")
        raise RuntimeError("cannot export")

    def load(self, folder: Path, cell: Cell) -> Session:
        raise AssertionError("never loaded")


def test_a_failure_is_kept_for_the_run_and_leaves_no_files(jobs: list[Job], tmp_path: Path) -> None:
    preparer = Preparer(30.0)
    first = refusal(cell("drawn"), preparer)
    assert (first.outcome, first.phase, first.reason) == (
        "failed",
        "prepare",
        "RuntimeError: cannot export",
    )
    assert "test_preparation.py" in first.traceback
    assert refusal(cell("drawn", threads=2), preparer) == first
    assert tasks(jobs).count("prepare drawn") == 1
    assert list((tmp_path / "artifacts").iterdir()) == []


def test_slow_steps_are_reported_before_the_start(jobs: list[Job]) -> None:
    messages: list[tuple[str, int]] = []
    Preparer(30.0, lambda kind, text: messages.append((kind, len(jobs)))).prepare(cell())
    assert messages == [
        ("inputs", 0),
        ("weights", 1),
        ("artifacts", 2),
        ("artifacts", 3),
        ("goldens", 4),
    ]


def test_workers_find_the_users_code_and_get_the_cells_threads(
    jobs: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, str]] = []
    here = launcher.run
    monkeypatch.setattr(
        launcher,
        "run",
        lambda job, variables, *rest: (seen.append(variables), here(job, variables, *rest))[1],
    )
    monkeypatch.syspath_prepend("/users/own/code")
    Preparer(30.0).prepare(cell(threads=3))
    assert {variables["OMP_NUM_THREADS"] for variables in seen} == {"3"}
    assert all("/users/own/code" in job.sys_path for job in jobs)
    assert not any(entry.startswith(sys.prefix) for job in jobs for entry in job.sys_path)


# -- calibration -----------------------------------------------------------------------------------


class Quantises(Product):
    """A backend that declares int8-static, for tests of calibration data."""

    name = "quantises"
    precisions = ("fp32", "int8-static")


def other_samples(model: Any) -> dict[str, Any]:
    return {"x": np.ones((3, 4), np.float32)}


def static(**changed: Any) -> Any:
    return cell("quantises", model=product(**changed), precision="int8-static")


CALIBRATION = "tests.unit.runner.test_preparation:other_samples"


def test_only_int8_static_gets_calibration(jobs: list[Job]) -> None:
    Preparer(30.0).prepare(cell(model=product(calibration_from=CALIBRATION)))
    assert [task for task in tasks(jobs) if task.startswith("calibration")] == []
    Preparer(30.0).prepare(static(calibration_from=CALIBRATION))
    static_job = next(
        job for job in jobs if job.task == "prepare" and job.cell.precision == "int8-static"
    )
    assert static_job.payload.calibration
    assert "calibration" in static_job.folders


def test_other_calibration_is_another_artifact_of_int8_static_alone(
    jobs: list[Job], tmp_path: Path
) -> None:
    own, theirs = Preparer(30.0), Preparer(30.0)
    first = own.prepare(static(calibration_from=CALIBRATION))
    jobs.clear()
    again = theirs.prepare(static(calibration_from="tests.unit.builders:samples"))
    assert [job.task for job in jobs] == ["calibration", "prepare"]
    assert first.artifact.path != again.artifact.path
    assert first.golden.path == again.golden.path  # type: ignore[union-attr]
    assert first.inputs.path == again.inputs.path


def test_a_model_without_calibration_is_unsupported_with_a_hint(
    jobs: list[Job],
) -> None:
    with pytest.raises(Refusal) as refused:
        Preparer(30.0).prepare(static())
    assert refused.value.reply.outcome == "unsupported"
    assert (
        "takes its ranges from calibration data, and model product declares none"
        in refused.value.reply.reason
    )
