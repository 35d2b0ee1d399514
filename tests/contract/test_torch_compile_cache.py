"""A measuring process of torch-compile compiles no kernel: prepare leaves a complete cache."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.models import DIGITS_CNN
from evenbench.backends.torch import precompiled_headers
from evenbench.harness import PLANS, Cell
from evenbench.harness.core import artifact_store
from evenbench.harness.core.cases import Entry
from evenbench.harness.runner.schedule import Run

QUICK = replace(PLANS["quick"], min_seconds=0.0, warmup_max_seconds=0.1)


@pytest.mark.slow
def test_a_measuring_process_finds_every_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(artifact_store.VARIABLE, str(tmp_path / "cache"))
    entries = [Entry(Cell(DIGITS_CNN, "torch-compile"))]
    (line,) = Run(entries, QUICK, tmp_path / "results").measure(entries)
    assert line["outcome"] == "ok", line["traceback"]
    details = line["attested"]["details"]
    assert (details["kernels_compiled"], details["cache_hits"], details["cache_misses"]) == (
        0,
        1,
        0,
    )
    assert line["phases_seconds"]["compile"][0] < line["artifact"]["facts"]["cold_compile_seconds"]


def test_the_names_of_kernels_are_those_of_processes_without_the_setting() -> None:
    from torch._inductor import config, cpp_builder

    if not precompiled_headers.leave_out_of_keys():
        pytest.skip("a torch with other internals")
    with config.patch({precompiled_headers.SETTING: False}):
        plain = precompiled_headers._command(cpp_builder)
        key = config.save_config_portable()
        with precompiled_headers.cold(use=True):
            assert precompiled_headers._command(cpp_builder) == plain
            assert config.save_config_portable() == key
            cold = getattr(config, precompiled_headers.SETTING)
        with precompiled_headers.cold(use=False):
            assert not getattr(config, precompiled_headers.SETTING)
    assert cold or precompiled_headers.platform.machine() != "x86_64"


def test_a_torch_with_other_internals_compiles_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor import config, cpp_builder

    monkeypatch.delattr(cpp_builder, precompiled_headers.DEFINITIONS)
    with config.patch({precompiled_headers.SETTING: False}), precompiled_headers.cold(use=True):
        assert not getattr(config, precompiled_headers.SETTING)
