"""Several cells prepared at a time: a crash loses one cell, an interrupt leaves nothing behind."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from evenbench.harness.core.types import Cell
from evenbench.harness.runner.preparation import Preparer
from evenbench.harness.runner.prepared import Refusal
from evenbench.harness.runner.worker_slots import Slots
from tests.fault_injection.conftest import Register, cells, pids


def at_a_time(count: int) -> Preparer:
    """A preparer with `count` slots, however many cores this machine has."""
    preparer = Preparer(30.0)
    preparer._slots = Slots(30.0, count)
    return preparer


def ignore(cell: Cell) -> None:
    pass


def stages(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "cache").rglob(".stage-*"))


def test_a_crash_refuses_its_own_cell_only(register: Register, tmp_path: Path) -> None:
    register("Fine", "SegfaultInPrepare")
    wanted = [entry.cell for entry in cells("fine", "segfaultinprepare", "fine", "fine")]
    with closing(at_a_time(2).prepare_all(wanted, ignore)) as pairs:
        results = [result for _, result in pairs]
    refusals = [result.reply for result in results if isinstance(result, Refusal)]
    assert [(reply.outcome, reply.signal) for reply in refusals] == [("failed", "SIGSEGV")]
    assert isinstance(results[1], Refusal)
    assert stages(tmp_path) == []


@pytest.mark.parametrize("where", ["waiting", "in the loop"])
def test_an_interrupt_kills_all_workers_and_leaves_no_stage(
    where: str, register: Register, tmp_path: Path
) -> None:
    register("Fine", "HangInPrepare")
    first = ("fine",) if where == "in the loop" else ()
    wanted = [entry.cell for entry in cells(*first, *["hanginprepare"] * 6)]
    notes = tmp_path / "notes"

    def both_hang() -> bool:
        return notes.exists() and len(notes.read_text().splitlines()) == 2

    def interrupt() -> None:
        while not both_hang():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    def prepare() -> None:
        with closing(at_a_time(2).prepare_all(wanted, ignore)) as pairs:
            for _ in pairs:
                while True:  # only the fine cell gets here
                    time.sleep(0.02)

    threading.Thread(target=interrupt, daemon=True).start()
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        prepare()
    assert time.monotonic() - begin < 25
    assert not any(psutil.pid_exists(pid) for pid in pids(tmp_path))
    assert stages(tmp_path) == []
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if name.startswith("prepare")]


def test_after_an_interrupt_the_same_preparer_goes_on(register: Register, tmp_path: Path) -> None:
    register("Fine")
    preparer, wanted = at_a_time(2), [entry.cell for entry in cells(*["fine"] * 4)]
    with closing(preparer.prepare_all(wanted, ignore)) as pairs:
        next(pairs)
    results = [result for _, result in preparer.prepare_all(wanted, ignore)]
    assert not [result for result in results if isinstance(result, Refusal)]
    assert stages(tmp_path) == []
