"""A pool of processes over the operator tests: a crash or a hang costs one case."""

from __future__ import annotations

import json
import os
import select
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.operators import cases, judged

SECONDS = 240.0
"""The time limit of a case on all runtimes, also for crashes without an end."""


def run(
    all_cases: Sequence[Any], made_up: bool, processes: int, tell: Callable[[int], None]
) -> list[judged.Record]:
    """The records of all cases, in order of names. `tell` gets the number of finished cases.

    A process is forked before any runtime is loaded, so the cases are collected once.
    """
    waiting = list(range(len(all_cases)))[::-1]
    children: dict[int, _Child] = {}
    found: dict[int, list[judged.Record]] = {}
    while waiting or children:
        while waiting and len(children) < processes:
            child = _Child(all_cases, made_up)
            children[child.reader] = child
            child.give(waiting.pop())
        ready, _, _ = select.select(list(children), [], [], 1.0)
        for reader in ready:
            child = children[reader]
            records = child.records()
            index = child.index
            found[index] = records if records is not None else _lost(all_cases[index], "crashed")
            tell(len(found))
            if records is not None and waiting and child.done < child.LIMIT:
                child.give(waiting.pop())
            else:
                children.pop(reader).end()
        for reader, child in list(children.items()):
            if time.monotonic() - child.began > SECONDS:
                found[child.index] = _lost(all_cases[child.index], f"no end in {SECONDS:g} s")
                children.pop(reader).end()
    return [record for index in sorted(found) for record in found[index]]


def _lost(case: Any, reason: str) -> list[judged.Record]:
    head = {"case": str(case.name), "operator": cases.operator_of(case)}
    empty = {"phase": "", "golden": "", "traceback": ""}
    return [
        {**head, "runtime": runtime, "outcome": "lost", "reason": reason, **empty}
        for runtime in judged.RUNTIMES
    ]


class _Child:
    """A forked process that judges a case at a time."""

    LIMIT = 200
    """Cases of a process, before runtimes that leak memory begin anew."""

    def __init__(self, all_cases: Sequence[Any], made_up: bool) -> None:
        self.index, self.done, self.began = -1, 0, time.monotonic()
        self.reader, write = os.pipe()
        read, self.writer = os.pipe()
        self.process = os.fork()
        if self.process == 0:
            os.close(self.reader)
            os.close(self.writer)
            _serve(all_cases, made_up, read, write)
        os.close(read)
        os.close(write)
        self._replies = os.fdopen(os.dup(self.reader), "rb")

    def give(self, index: int) -> None:
        self.index, self.began = index, time.monotonic()
        os.write(self.writer, f"{index}\n".encode())

    def records(self) -> list[judged.Record] | None:
        """The records of the case; None after a crash."""
        line = self._replies.readline()
        self.done += 1
        return json.loads(line) if line.endswith(b"\n") else None

    def end(self) -> None:
        os.kill(self.process, signal.SIGKILL)
        os.waitpid(self.process, 0)
        self._replies.close()
        os.close(self.reader)
        os.close(self.writer)


def _serve(all_cases: Sequence[Any], made_up: bool, read: int, write: int) -> None:
    """Judge the cases whose numbers arrive, until the end of the input. Never returns."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    try:
        with os.fdopen(read) as numbers, os.fdopen(write, "wb") as replies:
            for line in numbers:
                records = in_own_folder(all_cases[int(line)], made_up)
                replies.write(json.dumps(records).encode() + b"\n")
                replies.flush()
    finally:
        os._exit(0)


def in_own_folder(
    case: Any, made_up: bool = False, runtimes: Sequence[str] = judged.RUNTIMES
) -> list[judged.Record]:
    """The records of a case, with folder and store of its own."""
    before = os.environ.get("EVENBENCH_CACHE")
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as store:
        os.environ["EVENBENCH_CACHE"] = store
        try:
            return judged.judge(case, Path(folder), made_up, runtimes)
        finally:
            if before is None:
                del os.environ["EVENBENCH_CACHE"]
            else:
                os.environ["EVENBENCH_CACHE"] = before


def numbers(records: Sequence[judged.Record]) -> Iterator[tuple[str, str, int]]:
    """The number of cases by runtime and outcome."""
    for runtime in judged.RUNTIMES:
        outcomes = [record["outcome"] for record in records if record["runtime"] == runtime]
        for ending in sorted(set(outcomes)):
            yield runtime, ending, outcomes.count(ending)
