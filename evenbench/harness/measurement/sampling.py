"""Warm-up and sampling of a session: blocks of laps by the plan's limits, and binding cost."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from evenbench.harness.core.measurements import Block, Samples
from evenbench.harness.core.plans import Plan
from evenbench.harness.core.records.sampling import WarmUpRecord
from evenbench.harness.core.session import Laps, Now, Session
from evenbench.harness.core.types import COMPUTE, HOST_TO_HOST
from evenbench.harness.measurement.spot_checks import SpotChecks
from evenbench.harness.measurement.timing import CLOCK, Counters, counted, run_laps
from evenbench.harness.statistics import steady_state
from evenbench.harness.statistics.estimates import median

if TYPE_CHECKING:
    from evenbench.harness.core.session import Arrays

BLOCK_NS = 20_000_000
"""Intended duration of a block: reading counters then costs less than 0.1 %.

Blocks of laps under 40 µs are shorter, because a block has at most 500 laps.
"""

MOST_BLOCK_NS = 2 * BLOCK_NS
"""A block ends after the piece in which this time is over."""

PIECES = 4
"""Pieces of a block, with a look at the clock after each."""

MAX_LAPS = 2000
"""Limit per process and boundary, because sub-microsecond steps would fill the results file."""


INNER_SLACK_NS, INNER_SLACK = 1_000, 0.01
"""Allowed disagreement of two clocks about a lap: the resolution of device events, and a share of
the lap.
"""


def warm_up(
    session: Session, batches: Sequence[Arrays], plan: Plan, now: Now = CLOCK
) -> WarmUpRecord:
    """Run both boundaries until windows of `compute` laps agree, or the plan's time is over.

    Every window of `compute` is followed by one lap of `host_to_host`.
    """
    begin = now()
    windows: list[float] = []
    laps = 0
    while not steady_state.stable(windows, plan.tolerance) and (
        now() - begin < plan.warmup_max_seconds * 1e9 or not windows
    ):
        window = run_laps(session, batches, laps, plan.window, COMPUTE, set(), now)
        run_laps(session, batches, laps, 1, HOST_TO_HOST, set(), now)
        laps += plan.window
        windows.append(median(window.laps_ns))
    return {
        "windows_ns": windows,
        "laps": laps,
        "stable": steady_state.stable(windows, plan.tolerance),
    }


@dataclass
class Sampler:
    """Samples one boundary block by block, and says when the plan's limits are reached."""

    session: Session
    batches: Sequence[Arrays]
    boundary: str
    plan: Plan
    now: Now
    read_counters: Counters
    most_laps: int
    """Limit of a block."""
    typical_ns: float = 0.0
    """The lap time before the first lap, if known."""
    laps_ns: list[int] = field(default_factory=list)
    inner_ns: list[int] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    kept: dict[int, Arrays] = field(default_factory=dict)
    spots: SpotChecks | None = None
    """The random laps whose outputs are compared with the kept ones; None without them."""
    wall_ns: int = 0
    kept_in: set[int] = field(default_factory=set)
    """The numbers of blocks with fetched outputs."""

    def take_block(self) -> None:
        """Take a block of laps between two readings of the counters.

        A block lasts about `BLOCK_NS`, with up to `most_laps`. The first block, without a known lap
        time, takes about a lap per batch, or a window if longer.
        """
        count = self._next_count()
        before, begin = self.read_counters(), self.now()
        laps = self._run(count, begin)
        wall, after = self.now() - begin, self.read_counters()
        self.blocks.append(Block(len(laps.laps_ns), wall, **counted(before, after)))
        self.laps_ns.extend(laps.laps_ns)
        self.inner_ns.extend(laps.inner_ns)
        if laps.kept:
            self.kept_in.add(len(self.blocks) - 1)
        for lap, outputs in laps.kept.items():
            batch = lap % len(self.batches)
            if lap in self._to_keep():
                self.kept[batch] = outputs
            elif self.spots:
                self.spots.add(batch, outputs)
        self.wall_ns += wall

    def _run(self, count: int, begin: int) -> Laps:
        """Run `count` laps; fewer if `MOST_BLOCK_NS` is over.

        On a busy machine some laps take a hundred times longer than others, because threads wait
        at a barrier for a thread without a core. So laps run in pieces, with a look at the clock
        between them, unless the session has a loop of its own.
        """
        own_loop = self.session.in_flight > 1 or type(self.session).laps is not Session.laps
        pieces = [count] if own_loop else _pieces(count)
        laps = Laps([], {}, [])
        for number in pieces:
            first = len(self.laps_ns) + len(laps.laps_ns)
            keep = set(range(first, first + number)) & self._to_keep()
            if self.spots and (not own_loop or self.spots.is_lucky()):
                keep |= self.spots.draw(first, number)
            piece = run_laps(
                self.session, self.batches, first, number, self.boundary, keep, self.now
            )
            laps = Laps(
                [*laps.laps_ns, *piece.laps_ns],
                {**laps.kept, **piece.kept},
                [*laps.inner_ns, *piece.inner_ns],
            )
            if self.now() - begin > MOST_BLOCK_NS:
                break
        return laps

    def _next_count(self) -> int:
        if not self.typical:
            return max(self.plan.window, min(len(self.batches), self.plan.min_samples))
        count = min(int(BLOCK_NS / max(1.0, self.typical)), self.most_laps)
        return max(1, min(count, MAX_LAPS - len(self.laps_ns)))

    @property
    def typical(self) -> float:
        """The median of the last laps in ns; 0 if unknown."""
        recent = self.laps_ns[-self.plan.window :]
        return median(recent) if recent else self.typical_ns

    def _to_keep(self) -> set[int]:
        """The laps of the first two rotations; outputs of the second replace those of the first."""
        rotation = len(self.batches)
        return set(range(rotation)) | set(range(rotation, 2 * rotation))

    @property
    def stable(self) -> bool:
        """Whether the medians of the last blocks agree, and laps do not get faster throughout."""
        medians, tolerance = self._block_medians(), self.plan.tolerance
        return steady_state.stable(medians, tolerance) and not steady_state.fall(medians, tolerance)

    def _block_medians(self) -> list[float]:
        """The medians of blocks, short blocks joined to a window of laps."""
        start, stop, medians = 0, 0, []
        for block in self.blocks:
            stop += block.laps
            if stop - start >= self.plan.window:
                medians.append(median(self.laps_ns[start:stop]))
                start = stop
        return medians

    @property
    def enough(self) -> bool:
        """Whether the plan's minimum is met and every batch was used."""
        count, least_ns = len(self.laps_ns), self.plan.min_seconds * 1e9
        # Quick laps make blocks shorter than intended, but no less numerous.
        blocks_ns = len(self.blocks) * BLOCK_NS
        long_enough = max(self.wall_ns, blocks_ns) >= least_ns or count >= MAX_LAPS
        return long_enough and count >= max(self.plan.min_samples, len(self.batches))

    @property
    def over(self) -> bool:
        """Whether time or laps are used up, and every batch was used."""
        seen = len(self.laps_ns) >= len(self.batches)
        return seen and (
            self.wall_ns >= self.plan.max_seconds * 1e9 or len(self.laps_ns) >= MAX_LAPS
        )

    @property
    def verdict(self) -> Literal["stable", "unstable", "capped"]:
        """`capped` if time ran out before the minimum, `unstable` if the last blocks disagree."""
        if not self.enough:
            return "capped"
        return "stable" if self.stable else "unstable"

    def samples(self) -> dict[str, Samples]:
        """The samples by boundary, with the inner boundary of a session with a second clock."""
        blocks = tuple(self.blocks)
        samples = {
            self.boundary: Samples(
                self.boundary, self.session.clock, tuple(self.laps_ns), self.verdict, blocks
            )
        }
        if self.inner_ns:
            inner = self.session.inner
            samples[inner] = Samples(
                inner, self.session.inner_clock, tuple(self.inner_ns), self.verdict, blocks
            )
        return samples


