"""Limits how many worker processes run at a time, while nothing is timed."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from evenbench.harness.environment import cpu, gpu
from evenbench.harness.runner.job import Job, Reply

RESERVE_BYTES = 3 << 30
"""Memory that must be available before a worker starts beside another worker."""

NEIGHBOURS = "workers_beside"
"""The fact of an artifact made beside other workers: the greatest number of them at a time. The
recorded seconds of such an artifact are seconds on shared cores."""


class Ended(Exception):
    """The slots were closed, and no further worker starts."""


@dataclass(eq=False)
class Holder:
    """A worker in a slot, and the greatest number of workers beside it so far."""

    alone: bool
    neighbours: int = 0


@dataclass
class Slots:
    """At most `most` workers at a time. Jobs on a GPU run alone, since builders time GPU kernels.

    A worker killed beside others is repeated alone: the kernel kills when memory runs out, and
    the cell's outcome must not depend on the neighbours. A timeout is final.
    """

    timeout_seconds: float
    most: int = field(default_factory=cpu.cores)
    _changed: threading.Condition = field(default_factory=threading.Condition, init=False)
    _holders: list[Holder] = field(default_factory=list, init=False)
    _waiting_alone: int = field(default=0, init=False)
    _closed: bool = field(default=False, init=False)

    def run(self, job: Job, work: Callable[[Job], Reply]) -> Reply:
        """Do `work(job)` as soon as a slot is free. Raises Ended after `close`."""
        with self._slot(alone=gpu.is_cuda(job.cell.device)) as holder:
            reply = work(job)
        if self._closed:
            raise Ended
        timed_out = reply.wall_seconds >= self.timeout_seconds
        if holder.neighbours and reply.signal == "SIGKILL" and not timed_out:
            _clear(job.folder)
            with self._slot(alone=True):
                return work(job)
        if holder.neighbours and job.task == "prepare" and reply.value is not None:
            return replace(reply, value={**reply.value, NEIGHBOURS: holder.neighbours})
        return reply

    def close(self) -> None:
        """Let no further worker start."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def reopen(self) -> None:
        """Undo `close`."""
        self._closed = False

    @contextlib.contextmanager
    def _slot(self, alone: bool) -> Iterator[Holder]:
        with self._changed:
            self._waiting_alone += alone
            try:
                self._changed.wait_for(lambda: self._closed or self._is_free(alone))
            finally:
                self._waiting_alone -= alone
            if self._closed:
                raise Ended
            holder = Holder(alone)
            self._holders.append(holder)
            for each in self._holders:
                each.neighbours = max(each.neighbours, len(self._holders) - 1)
        try:
            yield holder
        finally:
            with self._changed:
                self._holders.remove(holder)
                self._changed.notify_all()

    def _is_free(self, alone: bool) -> bool:
        if not self._holders:
            return True
        if alone or self._waiting_alone or any(holder.alone for holder in self._holders):
            return False
        return len(self._holders) < self.most and _available_bytes() >= RESERVE_BYTES


def _available_bytes() -> int:
    import psutil

    return int(psutil.virtual_memory().available)


def _clear(folder: str) -> None:
    """Empty a stage folder that a killed worker left half-filled."""
    if folder:
        shutil.rmtree(folder, ignore_errors=True)
        Path(folder).mkdir(parents=True, exist_ok=True)
