"""Experiments on a session after its last timed lap: is the time in the laps the time of inference?

The experiments take a few laps outside the record, so no check costs a timed lap anything. A
session cannot tell an experiment from a timed lap: the verbs and the arrays are the same. An
experiment that raises is no evidence, because unusual inputs and orders of verbs may be refused.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from evenbench.harness.core.measurements import IMPOSSIBLE
from evenbench.harness.core.session import Laps, Now, Session
from evenbench.harness.core.types import COMPUTE, HOST_TO_HOST
from evenbench.harness.measurement import fresh_inputs, plausibility
from evenbench.harness.measurement.timing import CLOCK, run_laps
from evenbench.harness.statistics.estimates import median

if TYPE_CHECKING:
    from evenbench.harness.core.session import Arrays

EXPERIMENT_NS = 60_000_000
"""Intended time of the laps of one experiment, within the limits of laps below."""

FEWEST, MOST = 2, 9
"""The limits of an experiment's laps."""

SERIES_NS = 10_000_000
"""Intended time of a series of laps by a session's own clock: calling it costs much less."""

MOST_SERIES_LAPS = 2_000

REPETITIONS = 3
"""Repetitions of a series. The shortest counts, because disturbances only lengthen a series."""

SAME = 1e-3
"""Outputs within this share of their scale count as the same in `follows_bind`."""


