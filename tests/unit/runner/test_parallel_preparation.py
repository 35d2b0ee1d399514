"""Several cells at a time: order, refusals and shared entries are as one after the other."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from evenbench.harness.core import artifact_store
from evenbench.harness.core.errors import StoreError
from evenbench.harness.core.types import Cell
from evenbench.harness.runner.job import Job, Reply
from evenbench.harness.runner.parallel_preparation import on_callers_thread, prepare_all
from evenbench.harness.runner.preparation import Preparer
from evenbench.harness.runner.prepared import Prepared, Refusal
from evenbench.harness.runner.worker_slots import Slots
from tests.unit.builders import cell, register, work_here

CELLS = [cell(batch=batch) for batch in range(1, 9)]


def slots(most: int = 2) -> Slots:
    return Slots(30.0, most)


def later_is_faster(one: Cell) -> Prepared:
    time.sleep(0.02 / one.batch)
    if one.batch % 3 == 0:
        raise Refusal(Reply(None, "unsupported", "prepare", f"no batch {one.batch}"))
    return Prepared(one, one, {}, None)  # type: ignore[arg-type]


def ignore(one: Cell) -> None:
    pass


def test_results_come_in_the_given_order() -> None:
    results = list(prepare_all(CELLS, later_is_faster, ignore, slots()))
    assert [one for one, _ in results] == CELLS
    refused = [one.batch for one, result in results if isinstance(result, Refusal)]
    assert refused == [3, 6]


def test_begin_and_events_arrive_on_the_callers_thread_in_order() -> None:
    heard: list[tuple[str, int]] = []
    threads = set()

    def hear(kind: str, batch: int) -> None:
        heard.append((kind, batch))
        threads.add(threading.current_thread())

    def prepare(one: Cell) -> Prepared:
        on_callers_thread(hear, "made", one.batch)
        return later_is_faster(one)

    for _ in prepare_all(CELLS, prepare, lambda one: hear("begin", one.batch), slots()):
        pass
    assert threads == {threading.current_thread()}
    assert [batch for kind, batch in heard if kind == "begin"] == list(range(1, 9))
    assert sorted(batch for kind, batch in heard if kind == "made") == list(range(1, 9))


def test_outside_of_a_preparation_an_event_is_delivered_at_once() -> None:
    heard: list[int] = []
    on_callers_thread(heard.append, 1)
    assert heard == [1]


def test_an_error_that_concerns_all_cells_is_raised_at_its_turn() -> None:
    def prepare(one: Cell) -> Prepared:
        if one.batch == 2:
            raise StoreError("the cache cannot be written")
        return later_is_faster(one)

    pairs = prepare_all(CELLS, prepare, ignore, slots())
    assert next(pairs)[0] is CELLS[0]
    with pytest.raises(StoreError, match="cannot be written"):
        next(pairs)


def test_no_cells_are_prepared_at_once() -> None:
    assert list(prepare_all([], later_is_faster, ignore, slots())) == []


def test_after_a_break_no_cell_is_begun_and_no_thread_is_left() -> None:
    begun = []

    def prepare(one: Cell) -> Prepared:
        begun.append(one.batch)
        time.sleep(0.02)
        return later_is_faster(one)

    cells = [cell(batch=batch) for batch in range(1, 40)]
    with closing(prepare_all(cells, prepare, ignore, slots(1))) as pairs:
        next(pairs)
    assert len(begun) < len(cells)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("prepare")]


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    monkeypatch.setenv(artifact_store.VARIABLE, str(tmp_path))
    register(monkeypatch)
    return work_here(monkeypatch)


def outcomes(prepare: Callable[[list[Cell]], list[object]], cells: list[Cell]) -> list[object]:
    return [
        result.reply.reason if isinstance(result, Refusal) else result.key()  # type: ignore[attr-defined]
        for result in prepare(cells)
    ]


def test_a_preparer_makes_every_entry_once_and_refuses_as_one_after_the_other(
    jobs: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = [
        *(cell(name) for name in ("product", "twin", "null", "absent", "raises")),
        *(cell("product", batch=batch) for batch in (2, 3)),
        cell("product", precision="bf16"),
    ]

    def in_turn(cells: list[Cell]) -> list[object]:
        preparer, results = Preparer(30.0), []
        for one in cells:
            try:
                results.append(preparer.prepare(one))
            except Refusal as refusal:
                results.append(refusal)
        return results

    def at_a_time(cells: list[Cell]) -> list[object]:
        return [result for _, result in Preparer(30.0).prepare_all(cells, ignore)]

    expected = outcomes(in_turn, cells)
    counted = Counter((job.task, job.cell.id) for job in jobs)
    jobs.clear()
    monkeypatch.setenv(artifact_store.VARIABLE, str(tmp_path / "other"))
    assert outcomes(at_a_time, cells) == expected
    assert sum(Counter((job.task, job.cell.id) for job in jobs).values()) == counted.total()
    assert not list((tmp_path / "other").rglob(".stage-*"))
