"""Sweeps: the order of items, and the parts that a sweep measures."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from evenbench.harness.core.measurements import Artifact
from evenbench.harness.core.types import Cell
from evenbench.harness.results import records
from evenbench.harness.results.run_file import RunFile
from evenbench.harness.runner.job import Reply
from evenbench.harness.runner.journal import Journal
from evenbench.harness.runner.prepared import Prepared, Refusal
from evenbench.harness.runner.sweep import Part, Sweep, rounds
from tests.unit.builders import cell, plan

LETTERS = "abcdefgh"
CELLS = tuple(cell(threads=threads) for threads in range(1, 7))
Work = Callable[[Part], Reply]


def entry(content: str) -> Artifact:
    return Artifact(f"/store/{content}", content, 1, 0.0, False, {"sha256": content})


PREPARED = Prepared(entry("inputs"), entry("artifact"), {}, None)


def measurement(**changed: Any) -> dict[str, Any]:
    """A process's record with correct outputs of the prepared bytes."""
    digests = {"artifact_sha256": "artifact", "input_sha256": "inputs"}
    return {**digests, "asked_is_used": "", "parity": None, **changed}


def test_rounds_has_every_item_once_per_sweep_in_a_new_order() -> None:
    pairs = list(rounds(LETTERS, 4, lambda item, sweep: True, random.Random(0)))
    assert [sweep for sweep, _ in pairs] == [0] * 8 + [1] * 8 + [2] * 8 + [3] * 8
    orders = [tuple(item for number, item in pairs if number == sweep) for sweep in range(4)]
    assert all(sorted(order) == list(LETTERS) for order in orders)
    assert len(set(orders)) == 4


def test_rounds_is_reproducible_by_the_seed() -> None:
    first, again, other = (
        list(rounds(LETTERS, 2, lambda item, sweep: True, random.Random(seed)))
        for seed in (1, 1, 2)
    )
    assert first == again != other


def test_rounds_selects_the_items_at_the_beginning_of_each_sweep() -> None:
    ended: set[str] = set()
    items = []
    for sweep, item in rounds("ab", 3, lambda item, sweep: item not in ended, random.Random(0)):
        items.append((sweep, item))
        ended.add("a")
    assert sorted(items) == [(0, "a"), (0, "b"), (1, "b"), (2, "b")]


def test_rounds_without_items_or_sweeps_is_empty() -> None:
    assert list(rounds("", 3, lambda item, sweep: True, random.Random(0))) == []
    assert list(rounds("ab", 0, lambda item, sweep: True, random.Random(0))) == []


class LoggedSweep:
    """A sweep over `CELLS` with `work` in place of a process, and the order of all calls."""

    def __init__(self, folder: Path, processes: int = 3, seed: int = 0) -> None:
        self.calls: list[tuple[str, int]] = []
        self.sweeps: list[int] = []
        form = records.OUTCOMES
        self.journal = Journal(RunFile.create(folder, {form.key: form.newest}, form))
        self.sweep = Sweep(plan(processes=processes), self.journal, seed)
        self.parts = [Part(declared) for declared in CELLS]

    def prepare(self) -> None:
        for part in self.parts:
            self.sweep.prepare(part, lambda declared: PREPARED)

    def measure(self, work: Work = lambda part: Reply(measurement(), wall_seconds=0.5)) -> None:
        def work_logged(part: Part) -> Reply:
            self.calls.append(("work", part.cell.threads))
            return work(part)

        def begin(part: Part, sweep: int) -> None:
            self.calls.append(("begin", part.cell.threads))
            self.sweeps.append(sweep)

        def end(part: Part) -> None:
            self.calls.append(("end", part.cell.threads))

        self.sweep.measure(self.parts, work_logged, begin, end)

    @property
    def order(self) -> list[int]:
        return [threads for kind, threads in self.calls if kind == "work"]


def only(threads: int, reply: Reply) -> Work:
    """`reply` for the cell with so many threads, and a correct measurement for other cells."""
    return lambda part: reply if part.cell.threads == threads else Reply(measurement())


def test_a_sweep_measures_every_part_in_a_new_order(tmp_path: Path) -> None:
    logged = LoggedSweep(tmp_path)
    logged.prepare()
    logged.measure()
    orders = [tuple(logged.order[start : start + 6]) for start in range(0, 18, 6)]
    assert len(logged.order) == 18
    assert all(sorted(order) == [1, 2, 3, 4, 5, 6] for order in orders)
    assert len(set(orders)) == 3
    assert logged.sweeps == [0] * 6 + [1] * 6 + [2] * 6
    assert all(part.ended == Reply(None) for part in logged.parts)
    assert [len(part.processes) for part in logged.parts] == [3] * 6
    assert logged.parts[0].processes[0]["wall_seconds"] == 0.5


