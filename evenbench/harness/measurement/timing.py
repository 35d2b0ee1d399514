"""Timed laps: one loop around the verbs of a `Session`, the same for every backend.

Laps of a session with its own loop (a C++ runner) are checked against the wall time passed in this
process; the session names its clock.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from evenbench.harness.core.session import Laps, Now, Session
from evenbench.harness.core.types import COMPUTE, HOST_TO_HOST
from evenbench.harness.environment import cpu_time

if TYPE_CHECKING:
    from evenbench.harness.core.session import Arrays

Counters = Callable[[], tuple[int, int, int, int, int, int]]

CLOCK: Now = time.perf_counter_ns
"""The clock of all laps, except for sessions with their own clock."""


def counters() -> tuple[int, int, int, int, int, int]:
    """Read the counters of `COUNTED`, for this process and for the machine."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    cpu_ns = int((usage.ru_utime + usage.ru_stime) * 1e9)
    return cpu_ns, usage.ru_nivcsw, usage.ru_minflt, usage.ru_majflt, *_machine()


def counters_of(session: Session) -> tuple[int, int, int, int, int, int]:
    """`counters` of the computing process: this process, or the session's own program."""
    used = session.usage()
    if used is None:
        return counters()
    return used.cpu_ns, used.preemptions, used.minor_faults, used.major_faults, *_machine()


COUNTED = ("cpu_ns", "preemptions", "minor_faults", "major_faults", "steal_ticks", "machine_cpu_ns")
"""The names of `counters` in order, as in `Block`."""


def counted(before: Sequence[int], after: Sequence[int]) -> dict[str, int]:
    """The growth of each counter between two readings, by name."""
    return {name: late - early for name, early, late in zip(COUNTED, before, after, strict=True)}


def _machine() -> tuple[int, int]:
    """Steal ticks and busy ns of all cores since boot."""
    now = cpu_time.read()
    return now.steal_ticks, now.busy_ns


def run_laps(
    session: Session,
    batches: Sequence[Arrays],
    first: int,
    count: int,
    boundary: str,
    keep: set[int],
    now: Now,
) -> Laps:
    """Run `count` laps from lap number `first`; lap n takes batch n modulo the number of batches.

    `keep` has the numbers of laps with outputs to fetch. In `compute`, inputs are bound and kept
    outputs fetched outside the two readings of the clock.
    """
    if type(session).laps is not Session.laps:
        return _own_laps(session, batches, first, count, boundary, keep, now)
    if session.in_flight > 1:
        return _overlapping_laps(session, batches, first, count, boundary, keep, now)
    loop = _compute_laps if boundary == COMPUTE else _host_to_host_laps
    return loop(session, batches, first, count, keep, now)


def _compute_laps(
    session: Session, batches: Sequence[Arrays], first: int, count: int, keep: set[int], now: Now
) -> Laps:
    bind, step, sync, fetch = session.bind, session.step, session.sync, session.fetch
    rotation = len(batches)
    laps: list[int] = []
    inner: list[int] = []
    kept: dict[int, Arrays] = {}
    for lap in range(first, first + count):
        bind(batches[lap % rotation])
        begin = now()
        step()
        sync()
        end = now()
        laps.append(end - begin)
        if session.inner:
            inner.append(session.inner_ns())
        if lap in keep:
            kept[lap] = fetch()
    return Laps(laps, kept, inner)


def _host_to_host_laps(
    session: Session, batches: Sequence[Arrays], first: int, count: int, keep: set[int], now: Now
) -> Laps:
    bind, step, sync, fetch = session.bind, session.step, session.sync, session.fetch
    rotation = len(batches)
    laps: list[int] = []
    kept: dict[int, Arrays] = {}
    for lap in range(first, first + count):
        batch = batches[lap % rotation]
        begin = now()
        bind(batch)
        step()
        sync()
        outputs = fetch()
        end = now()
        laps.append(end - begin)
        if lap in keep:
            kept[lap] = outputs
    return Laps(laps, kept)


def _overlapping_laps(
    session: Session,
    batches: Sequence[Arrays],
    first: int,
    count: int,
    boundary: str,
    keep: set[int],
    now: Now,
) -> Laps:
    """The mean interval between completions, repeated `count` times. Equally many inferences are in
    flight at the first and the last reading.
    """
    rotation, copy = len(batches), boundary == HOST_TO_HOST
    for lap in range(first, first + session.in_flight):
        session.submit(batches[lap % rotation], lap, False, copy)
    begin = now()
    for lap in range(first, first + count):
        session.submit(batches[lap % rotation], lap, lap in keep, copy)
    end = now()
    session.sync()
    return Laps([max(1, (end - begin) // count)] * count, session.collected())


def _own_laps(
    session: Session,
    batches: Sequence[Arrays],
    first: int,
    count: int,
    boundary: str,
    keep: set[int],
    now: Now,
) -> Laps:
    rotated = [batches[(first + index) % len(batches)] for index in range(len(batches))]
    begin = now()
    laps = session.laps(
        rotated,
        count,
        boundary,
        sorted(lap - first for lap in keep if first <= lap < first + count),
    )
    wall = now() - begin
    if len(laps.laps_ns) != count:
        raise ValueError(f"session returned {len(laps.laps_ns)} laps, expected {count}")
    if sum(laps.laps_ns) > wall:
        raise ValueError(
            f"session's laps add up to {sum(laps.laps_ns)} ns, but only {wall} ns passed; its "
            f"clock {session.clock} is wrong"
        )
    return Laps(laps.laps_ns, {first + lap: outputs for lap, outputs in laps.kept.items()})
