"""TVM under the contract, untuned; and tuned for real: trials are kept, counted, applied, and
survive a killed tuner.
"""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from benchmarks.models import DIGITS_CNN
from evenbench.backends.tvm import compilation, tuning_database
from evenbench.harness import PLANS, Cell, Unsupported
from evenbench.harness.core import artifact_store, registry
from evenbench.harness.core.cases import Entry
from evenbench.harness.environment import cpu
from evenbench.harness.results.records import Record
from evenbench.harness.runner import tuning
from evenbench.harness.runner.schedule import Run
from evenbench.harness.statistics import estimates as statistics
from evenbench.harness.testing import BackendContract, fresh_registry

pytest.importorskip("tvm")

CELL = Cell(DIGITS_CNN, "tvm", threads=cpu.cores())
TASKS = 6

BENCH = """
from benchmarks.models import DIGITS_CNN
from harness import Case
two = Case((DIGITS_CNN,), backends=("tvm",), batch=(2,))
"""


class TestTvm(BackendContract):
    name = "tvm"


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp16", "int8-static"])
def test_a_lower_precision_is_right_and_says_that_it_is_stored_only(
    precision: str, tmp_path: Path
) -> None:
    (line,) = measured(tmp_path, replace(CELL, precision=precision))
    assert line["outcome"] == "ok", line["reason"]
    assert line["attested"]["precision"] == precision
    assert line["attested"]["emulated"] or precision == "fp16"
    assert line["accuracy"]["value"] > 0.9


def test_what_the_mixed_precision_pass_does_not_take_is_unsupported() -> None:
    from tvm import relax

    builder, image = relax.BlockBuilder(), relax.Var("image", relax.TensorType((1, 4), "float32"))
    with builder.function("main", [image]):
        with builder.dataflow():
            product = builder.emit(relax.op.matmul(image, relax.const(np.ones((4, 4), np.float32))))
            output = builder.emit_output(builder.emit(relax.op.clip(product, 0, 6)))
        builder.emit_func_output(output)
    with pytest.raises(Unsupported, match="a constant as argument"):
        compilation._to_mixed_precision(builder.get())


@pytest.fixture(scope="module")
def own_tuning(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The cache that everybody has, but for the folder of tuning records, which is empty."""
    here, own = artifact_store.root(), tmp_path_factory.mktemp("cache")
    for kind in ("inputs", "weights", "goldens", "artifacts"):
        (here / kind).mkdir(parents=True, exist_ok=True)
        (own / kind).symlink_to(here / kind)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(artifact_store.VARIABLE, str(own))
        yield own


def tuned(per_task: int, cell: Cell = CELL) -> dict[str, Any]:
    (result,) = tuning.run([cell], per_task, 300.0, Console(file=io.StringIO()))
    return result


def measured(results: Path, *cells: Cell) -> list[Record]:
    entries = [Entry(cell) for cell in cells]
    run = Run(entries, replace(PLANS["quick"], processes=2), results, fresh=True)
    return run.measure(entries)


def level_ns(line: Record) -> float:
    return statistics.median(statistics.process_values(line["samples_ns"]["compute"]))


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.usefixtures("own_tuning")
def test_tuning_is_kept_counted_applied_and_faster(tmp_path: Path) -> None:
    (before,) = measured(tmp_path, CELL)
    assert (before["outcome"], before["labels"]) == ("ok", ["untuned"])
    assert before["artifact"]["facts"]["tuning"]["tasks_without_record"] == TASKS

    first = tuned(1)
    assert first["outcome"] == "ok", first
    assert first["before"] == 0
    assert first["trials"] == TASKS
    again = tuned(2)
    assert again["before"] == first["trials"]
    assert again["trials"] > first["trials"]
    assert again["facts"]["tasks_without_record"] == 0
    assert again["facts"]["seconds"] > first["facts"]["seconds"] > 0

    (after,) = measured(tmp_path, CELL)
    assert (after["outcome"], after["labels"]) == ("ok", [f"tuned({again['trials']})"])
    assert after["artifact_sha256"] != before["artifact_sha256"]
    assert after["parity"]["needed"] <= 1
    assert after["artifact"]["facts"]["tuning"] == again["facts"]
    estimates = [microseconds for _, microseconds in again["facts"]["curve_us"]]
    assert estimates == sorted(estimates, reverse=True)
    assert level_ns(after) < level_ns(before) / 3, (
        "some twenty times faster on idle cores; three leaves room for a busy machine"
    )


@pytest.mark.nightly
@pytest.mark.slow
def test_a_killed_tuner_leaves_what_the_next_one_goes_on_with(own_tuning: Path) -> None:
    cell = replace(CELL, batch=2)
    folder = tuning_database.database_folder(cell)
    file = own_tuning / "bench_two.py"
    file.write_text(BENCH)
    command = subprocess.Popen(
        [sys.executable, "-m", "evenbench.harness.cli", "tune", str(file), "--trials", "50"],
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 300
        while tuning_database.recorded_trials(folder) < TASKS:
            assert time.monotonic() < deadline
            assert command.poll() is None
            time.sleep(0.2)
        command.send_signal(signal.SIGINT)
        assert command.wait(60) == 130
    finally:
        # where this test fails, the command must not keep the lock for measuring from later tests
        command.kill()
        command.wait()
    kept = tuning_database.recorded_trials(folder)
    assert TASKS <= kept < 50 * TASKS
    with (folder / tuning_database.RECORDS).open("a") as records:
        records.write(
            json.dumps([0, [[], [1e-6]]])[:-4]
        )  # as a tuner leaves it that is killed while it writes
    result = tuned(kept // TASKS + 1, cell)
    assert result["outcome"] == "ok", result
    assert result["before"] == kept
    assert result["trials"] > kept


@pytest.fixture
def dying(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(registry.VARIABLE, "dying=tests.fault_injection.dying_tuner:Dying")
    with fresh_registry():
        yield


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.usefixtures("own_tuning", "dying")
def test_a_tuner_that_dies_is_an_outcome_and_another_goes_on() -> None:
    cell = replace(CELL, batch=3)
    died = tuned(1, replace(cell, backend="dying"))
    assert (died["outcome"], died["signal"], died["reason"]) == (
        "failed",
        "SIGABRT",
        "tune was ended by SIGABRT",
    )
    result = tuned(1, cell)
    assert (result["outcome"], result["before"]) == ("ok", died["trials"])
    assert result["facts"]["tasks_without_record"] == 0
