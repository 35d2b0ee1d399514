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
from evenbench.harness.core.types import BOUNDARIES, COMPUTE, HOST_TO_HOST
from evenbench.harness.measurement import fresh_inputs, plausibility
from evenbench.harness.measurement.timing import CLOCK, run_laps
from evenbench.harness.statistics.estimates import median

if TYPE_CHECKING:
    from evenbench.harness.core.session import Arrays

EXPERIMENT_NS = 60_000_000
"""Intended time of the laps of one experiment, within the limits of laps below."""

FEWEST, MOST = 2, 9
"""The limits of an experiment's laps."""

SERIES_NS = 30_000_000
"""Intended time of a series of laps by a session's own clock: calling it costs much less."""

MOST_SERIES_LAPS = 5_000

REPETITIONS = 3
"""Repetitions of a series. The series in the session's favour counts."""

SAME = 1e-3
"""Outputs within this share of their scale count as the same in `follows_bind`."""


@dataclass
class Examination:
    """The experiments on a session; `laps_ns` has its timed laps, by boundary.

    On a busy machine some laps take a hundred times longer, because threads wait at a barrier for a
    thread without a core. So a rule compares the quickest of the suspect laps with the median of
    the others: noise only lengthens laps, and never accuses.
    """

    session: Session
    batches: Sequence[Arrays]
    laps_ns: Mapping[str, Sequence[float]]
    now: Now = CLOCK

    def __post_init__(self) -> None:
        self.typical_ns = {name: median(laps) for name, laps in self.laps_ns.items() if laps}
        self._random = np.random.default_rng(secrets.randbits(64))
        self._drawn: list[Arrays] = []
        """Keeps new inputs alive, so that none gets the address of an earlier one."""

    def reason(self) -> str:
        """The reason why the laps cannot be those of inference, or an empty string.

        Throughput with several inferences in flight has no single laps to examine.
        """
        typical_ns = [self.typical_ns.get(name, 0.0) for name in BOUNDARIES]
        if self.session.in_flight > 1 or not all(typical_ns):
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
        """Whether even the quickest `host_to_host` lap takes far longer than `compute` and copying.

        Suspects run both boundaries again, in alternation.
        """
        taken: dict[str, list[float]] = {name: [*self.laps_ns[name]] for name in BOUNDARIES}

        def hidden(copying_ns: float) -> str:
            return plausibility.hides(median(taken[COMPUTE]), min(taken[HOST_TO_HOST]), copying_ns)

        if not hidden(0.0):
            return ""  # copying can only explain more
        copying_ns = max([self._copying_ns(lap) for lap in range(MOST)][1:])
        if not hidden(copying_ns):
            return ""
        again: list[float] = []
        for _ in range(self._number(self.typical_ns[HOST_TO_HOST])):
            again += self._series_of(COMPUTE, len(self.batches)).laps_ns
            taken[HOST_TO_HOST] += self._series_of(HOST_TO_HOST, len(self.batches)).laps_ns
        taken[COMPUTE] = max(taken[COMPUTE], again, key=median)
        return hidden(copying_ns)

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
        """The session's clock against the wall time of this process, over a series of laps."""
        count = max(4, min(MOST_SERIES_LAPS, int(SERIES_NS / self.typical_ns[HOST_TO_HOST])))
        taken = [self._series(count) for _ in range(REPETITIONS)]
        laps_ns, passed_ns = max(taken, key=lambda series: sum(series[0]) / max(series[1], 1))
        return plausibility.clock_is_wrong(sum(laps_ns) / count, passed_ns / count)

    def left_out(self) -> str:
        """Laps with kept outputs against laps without, in `host_to_host`, where both fetch."""
        count = self._number(self.typical_ns[HOST_TO_HOST])
        plain = [median(self._series(count)[0]) for _ in range(REPETITIONS)]
        kept = [min(self._series(count, range(count))[0]) for _ in range(REPETITIONS)]
        return plausibility.skips_laps(max(plain), min(kept))

    def _series(self, count: int, keep: Iterable[int] = ()) -> tuple[list[int], int]:
        """The laps by the session's clock, and the wall time in this process."""
        begin = self.now()
        laps = self._series_of(HOST_TO_HOST, count, keep)
        return laps.laps_ns, self.now() - begin

    def _series_of(self, boundary: str, count: int, keep: Iterable[int] = ()) -> Laps:
        return run_laps(self.session, self.batches, 0, count, boundary, set(keep), self.now)


def after_calls(session: Session, batches: Sequence[Arrays], now: Now = CLOCK) -> str:
    """The reason of a session whose recorded calls are no laps of both boundaries, or "".

    A few laps are timed here, so calls under load and frames of a pipeline are held to the rules of
    `run`.
    """

    def reason() -> str:
        laps_ns: dict[str, list[float]] = {}
        for boundary in BOUNDARIES:
            first = run_laps(session, batches, 0, len(batches), boundary, set(), now).laps_ns
            count = max(FEWEST, min(MOST, int(EXPERIMENT_NS / max(median(first), 1.0))))
            taken = run_laps(session, batches, 0, count, boundary, set(), now).laps_ns
            laps_ns[boundary] = [*first, *taken]
        return Examination(session, batches, laps_ns, now).reason()

    return _without_errors(reason)


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