@dataclass
class Examination:
    """The experiments on a session with the typical laps of both boundaries, in ns."""

    session: Session
    batches: Sequence[Arrays]
    typical_ns: Mapping[str, float]
    now: Now = CLOCK

    def __post_init__(self) -> None:
        self._random = np.random.default_rng(secrets.randbits(64))
        self._drawn: list[Arrays] = []
        """Keeps new inputs alive, so that none gets the address of an earlier one."""

    def reason(self) -> str:
        """The reason why the laps cannot be those of inference, or an empty string.

        Throughput with several inferences in flight has no single laps to examine.
        """
        if self.session.in_flight > 1 or not all(self.typical_ns.values()):
            return ""
        rules: Sequence[Callable[[], str]] = (
            *((self.own_clock, self.left_out) if self._loops else ()),
            self.follows_bind,
            self.outside_compute,
            self.remembered,
        )
        return next(filter(None, map(_without_errors, rules)), "")

    @property
    def _loops(self) -> bool:
        """Whether the session loops and measures by itself."""
        return type(self.session).laps is not Session.laps

    def _number(self, lap_ns: float) -> int:
        return max(FEWEST, min(MOST, int(EXPERIMENT_NS / max(lap_ns, 1.0))))

    # -- answers that are remembered ---------------------------------------------------------------

    def remembered(self) -> str:
        """Lap times on new inputs against the timed laps; suspects are timed in alternation."""
        known_ns = self.typical_ns[COMPUTE]
        new_ns = list(self._new_laps(self._number(known_ns)))
        if not plausibility.remembers([known_ns], new_ns):
            return ""
        known: list[float] = []
        for lap_ns in self._new_laps(FEWEST + MOST):
            new_ns.append(lap_ns)
            known += self._laps(self.batches[len(known) % len(self.batches)])
        return plausibility.remembers([*known, known_ns], new_ns)

    def _new_laps(self, number: int) -> Iterator[float]:
        """Laps of `compute` on inputs that no process has seen, after a lap on a known input."""
        self._laps(self.batches[0])
        for lap in range(number):
            new = fresh_inputs.fresh(self.batches[lap % len(self.batches)], self._random)
            if new is None:
                return
            self._drawn.append(new)
            yield from self._laps(new)

    def _laps(self, batch: Arrays) -> list[int]:
        """A lap of `compute` on a batch."""
        return run_laps(self.session, [batch], 0, 1, COMPUTE, set(), self.now).laps_ns

    # -- work outside step and sync ----------------------------------------------------------------

    def follows_bind(self) -> str:
        """Whether outputs follow `bind` without a step: then `step` is not the inference."""
        first, second = self.batches[0], self.batches[1 % len(self.batches)]
        before = self._outputs(first)
        without_step = self._outputs(second, step=False)
        after = self._outputs(second)
        if _same(before, after) or not _same(without_step, after):
            return ""
        return (
            f"{IMPOSSIBLE}outputs follow bind without a step, so inference runs in bind or fetch "
            "and compute does not time it"
        )

    def _outputs(self, batch: Arrays, step: bool = True) -> dict[str, Any]:
        self.session.bind(batch)
        if step:
            self.session.step()
        self.session.sync()
        return {name: np.array(array) for name, array in self.session.fetch().items()}

    def outside_compute(self) -> str:
        """Whether `host_to_host` takes far longer than `compute` and copying together."""
        compute_ns, whole_ns = self.typical_ns[COMPUTE], self.typical_ns[HOST_TO_HOST]
        if not plausibility.hides(compute_ns, whole_ns, 0.0):
            return ""  # copying can only explain more
        copying_ns = max([self._copying_ns(lap) for lap in range(MOST)][1:])
        if not plausibility.hides(compute_ns, whole_ns, copying_ns):
            return ""
        taken: dict[str, list[int]] = {COMPUTE: [], HOST_TO_HOST: []}
        for _ in range(self._number(whole_ns)):
            for boundary, laps_ns in taken.items():
                laps_ns += self._series_of(boundary, len(self.batches)).laps_ns
        return plausibility.hides(median(taken[COMPUTE]), median(taken[HOST_TO_HOST]), copying_ns)

    def _copying_ns(self, lap: int) -> float:
        """The time of `bind` and `fetch` without a step."""
        batch, session = self.batches[lap % len(self.batches)], self.session
        begin = self.now()
        session.bind(batch)
        session.sync()
        session.fetch()
        return self.now() - begin

    # -- sessions with a clock of their own --------------------------------------------------------

    def own_clock(self) -> str:
        """The session's clock against the wall time of this process, without the cost of a call.

        The wall time per lap is the difference between a long and a short series.
        """
        count = max(4, min(MOST_SERIES_LAPS, int(SERIES_NS / self.typical_ns[HOST_TO_HOST])))
        passed_ns, reported_ns = [], []
        for _ in range(REPETITIONS):
            short, long = self._series(count), self._series(3 * count)
            passed_ns.append((long[0] - short[0]) / (2 * count))
            reported_ns.append(long[1])
        return plausibility.clock_is_wrong(max(reported_ns), min(passed_ns))

    def left_out(self) -> str:
        """Laps with kept outputs against laps without, in `host_to_host`, where both fetch."""
        count = self._number(self.typical_ns[HOST_TO_HOST])
        plain = [self._series(count)[1] for _ in range(REPETITIONS)]
        kept = [self._series(count, range(count))[1] for _ in range(REPETITIONS)]
        return plausibility.skips_laps(max(plain), min(kept))

    def _series(self, count: int, keep: Iterable[int] = ()) -> tuple[float, float]:
        """The wall time in this process, and the median lap by the session's clock."""
        begin = self.now()
        laps = self._series_of(HOST_TO_HOST, count, keep)
        return self.now() - begin, median(laps.laps_ns)

    def _series_of(self, boundary: str, count: int, keep: Iterable[int] = ()) -> Laps:
        return run_laps(self.session, self.batches, 0, count, boundary, set(keep), self.now)


def _without_errors(rule: Callable[[], str]) -> str:
    try:
        return rule()
    except Exception:  # any runtime's own refusal of an unusual input or order of verbs
        return ""


def _same(left: Mapping[str, Any], right: Mapping[str, Any]) -> bool:
    """Whether outputs agree within `SAME` of their scale."""
    return left.keys() == right.keys() and all(
        array.shape == right[name].shape and _close(array, right[name])
        for name, array in left.items()
    )


def _close(left: Any, right: Any) -> bool:
    if left.dtype.kind not in "fc":
        return bool(np.array_equal(left, right))
    scale = float(np.max(np.abs(right), initial=0.0))
    return bool(np.allclose(left, right, rtol=0.0, atol=SAME * scale, equal_nan=True))
