"""MetaSchedule's database as files: trials, recovery after a killed tuner, and estimates.

Only `open_database` and `Coverage.of` import TVM, so that a listing can count trials without TVM.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evenbench.harness import Cell, UsageError
from evenbench.harness.core import artifact_store
from evenbench.harness.environment import system_info
from evenbench.harness.inputs import batches

RECORDS, WORKLOADS = "database_tuning_record.json", "database_workload.json"
"""MetaSchedule's files: a line per trial, a line per task."""

HISTORY = "history.jsonl"
"""Evenbench's file: a line when a tuner starts, and a line with its seconds when it ends."""

LOCK = "lock"

FAILED_SECONDS = 1e9
"""MetaSchedule records failed candidates with times above this."""


def database_folder(cell: Cell) -> Path:
    """Return the folder of a cell's tuning records, per processor, threads and TVM version."""
    parts = {
        "model": cell.model.fingerprint,
        "batch": cell.batch,
        "threads": cell.threads,
        "device": cell.device,
        "machine": machine_key(),
        "tvm": batches.version_of("apache-tvm"),
        **({} if cell.precision == "fp32" else {"precision": cell.precision}),
    }
    return artifact_store.root() / "tuning" / "tvm" / artifact_store.key_of(parts)


def machine_key() -> list[Any]:
    """Return the hardware that kernels are compiled for."""
    system = system_info.describe()
    return [system["cpu"], system["cpu_flags"], system["gpus"]]


def open_database(folder: Path) -> Any:
    """Open or create MetaSchedule's database in `folder`."""
    from tvm.s_tir import meta_schedule

    folder.mkdir(parents=True, exist_ok=True)
    return meta_schedule.database.JSONDatabase(
        path_workload=str(folder / WORKLOADS),
        path_tuning_record=str(folder / RECORDS),
        allow_missing=True,
    )


@contextlib.contextmanager
def lock_for_writing(folder: Path) -> Iterator[None]:
    """Lock the database for writing, and repair partial lines.

    Raises UsageError while another tuner holds the lock: concurrent tuners would overwrite lines.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(
                f"another tuner is writing to {folder}; wait for its end, then retry"
            ) from None
        for name in (WORKLOADS, RECORDS, HISTORY):
            _cut_partial_line(folder / name)
        yield


def _cut_partial_line(file: Path) -> None:
    """Remove the partial last line of a killed tuner; TVM rejects files with such a line."""
    if file.exists():
        complete = _complete_lines(file)
        if len(complete) < file.stat().st_size:
            os.truncate(file, len(complete))


def _complete_lines(file: Path) -> bytes:
    read = file.read_bytes()
    return read[: read.rfind(b"\n") + 1]


def copy_complete(folder: Path, to: Path) -> Path:
    """Copy the complete lines of a database, even during tuning; returns `to`."""
    # Records before workloads, so that each record's workload is present.
    for name in (
        HISTORY,
        RECORDS,
        WORKLOADS,
    ):
        if (folder / name).exists():
            (to / name).write_bytes(_complete_lines(folder / name))
            shutil.copystat(folder / name, to / name)
    return to


def recorded_trials(folder: Path) -> int:
    """Count recorded trials; 0 without a database."""
    return sum(1 for _ in _records(folder))


def _records(folder: Path) -> Iterator[tuple[int, float]]:
    """Yield workload and mean seconds of every trial, in order; infinite for a failed trial."""
    file = folder / RECORDS
    for line in _complete_lines(file).splitlines() if file.exists() else ():
        workload, (_, measured, *_) = json.loads(line)
        seconds = sum(measured) / len(measured) if measured else FAILED_SECONDS
        yield int(workload), seconds if seconds < FAILED_SECONDS else float("inf")


@dataclass(frozen=True)
class Coverage:
    """Tasks of a program by workload number in a database, with the program's calls of each."""

    tasks: int
    calls: dict[int, float]

    @classmethod
    def of(cls, folder: Path, tasks: Sequence[Any]) -> Coverage:
        """Match extracted `tasks` to the database in `folder` by structural hash."""
        import tvm_ffi

        file = folder / WORKLOADS
        lines = _complete_lines(file).splitlines() if file.exists() else []
        numbers = {str(json.loads(line)[0]): number for number, line in enumerate(lines)}
        calls: dict[int, float] = {}
        for task in tasks:
            known = numbers.get(str(tvm_ffi.structural_hash(task.dispatched[0]) % 2**64))
            if known is not None:
                calls[known] = calls.get(known, 0.0) + float(task.weight)
        return cls(len(tasks), calls)

    def measured(self, folder: Path) -> set[int]:
        """Return the workloads with at least one successful trial."""
        return {
            workload
            for workload, seconds in _records(folder)
            if workload in self.calls and seconds != float("inf")
        }

    def curve_us(self, folder: Path) -> list[tuple[int, float]]:
        """Return pairs of trial and estimated microseconds of an inference (best times × calls).

        Contains each improvement, from the first trial with results for all tasks; otherwise empty.
        """
        best = dict.fromkeys(self.calls, float("inf"))
        points: list[tuple[int, float]] = []
        for trial, (workload, seconds) in enumerate(_records(folder), start=1):
            if seconds < best.get(workload, 0.0):
                best[workload] = seconds
                total = sum(best[task] * calls for task, calls in self.calls.items()) * 1e6
                points += (
                    [(trial, total)] if len(best) == self.tasks and total < float("inf") else []
                )
        return points


def record_start(folder: Path, requested: int) -> None:
    """Record the start of a tuner with its requested total of trials.

    The seconds of a killed predecessor end at its last record.
    """
    unfinished = _unfinished_seconds(folder)
    if unfinished:
        _append_history(folder, {"seconds": unfinished})
    _append_history(folder, {"began": time.time(), "wanted": requested})


def requested_trials(folder: Path) -> int:
    """Return the total of trials requested by the last tuner; 0 without a tuner."""
    return int(
        next((line["wanted"] for line in reversed(_read_history(folder)) if "wanted" in line), 0)
    )


def record_end(folder: Path, seconds: float) -> None:
    """Record the end of the current tuner, after `seconds`."""
    _append_history(folder, {"seconds": seconds})


def _append_history(folder: Path, line: dict[str, float]) -> None:
    with (folder / HISTORY).open("a") as history:
        history.write(json.dumps(line) + "\n")


def _read_history(folder: Path) -> list[dict[str, float]]:
    file = folder / HISTORY
    return (
        [json.loads(line) for line in _complete_lines(file).splitlines()] if file.exists() else []
    )


def _unfinished_seconds(folder: Path) -> float:
    """Return the seconds from the last start to the last record, for a tuner without an end."""
    lines = _read_history(folder)
    if not lines or "began" not in lines[-1] or not (folder / RECORDS).exists():
        return 0.0
    return max(0.0, (folder / RECORDS).stat().st_mtime - lines[-1]["began"])


def tuning_seconds(folder: Path) -> float:
    """Return the seconds of all tuners, including killed tuners."""
    return sum(line.get("seconds", 0.0) for line in _read_history(folder)) + _unfinished_seconds(
        folder
    )
