"""What the machine can do at most: plausible, ordered, and absent with a reason where a library has
no such product.
"""

from __future__ import annotations

import importlib.util
import itertools
from pathlib import Path
from typing import Any

import pytest

from evenbench.backends import hardware_peaks
from evenbench.harness.core.import_path import shared_path
from evenbench.harness.core.plans import PLANS
from evenbench.harness.core.types import Cell
from evenbench.harness.environment import cpu, system_info
from evenbench.harness.runner import launcher
from evenbench.harness.runner.job import Job
from tests.unit.builders import PRODUCT, cell

NOISE = 0.8
TRIES = 4
"""A neighbour on a shared machine takes from any measurement: the best of a few tries counts, and
may still be a little less.
"""


def measured(**axes: Any) -> dict[str, Any]:
    """The peaks as a run has them: from a worker of their own."""
    asked = Cell(PRODUCT, "null", **axes)
    job = Job("peaks", asked, 0.1, sys_path=shared_path())
    reply = launcher.run(job, system_info.for_worker(asked.threads, {}), 120.0)
    assert reply.value is not None, reply
    return dict(reply.value)


@pytest.mark.alone
def test_the_peaks_of_this_machine_are_plausible() -> None:
    """A core does between a billion and a trillion operations in a second, and moves between 0.2
    and 1000 GB.
    """
    one, two = measured(threads=1), measured(threads=2)
    for found in (one, two):
        assert found["reason"] == ""
        assert 1e9 < found["peak_flops_per_second"] < 2e12
        assert 2e8 < found["bandwidth_bytes_per_second"] < 1e12
        assert "fp32 product" in found["peak_by"]
        assert found["bandwidth_by"] in ("copy", "triad", "sum")
        assert found["library"] in ("torch", "numpy")
        assert found["version"]
    if cpu.cores() > 1:
        enough = NOISE * one["peak_flops_per_second"]
        tries = itertools.chain([two], (measured(threads=2) for _ in range(TRIES)))
        assert any(found["peak_flops_per_second"] > enough for found in tries)


@pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="torch is not installed")
@pytest.mark.parametrize("precision", ["bf16", "int8-static"])
def test_a_lower_precision_is_never_slower_than_fp32(precision: str) -> None:
    """A network of lower precision may be computed in fp32, so that this bound holds for what is
    emulated, too.
    """
    found = hardware_peaks._with_torch(cell(precision=precision), 0.02)
    assert found["peak_flops_per_second"] > 1e9
    assert found["peak_by"].split(" ")[0] in ("fp32", precision.partition("-")[0])


@pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="torch is not installed")
def test_a_precision_that_the_library_cannot_do_is_a_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(precision: str, device: str, size: int) -> Any:
        raise RuntimeError("not implemented for 'Half'\nmore")

    monkeypatch.setattr(hardware_peaks, "_product", refuse)
    found = hardware_peaks._with_torch(cell(precision="fp16"), 0.01)
    assert found["peak_flops_per_second"] is None
    assert found["reason"].endswith(
        "has no matrix product at fp16 on cpu: not implemented for 'Half'"
    )
    assert found["bandwidth_bytes_per_second"] > 0


def test_without_torch_numpy_measures_fp32_and_says_what_it_cannot() -> None:
    found = hardware_peaks._with_numpy(cell(), 0.01)
    assert 1e8 < found["peak_flops_per_second"] < 2e12
    assert 1e8 < found["bandwidth_bytes_per_second"] < 1e12
    absent = hardware_peaks._with_numpy(cell(precision="bf16"), 0.01)
    assert absent["peak_flops_per_second"] is None
    assert "numpy has no matrix product at bf16" in absent["reason"]
    with pytest.raises(RuntimeError, match="measured with torch"):
        hardware_peaks._with_numpy(cell(device="cuda"), 0.01)


@pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="torch is not installed")
def test_the_larger_matrix_is_left_out_where_one_product_would_take_too_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes: list[int] = []
    monkeypatch.setattr(
        hardware_peaks, "_product", lambda precision, device, size: sizes.append(size)
    )
    for rate, tried in ((1e6, [256]), (1e15, [256, 1024])):
        monkeypatch.setattr(
            hardware_peaks,
            "_timed",
            lambda work, by, cell, seconds, call, rate=rate: hardware_peaks.Rate(rate, by),
        )
        squares = [
            found.by for found in hardware_peaks._products(cell(), 0.2) if "oneDNN" not in found.by
        ]
        assert squares == [f"fp32 product of {size}" for size in tried]
    assert sizes == [256, 256, 1024]


def test_arrays_are_four_caches_large_within_bounds(tmp_path: Path) -> None:
    for name, size in (("index0", "48K"), ("index3", "32M"), ("index4", "")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "size").write_text(f"{size}\n")
    assert hardware_peaks.cpu_cache_bytes(tmp_path) == 32 * 2**20
    assert hardware_peaks.cpu_cache_bytes(tmp_path / "nowhere") is None
    least, most = hardware_peaks.ARRAY_BYTES
    assert [hardware_peaks._array_bytes(size) for size in (None, 32 * 2**20, 2**31)] == [
        least,
        128 * 2**20,
        most,
    ]


def test_only_plans_that_are_not_quick_measure_them() -> None:
    assert {name: bool(found.peak_seconds) for name, found in PLANS.items()} == {
        "quick": False,
        "default": True,
        "thorough": True,
    }
