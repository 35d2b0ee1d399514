"""Slots limit workers, keep GPU builders alone, and repeat a killed worker alone."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from evenbench.harness.runner import worker_slots
from evenbench.harness.runner.job import Job, Reply
from evenbench.harness.runner.worker_slots import NEIGHBOURS, Ended, Slots
from tests.unit.builders import cell

JOB = Job("prepare", cell())
ON_A_GPU = Job("prepare", replace(cell(), device="cuda"))


class Counted:
    """A job that takes some milliseconds, and the number of workers at each start."""

    def __init__(self) -> None:
        self.running, self.seen, self.lock = 0, [], threading.Lock()

    def __call__(self, job: Job) -> Reply:
        with self.lock:
            self.running += 1
            self.seen.append((job.cell.device, self.running))
        time.sleep(0.02)
        with self.lock:
            self.running -= 1
        return Reply({})


def run_all(slots: Slots, jobs: list[Job], work: Counted) -> list[Reply]:
    with ThreadPoolExecutor(len(jobs)) as pool:
        return list(pool.map(lambda job: slots.run(job, work), jobs))


def test_no_more_workers_than_slots() -> None:
    work = Counted()
    replies = run_all(Slots(30.0, most=2), [JOB] * 8, work)
    assert max(running for _, running in work.seen) == 2
    assert max(reply.value.get(NEIGHBOURS, 0) for reply in replies) == 1  # type: ignore[union-attr]


def test_one_worker_has_no_neighbours_in_the_facts() -> None:
    assert Slots(30.0, most=2).run(JOB, lambda job: Reply({})).value == {}


def test_gpu_jobs_run_alone() -> None:
    work = Counted()
    run_all(Slots(30.0, most=4), [JOB, ON_A_GPU, JOB, JOB, ON_A_GPU, JOB], work)
    assert [running for device, running in work.seen if device == "cuda"] == [1, 1]
    assert work.running == 0


def test_little_memory_leaves_one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_slots, "_available_bytes", lambda: 1 << 20)
    work = Counted()
    run_all(Slots(30.0, most=4), [JOB] * 4, work)
    assert {running for _, running in work.seen} == {1}


def killed_beside_others(folder: Path, seconds: float) -> tuple[Reply, list[list[str]]]:
    """The reply to a job killed while another runs, and the files in its folder at each start."""
    slots, starts, beside = Slots(30.0, most=2), [], threading.Event()

    def long(job: Job) -> Reply:
        beside.wait(5)
        return Reply({})

    def killed_once(job: Job) -> Reply:
        starts.append([file.name for file in folder.iterdir()])
        (folder / "half").touch()
        beside.set()
        if len(starts) == 1:
            return Reply(None, "failed", "prepare", "killed", "", "SIGKILL", seconds)
        return Reply({})

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(slots.run, JOB, long)
        while not other.running():
            time.sleep(0.001)
        time.sleep(0.02)
        reply = slots.run(replace(JOB, folder=str(folder)), killed_once)
        other.result()
    return reply, starts


def test_a_worker_killed_beside_others_is_repeated_alone_in_an_empty_folder(tmp_path: Path) -> None:
    reply, starts = killed_beside_others(tmp_path, seconds=1.0)
    assert reply.value == {}
    assert starts == [[], []]


def test_a_timeout_is_final(tmp_path: Path) -> None:
    reply, starts = killed_beside_others(tmp_path, seconds=30.0)
    assert (reply.reason, len(starts)) == ("killed", 1)


def test_a_worker_killed_alone_is_not_repeated() -> None:
    dead = Reply(None, "failed", "prepare", "killed", "", "SIGKILL", 1.0)
    assert Slots(30.0, most=2).run(JOB, lambda job: dead) is dead


def test_closed_slots_start_nothing_until_reopened() -> None:
    slots = Slots(30.0, most=1)
    slots.close()
    with pytest.raises(Ended):
        slots.run(JOB, lambda job: Reply({}))
    slots.reopen()
    assert slots.run(JOB, lambda job: Reply({})).value == {}


def test_a_reply_after_the_end_is_not_used() -> None:
    slots = Slots(30.0, most=1)

    def closing(job: Job) -> Reply:
        slots.close()
        return Reply(None, "failed")

    with pytest.raises(Ended):
        slots.run(JOB, closing)
