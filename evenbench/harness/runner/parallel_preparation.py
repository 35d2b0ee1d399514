"""Prepares several cells at a time, in threads that wait for worker processes.

All cells of a model need the same inputs and weights, so a thread often waits for an entry of
another thread. Therefore more threads than worker slots run, and later models keep the cores busy.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Collection, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

from evenbench.harness.core.types import Cell
from evenbench.harness.runner import launcher
from evenbench.harness.runner.prepared import Prepared, Refusal
from evenbench.harness.runner.worker_slots import Slots

THREADS_PER_SLOT = 4
"""Cells in preparation per worker slot: enough for the cells of two models of the default suite."""

KILL_SECONDS = 0.1
"""How long to wait for threads after their workers were killed, before killing again."""

Call = Callable[[], None]

_calls = threading.local()


def on_callers_thread(function: Callable[..., None], *arguments: Any) -> None:
    """Call `function` on the thread that runs `prepare_all`; without `prepare_all`, at once."""
    waiting: queue.SimpleQueue[Call] | None = getattr(_calls, "waiting", None)
    if waiting is None:
        function(*arguments)
    else:
        waiting.put(lambda: function(*arguments))


def prepare_all(
    cells: Sequence[Cell],
    prepare: Callable[[Cell], Prepared],
    begin: Callable[[Cell], None],
    slots: Slots,
) -> Generator[tuple[Cell, Prepared | Refusal]]:
    """Yield every cell with the prepared entries or the refusal, in the given order.

    `prepare` is called in threads, `begin` on the caller's thread before the wait for a cell. An
    error other than Refusal is raised at the cell's turn. Afterwards, and after an interrupt, no
    worker of a thread is left; use `contextlib.closing`, so that an interrupt in the loop's body
    counts too.
    """
    waiting: queue.SimpleQueue[Call] = queue.SimpleQueue()
    ended: dict[int, Prepared | BaseException] = {}
    threads: set[int] = set()

    def enlist() -> None:
        _calls.waiting = waiting
        threads.add(threading.get_ident())

    def prepare_one(number: int, cell: Cell) -> None:
        result: Prepared | BaseException
        try:
            result = prepare(cell)
        except BaseException as error:
            result = error
        waiting.put(lambda: ended.__setitem__(number, result))

    most = max(1, min(len(cells), slots.most * THREADS_PER_SLOT))
    pool = ThreadPoolExecutor(most, "prepare", initializer=enlist)
    jobs: list[Future[None]] = []
    try:
        jobs += [pool.submit(prepare_one, number, cell) for number, cell in enumerate(cells)]
        for number, cell in enumerate(cells):
            begin(cell)
            while number not in ended:
                waiting.get()()
            result = ended.pop(number)
            if isinstance(result, BaseException) and not isinstance(result, Refusal):
                raise result
            yield cell, result
    finally:
        _end(pool, jobs, threads, slots)


def deliver(result: Prepared | Refusal, cell: Cell) -> Prepared:
    """A yielded result in the manner of `prepare`. Raises Refusal."""
    if isinstance(result, Refusal):
        raise result
    return result


def _end(
    pool: ThreadPoolExecutor, jobs: Sequence[Future[None]], threads: Collection[int], slots: Slots
) -> None:
    """Kill the workers of unfinished jobs, and wait for all threads."""
    pool.shutdown(wait=False, cancel_futures=True)
    begun = [job for job in jobs if not job.cancelled()]
    if not all(job.done() for job in begun):
        slots.close()
        launcher.kill_workers_of(threads)
        while wait(begun, KILL_SECONDS).not_done:
            launcher.kill_workers_of(threads)  # a thread was about to start a worker
    pool.shutdown()
    slots.reopen()
