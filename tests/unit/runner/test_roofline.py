"""The least possible time: formula, counted bytes, and peaks measured once before timing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from evenbench.harness import BATCH, Model, Session, TensorSpec
from evenbench.harness.core import artifact_store, registry
from evenbench.harness.core.cases import Entry
from evenbench.harness.core.plans import PLANS
from evenbench.harness.core.types import FILE_PRECISIONS, PRECISIONS, Cell
from evenbench.harness.results import records
from evenbench.harness.runner import roofline
from evenbench.harness.runner.job import Job, Reply
from evenbench.harness.runner.schedule import Run
from tests.unit.builders import HERE, ROWS, Exact, cell, plan, register, work_here

WORK: Mapping[str, Any] = {
    **{
        "flops": 2_000_000,
        "rule": "",
        "by_operator": {"aten.mm": 2_000_000},
        "uncounted": {},
        "why_not": "",
    },
    **{"weights": 1000, "weight_bytes": None},
}

FOUND: Mapping[str, Any] = {
    **{"library": "torch", "version": "2.0", "cache_bytes": 2**20, "reason": ""},
    **{
        "peak_flops_per_second": 1e9,
        "peak_by": "fp32 product of 8",
        "bandwidth_bytes_per_second": 1e6,
        "bandwidth_by": "sum",
    },
}

PEAKS: Mapping[str, Any] = {"measured": "2026-01-01T00:00:00Z", **FOUND}

IMAGES = Model(
    "m",
    build="a:b",
    inputs=(TensorSpec("x", (BATCH, 5)),),
    outputs=(TensorSpec("y", (BATCH, 2), "int64"),),
)


@pytest.mark.parametrize(
    ("lap_ns", "changed", "machine", "impossible"),
    [
        (2_000_000, {}, "", False),  # the limit
        (130_000, {}, "", False),  # a fifteenth: Winograd, and peaks beside other work
        (120_000, {}, "", True),
        (400, {"peak_flops_per_second": None}, "x86_64", False),  # 5 µs by one core
        (1, {"peak_flops_per_second": None, "flops": 2e9}, "x86_64", True),
        (1, {"peak_flops_per_second": None, "flops": 2e9}, "aarch64", False),
        (1, {"flops": None}, "x86_64", False),
        (1, {"flops": 0}, "x86_64", False),
    ],
)
def test_a_lap_far_below_the_arithmetic_is_impossible(
    lap_ns: float, changed: dict[str, Any], machine: str, impossible: bool
) -> None:
    limit = roofline.of(cell(), WORK, PEAKS) | changed
    reason = roofline.impossible(cell(), lap_ns, limit, machine)
    assert reason.startswith("impossible: ") == impossible


def test_the_slower_of_arithmetic_and_memory_binds() -> None:
    slow_memory = roofline.of(cell(), WORK, PEAKS)
    assert (slow_memory["bound"], slow_memory["least_seconds"]) == (
        "memory",
        pytest.approx(slow_memory["least_bytes"] / 1e6),
    )
    fast_memory = roofline.of(cell(), WORK, {**PEAKS, "bandwidth_bytes_per_second": 1e9})
    assert (fast_memory["bound"], fast_memory["least_seconds"]) == (
        "arithmetic",
        pytest.approx(2e-3),
    )


@pytest.mark.parametrize(
    ("work", "peaks", "reason"),
    [
        ({"flops": None, "why_not": "counting needs a library"}, {}, "counting needs a library"),
        ({}, {"peak_flops_per_second": None, "reason": "no product at bf16"}, "no product at bf16"),
    ],
)
def test_without_a_count_or_a_peak_there_is_no_limit_but_a_reason(
    work: Mapping[str, Any], peaks: Mapping[str, Any], reason: str
) -> None:
    limit = roofline.of(cell(), {**WORK, **work}, {**PEAKS, **peaks})
    assert (limit["least_seconds"], limit["bound"], limit["reason"]) == (None, "", reason)
    assert limit["least_bytes"] > 0


@pytest.mark.parametrize(
    ("precision", "weight_bytes", "tensor_bytes"),
    [
        ("fp32", 4, 4),
        ("tf32", 4, 4),
        ("fp16", 2, 2),
        ("bf16", 2, 2),
        ("int8-static", 1, 4),
        ("int8-dynamic", 1, 4),
    ],
)
def test_weights_count_once_at_their_precision_and_tensors_as_a_step_gets_them(
    precision: str, weight_bytes: int, tensor_bytes: int
) -> None:
    declared = Cell(IMAGES, "product", precision, batch=3)
    assert (
        roofline.least_bytes(declared, WORK)
        == 1000 * weight_bytes + 3 * 5 * tensor_bytes + 3 * 2 * 8
    )
    assert (
        roofline.least_bytes(declared, {**WORK, "weight_bytes": 700})
        == 700 + 3 * 5 * tensor_bytes + 3 * 2 * 8
    ), "a file with smaller weights"


def test_every_precision_has_a_width() -> None:
    assert set(roofline.WEIGHT_BYTES) == {*PRECISIONS, *FILE_PRECISIONS}


def test_peaks_are_measured_once_for_each_device_precision_and_number_of_threads() -> None:
    jobs: list[Job] = []

    def work(job: Job) -> Reply:
        jobs.append(job)
        return Reply(FOUND)

    peaks = roofline.Peaks(work, PLANS["default"])
    cells = [cell(), cell("twin"), cell(batch=4), cell(precision="fp16"), cell(threads=2)]
    for _ in range(2):
        for unknown in peaks.unknown(cells):
            peaks.measure(unknown)
    assert [(job.task, job.cell.backend, job.cell.precision, job.cell.threads) for job in jobs] == [
        ("peaks", "null", "fp32", 1),
        ("peaks", "null", "fp16", 1),
        ("peaks", "null", "fp32", 2),
    ]
    assert peaks.of(cell("twin", batch=8)).items() >= FOUND.items()


def test_quick_plans_measure_none_and_say_so() -> None:
    peaks = roofline.Peaks(lambda job: Reply(FOUND), PLANS["quick"])
    assert list(peaks.unknown([cell()])) == []
    limit = roofline.of(cell(), WORK, peaks.of(cell()))
    assert limit["least_seconds"] is None
    assert "plan quick measures no peaks; use --plan default" in limit["reason"]


def test_unmeasurable_peaks_are_a_reason_and_no_error() -> None:
    peaks = roofline.Peaks(
        lambda job: Reply(None, "failed", "prepare", "it was killed"), PLANS["default"]
    )
    peaks.measure(cell())
    assert (
        roofline.of(cell(), WORK, peaks.of(cell()))["reason"]
        == "the peaks could not be measured: it was killed"
    )
    assert list(peaks.unknown([cell()])) == [], "it would be tried again for every cell"


class Counting(Exact):
    """The golden of the product, with the counted work of a matrix product."""

    def work(self, session: Session) -> Mapping[str, Any]:
        count = 2 * int(np.prod(session.weights.shape)) * len(session.x)  # type: ignore[attr-defined]
        return {
            **WORK,
            "flops": count,
            "by_operator": {"matmul": count},
            "weights": session.weights.size,
        }  # type: ignore[attr-defined]


def test_a_run_measures_the_peaks_after_preparing_and_before_timing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(artifact_store.VARIABLE, str(tmp_path / "cache"))
    register(monkeypatch, ROWS)
    monkeypatch.setenv(
        registry.VARIABLE, f"exact=tests.unit.runner.test_roofline:Counting:golden,{ROWS}"
    )
    monkeypatch.setattr(
        registry, "peaks", lambda cell, seconds: {**FOUND, "peak_by": f"{seconds:g} s"}
    )
    jobs = work_here(monkeypatch)
    cells = [cell(batch=2), cell("twin", batch=2), cell("null")]
    run = Run([Entry(declared) for declared in cells], plan(peak_seconds=0.5), tmp_path / "results")
    lines = run.measure(run.entries)
    tasks = [job.task for job in jobs]
    assert tasks.count("peaks") == 1
    assert tasks.index("peaks") == tasks.index("measure") - 1
    first, second, control = lines
    assert (first["limit"]["flops"], first["limit"]["peak_by"]) == (2 * 4 * 3 * 2, "0.5 s")
    assert first["limit"]["least_bytes"] == 4 * 3 * 4 + 2 * (4 + 3) * 4
    assert second["limit"] == first["limit"]
    assert control["limit"] is None, f"nobody counts what {HERE} does not do"
    for line in lines:
        assert not list(
            jsonschema.Draft202012Validator(records.schema()).iter_errors(
                json.loads(json.dumps(line))
            )
        )