def _pieces(count: int) -> list[int]:
    """`count` in up to `PIECES` parts of about equal size."""
    parts = min(PIECES, count)
    return [count // parts + (number < count % parts) for number in range(parts)]


def binding(
    samples: Mapping[str, Samples], session: Session, fetching: Collection[int] = ()
) -> float | None:
    """The cost of calling the runtime, in ns per lap: time outside minus time inside. None for a
    session with one clock.

    With an inner clock: the median over `compute` laps of lap - inner lap. Raises ValueError for
    longer inner laps, a sign of a sync without waiting. For a session with its own loop: the median
    over blocks of `host_to_host` of (wall - sum of laps) / laps. The blocks numbered in `fetching`
    are left out if others exist, because transferring kept outputs is no part of a call.
    """
    if session.inner and session.inner in samples:
        return _inner_binding(samples[COMPUTE], samples[session.inner], session)
    if type(session).laps is Session.laps:
        return None
    host, start = samples[HOST_TO_HOST], 0
    costs = []
    for block in host.blocks:
        inside = sum(host.laps_ns[start : start + block.laps])
        costs.append((block.wall_ns - inside) / block.laps)
        start += block.laps
    plain = [cost for number, cost in enumerate(costs) if number not in fetching]
    return median(plain or costs)


def _inner_binding(outer: Samples, inner: Samples, session: Session) -> float:
    pairs = zip(outer.laps_ns, inner.laps_ns, strict=True)
    cost = median([lap - inner_lap for lap, inner_lap in pairs])
    inside = median(inner.laps_ns)
    if cost < -max(INNER_SLACK_NS, INNER_SLACK * inside):
        raise ValueError(
            f"a lap took {-cost:.0f} ns less than the {inside:.0f} ns measured inside by "
            f"{session.inner_clock}: sync() returned before the work was done, or inner_ns() is "
            "wrong"
        )
    return cost
