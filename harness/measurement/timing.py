"""Where nanoseconds are born: one loop for every backend, around the verbs of a `Session`.

No backend can change this loop. A session that must loop on its own (a C++ runner) names its clock,
and its laps are checked against the wall time that passed here.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from harness.core.measurements import Block, Samples
from harness.core.plans import Plan
from harness.core.session import Laps, Now, Session
from harness.core.types import BOUNDARIES, COMPUTE, HOST_TO_HOST
from harness.environment import cpu_time
from harness.statistics import steady_state
from harness.statistics.estimates import median

if TYPE_CHECKING:
    from harness.core.session import Arrays

Counters = Callable[[], tuple[int, int, int, int, int, int]]

CLOCK: Now = time.perf_counter_ns
"""The clock of every lap that a session does not time itself."""

BLOCK_NS = 20_000_000
"""A block lasts about this long, so that reading the counters around it costs under 0.1 %."""

MAX_LAPS = 2000
"""Per process and boundary. Beyond it a sub-microsecond step would only fill the results file."""


INNER_SLACK_NS, INNER_SLACK = 1_000, 0.01
"""By how much two clocks may disagree on one lap: the resolution of device events, and a share of
the lap.
"""


def counters() -> tuple[int, int, int, int, int, int]:
    """This process's CPU ns, involuntary context switches, minor and major page faults; the
    machine's steal ticks and CPU ns.
    """
    usage = resource.getrusage(resource.RUSAGE_SELF)
    cpu_ns = int((usage.ru_utime + usage.ru_stime) * 1e9)
    return cpu_ns, usage.ru_nivcsw, usage.ru_minflt, usage.ru_majflt, *_machine()


def counters_of(session: Session) -> tuple[int, int, int, int, int, int]:
    """`counters` of the process that computes: this one, or the session's own program."""
    used = session.usage()
    if used is None:
        return counters()
    return used.cpu_ns, used.preemptions, used.minor_faults, used.major_faults, *_machine()


COUNTED = ("cpu_ns", "preemptions", "minor_faults", "major_faults", "steal_ticks", "machine_cpu_ns")
"""What `counters` counts, in its order, as `Block` calls it."""


def counted(before: Sequence[int], after: Sequence[int]) -> dict[str, int]:
    """How much each counter grew between two readings, by name."""
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
    """`count` laps starting at lap number `first`; lap n takes batch n modulo their number, and
    `keep` names laps to fetch.

    In `compute` the next input is bound, and kept outputs are fetched, outside the two readings of
    the clock.
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
    """The mean interval between completions, `count` times over, with as many in flight at the
    first reading as at the last.
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
            f"session's laps add up to {sum(laps.laps_ns)} ns, but only {wall} ns passed; its clock {session.clock} is wrong"
        )
    return Laps(laps.laps_ns, {first + lap: outputs for lap, outputs in laps.kept.items()})


def warm_up(
    session: Session, batches: Sequence[Arrays], plan: Plan, now: Now = time.perf_counter_ns
) -> dict[str, Any]:
    """Run both boundaries until windows of laps agree, or until the plan's time is over; returns
    what it took.

    The last window of `compute` decides; `host_to_host` gets one window per window of `compute`.
    """
    begin = now()
    windows: list[float] = []
    laps = 0
    while not steady_state.stable(windows, plan.tolerance) and (
        now() - begin < plan.warmup_max_seconds * 1e9 or not windows
    ):
        taken = run_laps(session, batches, laps, plan.window, COMPUTE, set(), now)
        run_laps(session, batches, laps, 1, HOST_TO_HOST, set(), now)
        laps += plan.window
        windows.append(median(taken.laps_ns))
    return {
        "windows_ns": windows,
        "laps": laps,
        "stable": steady_state.stable(windows, plan.tolerance),
    }