def test_begin_and_end_surround_the_work_of_a_part(tmp_path: Path) -> None:
    logged = LoggedSweep(tmp_path, processes=1)
    logged.prepare()
    logged.measure()
    for start in range(0, len(logged.calls), 3):
        kinds, parts = zip(*logged.calls[start : start + 3], strict=True)
        assert kinds == ("begin", "work", "end")
        assert len(set(parts)) == 1


def test_the_order_differs_between_runs_of_a_seed_and_between_seeds(tmp_path: Path) -> None:
    orders = []
    for number, seed in enumerate((0, 0, 1)):
        logged = LoggedSweep(tmp_path / str(number), seed=seed)
        logged.prepare()
        logged.measure()
        orders.append((logged.journal.run.id, tuple(logged.order)))
    assert len({run for run, _ in orders}) == 3
    assert len({order for _, order in orders}) == 3


def test_the_order_is_reproducible_by_seed_and_run(tmp_path: Path) -> None:
    logged = LoggedSweep(tmp_path)
    logged.prepare()
    logged.measure()
    again = LoggedSweep(tmp_path)
    again.sweep.journal = logged.journal
    for part in again.parts:
        part.prepared = PREPARED
    again.measure()
    assert again.order == logged.order


def test_a_refused_part_is_not_measured(tmp_path: Path) -> None:
    logged, refusal = LoggedSweep(tmp_path), Reply(None, "unsupported", "prepare", "no int8")

    def prepare(declared: Cell) -> Prepared:
        if declared.threads == 2:
            raise Refusal(refusal)
        return PREPARED

    for part in logged.parts:
        logged.sweep.prepare(part, prepare)
    logged.measure()
    assert logged.parts[1].ended == refusal
    assert logged.parts[1].prepared is None
    assert 2 not in logged.order


@pytest.mark.parametrize(
    ("reply", "outcome", "phase", "reason"),
    [
        (Reply(None, "failed", "load", "out of memory"), "failed", "load", "out of memory"),
        (
            Reply(measurement(artifact_sha256="other")),
            "failed",
            "load",
            "artifact_sha256 is other, prepared was artifact",
        ),
        (
            Reply(measurement(input_sha256="other")),
            "failed",
            "load",
            "input_sha256 is other, prepared was inputs",
        ),
        (
            Reply(measurement(asked_is_used="asked for threads 1, ran 2")),
            "fallback",
            "sample",
            "asked for threads 1, ran 2",
        ),
        (
            Reply(measurement(parity={"verdict": "fail", "reason": "logits differ"})),
            "mismatch",
            "parity",
            "logits differ",
        ),
    ],
    ids=["crash", "other artifact", "other inputs", "fallback", "wrong outputs"],
)
def test_a_wrong_or_failed_process_ends_the_part(
    reply: Reply, outcome: str, phase: str, reason: str, tmp_path: Path
) -> None:
    logged = LoggedSweep(tmp_path)
    logged.prepare()
    logged.measure(only(4, reply))
    assert [logged.order.count(threads) for threads in range(1, 7)] == [3, 3, 3, 1, 3, 3]
    wrong = logged.parts[3].ended
    assert wrong is not None
    assert (wrong.value, wrong.outcome, wrong.phase) == (None, outcome, phase)
    assert reason in wrong.reason
    assert logged.journal.processes(CELLS[3].key, PREPARED) == [], (
        "a resumed run would pool a fault"
    )
    assert len(logged.journal.processes(CELLS[0].key, PREPARED)) == 3


def test_processes_of_other_bytes_are_left_out_of_the_record(tmp_path: Path) -> None:
    logged = LoggedSweep(tmp_path)
    logged.prepare()
    logged.measure(only(1, Reply(measurement(artifact_sha256="other"))))
    assert logged.parts[0].processes == []


def unfinished(folder: Path, counts: Mapping[int, int]) -> LoggedSweep:
    """A sweep with `counts` processes per number of threads, kept by an interrupted run."""
    logged = LoggedSweep(folder)
    for threads, count in counts.items():
        for _ in range(count):
            logged.journal.keep(CELLS[threads - 1].key, PREPARED, measurement(wall_seconds=1.0))
    logged.prepare()
    return logged


def test_a_resumed_run_measures_the_missing_processes_only(tmp_path: Path) -> None:
    logged = unfinished(tmp_path, {1: 3, 2: 2})
    assert [part.ended for part in logged.parts] == [Reply(None), *[None] * 5]
    logged.measure()
    assert [logged.order.count(threads) for threads in range(1, 7)] == [0, 1, 3, 3, 3, 3]
    assert [len(part.processes) for part in logged.parts] == [3] * 6


def test_processes_of_other_entries_do_not_count(tmp_path: Path) -> None:
    logged = unfinished(tmp_path, {1: 3})
    other = Prepared(entry("other inputs"), entry("artifact"), {}, None)
    part = Part(CELLS[0])
    logged.sweep.prepare(part, lambda declared: other)
    assert (part.processes, part.ended) == ([], None)
