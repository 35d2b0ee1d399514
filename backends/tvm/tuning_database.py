"""MetaSchedule's database as files: what is recorded, what a killed tuner left, and how the
estimate fell with the trials.

TVM is imported by none of this but `opened` and `Coverage.of`, so that a listing can count trials.
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

from harness import Cell, UsageError
from harness.core import artifact_store
from harness.environment import system_info
from harness.inputs import batches

RECORDS, WORKLOADS = "database_tuning_record.json", "database_workload.json"
"""MetaSchedule's own two files: one line per trial, one line per task."""

HISTORY = "history.jsonl"
"""Our own: a line when a tuner begins, and one with its trials and seconds when it ends."""

LOCK = "lock"

FAILED_SECONDS = 1e9
"""MetaSchedule records a candidate that did not run as one that took longer than this."""


def database_folder(cell: Cell) -> Path:
    """The folder of the cell's tuning records, for this processor, these threads and this TVM.
    Imports nothing of TVM.
    """
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
    """What kernels are compiled for."""
    described = system_info.describe()
    return [described["cpu"], described["cpu_flags"], described["gpus"]]


def open_database(folder: Path) -> Any:
    """MetaSchedule's database in `folder`, made empty where it is absent."""
    from tvm.s_tir import meta_schedule

    folder.mkdir(parents=True, exist_ok=True)
    return meta_schedule.database.JSONDatabase(
        path_workload=str(folder / WORKLOADS),
        path_tuning_record=str(folder / RECORDS),
        allow_missing=True,
    )


@contextlib.contextmanager
def lock_for_writing(folder: Path) -> Iterator[None]:
    """Hold the database for writing, mended. Raises UsageError where another tuner has it: they
    would write over each other's lines.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(
                f"another tuner is writing to {folder}; wait until it is done, then go on"
            ) from None
        for name in (WORKLOADS, RECORDS, HISTORY):
            _cut_partial_line(folder / name)
        yield


def _cut_partial_line(file: Path) -> None:
    """Cut off a last line without an end, which a tuner left that was killed while it wrote; TVM
    refuses to read such a file.
    """
    if file.exists():
        whole = _complete_lines(file)
        if len(whole) < file.stat().st_size:
            os.truncate(file, len(whole))


def _complete_lines(file: Path) -> bytes:
    read = file.read_bytes()
    return read[: read.rfind(b"\n") + 1]


def copy_complete(folder: Path, to: Path) -> Path:
    """Copy what is whole of a database, which a tuner may be writing to meanwhile; returns `to`."""
    for name in (
        HISTORY,
        RECORDS,
        WORKLOADS,
    ):  # records before workloads: each record's workload is there already
        if (folder / name).exists():
            (to / name).write_bytes(_complete_lines(folder / name))
            shutil.copystat(folder / name, to / name)
    return to


def recorded_trials(folder: Path) -> int:
    """How many trials are recorded; 0 where there is no database."""
    return sum(1 for _ in _records(folder))


def _records(folder: Path) -> Iterator[tuple[int, float]]:
    """The workload's number and the mean seconds of every trial, in order; infinite for one that
    did not run.
    """
    file = folder / RECORDS
    for line in _complete_lines(file).splitlines() if file.exists() else ():
        workload, (_, measured, *_) = json.loads(line)
        seconds = sum(measured) / len(measured) if measured else FAILED_SECONDS
        yield int(workload), seconds if seconds < FAILED_SECONDS else float("inf")


@dataclass(frozen=True)
class Coverage:
    """The tasks of a program by their workload's number in a database, with how often the program
    calls each.
    """

    tasks: int
    calls: dict[int, float]

    @classmethod
    def of(cls, folder: Path, tasks: Sequence[Any]) -> Coverage:
        """Which of the extracted `tasks` the database in `folder` knows, by the structural hash
        that it files them under.
        """
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
        """The workloads that have at least one trial that ran."""
        return {
            workload
            for workload, seconds in _records(folder)
            if workload in self.calls and seconds != float("inf")
        }

    def curve_us(self, folder: Path) -> list[tuple[int, float]]:
        """Trials so far, and the estimated microseconds of one inference: the best of each task
        times its calls.

        Begins where every task has a trial that ran, and holds the points at which it fell; empty
        where some task has none.
        """
        best = dict.fromkeys(self.calls, float("inf"))
        points: list[tuple[int, float]] = []
        for trial, (workload, seconds) in enumerate(_records(folder), start=1):
            if seconds < best.get(workload, 0.0):
                best[workload] = seconds
                total = sum(best[each] * calls for each, calls in self.calls.items()) * 1e6
                points += (
                    [(trial, total)] if len(best) == self.tasks and total < float("inf") else []
                )
        return points


def record_start(folder: Path, wanted: int) -> None:
    """Note that a tuner begins, which wants so many trials in all. Where the one before was killed,
    its last record ends its seconds.
    """
    unfinished = _unfinished_seconds(folder)
    if unfinished:
        _append_history(folder, {"seconds": unfinished})
    _append_history(folder, {"began": time.time(), "wanted": wanted})


def requested_trials(folder: Path) -> int:
    """How many trials in all the last tuner wanted; 0 where none began."""
    return int(
        next((line["wanted"] for line in reversed(_read_history(folder)) if "wanted" in line), 0)
    )


def record_end(folder: Path, seconds: float) -> None:
    """Note that the tuner that began ended, after so many seconds."""
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
    """The seconds from the last beginning to the last record, where that tuner never ended."""
    lines = _read_history(folder)
    if not lines or "began" not in lines[-1] or not (folder / RECORDS).exists():
        return 0.0
    return max(0.0, (folder / RECORDS).stat().st_mtime - lines[-1]["began"])


def tuning_seconds(folder: Path) -> float:
    """The seconds that were spent on tuning into this database, by tuners that were killed as well."""
    return sum(line.get("seconds", 0.0) for line in _read_history(folder)) + _unfinished_seconds(
        folder
    )