@dataclass
class Sampler:
    """One boundary's laps as they are taken, block by block, until the plan's stop rule is met."""

    session: Session
    batches: Sequence[Arrays]
    boundary: str
    plan: Plan
    now: Now
    read_counters: Counters
    laps_ns: list[int] = field(default_factory=list)
    inner_ns: list[int] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    kept: dict[int, Arrays] = field(default_factory=dict)
    wall_ns: int = 0

    def take_block(self) -> None:
        """One more block: enough laps to last about `BLOCK_NS`, at least a window, and the counters
        around it.
        """
        count = self._next_count()
        keep = set(range(len(self.laps_ns), len(self.laps_ns) + count)) & self._to_keep()
        before, begin = self.read_counters(), self.now()
        laps = run_laps(
            self.session, self.batches, len(self.laps_ns), count, self.boundary, keep, self.now
        )
        wall, after = self.now() - begin, self.read_counters()
        self.blocks.append(Block(count, wall, **counted(before, after)))
        self.laps_ns.extend(laps.laps_ns)
        self.inner_ns.extend(laps.inner_ns)
        self.kept.update({lap % len(self.batches): outputs for lap, outputs in laps.kept.items()})
        self.wall_ns += wall

    def _next_count(self) -> int:
        if not self.laps_ns:
            return max(self.plan.window, min(len(self.batches), self.plan.min_samples))
        typical = max(1.0, median(self.laps_ns[-self.plan.window :]))
        count = max(self.plan.window, min(int(BLOCK_NS / typical), 500))
        return max(1, min(count, MAX_LAPS - len(self.laps_ns)))

    def _to_keep(self) -> set[int]:
        """The second rotation's laps (the first where there is none yet): one output for every
        batch, from the timed loop.
        """
        rotation = len(self.batches)
        return set(range(rotation)) | set(range(rotation, 2 * rotation))

    @property
    def stable(self) -> bool:
        """Whether the medians of the last blocks agree."""
        return steady_state.stable(self._block_medians(), self.plan.tolerance)

    def _block_medians(self) -> list[float]:
        start, medians = 0, []
        for block in self.blocks:
            medians.append(median(self.laps_ns[start : start + block.laps]))
            start += block.laps
        return medians

    @property
    def enough(self) -> bool:
        """Whether the plan's minimum is met; every batch was seen."""
        count = len(self.laps_ns)
        long_enough = self.wall_ns >= self.plan.min_seconds * 1e9 or count >= MAX_LAPS
        return long_enough and count >= max(self.plan.min_samples, len(self.batches))

    @property
    def finished(self) -> bool:
        """The stop rule: enough and stable, or out of time once every batch was seen."""
        seen = len(self.laps_ns) >= len(self.batches)
        over = self.wall_ns >= self.plan.max_seconds * 1e9 or len(self.laps_ns) >= MAX_LAPS
        return (self.enough and self.stable) or (seen and over)

    @property
    def verdict(self) -> Literal["stable", "unstable", "capped"]:
        """`capped` when time ran out before the minimum; `unstable` when the blocks never agreed."""
        if not self.enough:
            return "capped"
        return "stable" if self.stable else "unstable"

    def samples(self) -> dict[str, Samples]:
        """What was taken, by boundary: this one, and the session's inner one where it has a second
        clock.
        """
        blocks = tuple(self.blocks)
        made = {
            self.boundary: Samples(
                self.boundary, self.session.clock, tuple(self.laps_ns), self.verdict, blocks
            )
        }
        if self.inner_ns:
            inner = self.session.inner
            made[inner] = Samples(
                inner, self.session.inner_clock, tuple(self.inner_ns), self.verdict, blocks
            )
        return made


def binding(samples: Mapping[str, Samples], session: Session, kept: int = 0) -> float | None:
    """What calling the runtime costs from here, in ns per lap: time outside less time inside. None
    where one clock saw it all.

    With an inner clock: the median over `compute` laps of lap - inner lap. Raises ValueError where
    the inner laps are the longer ones: the session's sync did not wait. Where the session times
    itself: the median over blocks of `host_to_host`, in which nothing else happens, of (wall - sum
    of laps) / laps. Blocks that begin within the first `kept` laps are left out where there are
    later ones: outputs were kept in them, and handing those over is no part of a call.
    """
    if session.inner and session.inner in samples:
        pairs = zip(samples[COMPUTE].laps_ns, samples[session.inner].laps_ns, strict=True)
        cost = median([outer - inner for outer, inner in pairs])
        inside = median(samples[session.inner].laps_ns)
        if cost < -max(INNER_SLACK_NS, INNER_SLACK * inside):
            raise ValueError(
                f"a lap took {-cost:.0f} ns less than its {inside:.0f} ns by {session.inner_clock}, which it contains: "
                "sync() returned before the work was done, or inner_ns() is wrong"
            )
        return cost
    if type(session).laps is Session.laps:
        return None
    taken, start = samples[HOST_TO_HOST], 0
    costs: dict[int, float] = {}
    for block in taken.blocks:
        inside = sum(taken.laps_ns[start : start + block.laps])
        costs[start] = (block.wall_ns - inside) / block.laps
        start += block.laps
    return median([cost for first, cost in costs.items() if first >= kept] or list(costs.values()))


def sample(
    session: Session,
    batches: Sequence[Arrays],
    plan: Plan,
    now: Now = time.perf_counter_ns,
    read_counters: Counters | None = None,
    observe: Callable[[str], None] = lambda boundary: None,
) -> tuple[dict[str, Samples], Mapping[str, Mapping[int, Arrays]]]:
    """Both boundaries, block by block in turn, so that a disturbance meets both; and the outputs
    kept, by batch number.

    `observe` is told the boundary after each block, outside every clock.
    """
    read = read_counters or (lambda: counters_of(session))
    samplers = [Sampler(session, batches, boundary, plan, now, read) for boundary in BOUNDARIES]
    while not all(sampler.finished for sampler in samplers):
        for sampler in samplers:
            if not sampler.finished:
                sampler.take_block()
                observe(sampler.boundary)
    taken: dict[str, Samples] = {}
    for sampler in samplers:
        taken |= sampler.samples()
    return (
        taken,
        {sampler.boundary: sampler.kept for sampler in samplers},
    )
