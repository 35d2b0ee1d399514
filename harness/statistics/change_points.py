"""Steps in a series: airspeed velocity's detection, or Apache Otava's, finds the levels; the rules
here say which of them is an alarm.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile

from harness.core.errors import UsageError
from harness.statistics.estimates import median

LEAST_AFTER = 3
"""A step counts when so many points lie after it, and a level can be a best value when it has so
many itself.
"""

SPREADS = 3.0
"""The margin is at least so many robust standard deviations of the series about its levels."""

LEAST_THIRD = 5
"""Points of a third of a level, so that its median is no outlier."""

NORMAL = 1.4826
"""Standard deviations of a normal distribution per median absolute deviation."""

WORSE, BETTER = "worse", "better"


@dataclass(frozen=True)
class Level:
    """Points `start` to `stop`, not included, which lie about `value`."""

    start: int
    stop: int
    value: float

    @property
    def length(self) -> int:
        """How many points it has."""
        return self.stop - self.start


@dataclass(frozen=True)
class Accepted:
    """A level that somebody accepted, from the point at `start` on."""

    start: int
    value: float


@dataclass(frozen=True)
class Change:
    """A step, or several in a row, that lasts to the end of the series. `start` is its first point,
    `points` how many lie after it, `before` the level that it left, `after` the last one, and
    `settled` the first point of that."""

    kind: str
    start: int
    points: int
    before: float
    after: float
    settled: int

    @property
    def ratio(self) -> float:
        """After over before; above 1 is worse."""
        return self.after / self.before

    @property
    def is_alarm(self) -> bool:
        """Whether enough points lie after it; a younger step may still be an outlier."""
        return self.points >= LEAST_AFTER


def levels(values: Sequence[float], detector: str = "asv") -> list[Level]:
    """The levels that one of `DETECTORS` finds. Points are not weighted: the widths of intervals
    over a handful of processes are noise.

    Raises UsageError where the detector is not installed.
    """
    if len(values) <= LEAST_AFTER:
        return [Level(0, len(values), median(values))] if values else []
    # Detectors take floats of any size, but asv's tolerances are absolute: nanoseconds and bytes
    # are brought to about 1.
    scale = median(values)
    return [
        Level(each.start, each.stop, each.value * scale)
        for each in DETECTORS[detector]([value / scale for value in values])
    ]


def _asv(values: Sequence[float]) -> list[Level]:
    """The piecewise constant fit of asv's `step_detect` (an L1 Potts functional, its penalty chosen
    by a BIC-like rule).
    """
    try:
        from asv.step_detect import detect_steps
    except ImportError as error:
        raise UsageError(
            "steps are found by airspeed velocity, which is not installed; pip install 'evenbench[asv]'"
        ) from error
    return [Level(start, stop, value) for start, stop, value, _, _ in detect_steps(values)]


def _otava(values: Sequence[float]) -> list[Level]:
    """Otava's change points (M. Fleming et al., Hunter, ICPE 2023: energy distances, then Student's
    t at 0.001), cut at each of them.
    """
    import numpy as np

    try:
        from otava.analysis import compute_change_points
    except ImportError as error:
        raise UsageError(
            "Apache Otava is not installed; it pins an older numpy, so give it an environment of its own, which needs no runtime: "
            "pip install 'evenbench[otava]'"
        ) from error
    with np.errstate(
        divide="ignore", invalid="ignore"
    ):  # sizes do not vary at all, and so have no t
        found, _ = compute_change_points(values)
    cuts = [0, *(int(each.index) for each in found), len(values)]
    return [Level(start, stop, median(values[start:stop])) for start, stop in pairwise(cuts)]


DETECTORS: Mapping[str, Callable[[Sequence[float]], list[Level]]] = {"asv": _asv, "otava": _otava}
"""What finds levels in values of about 1, by the name on the command line."""


def drifts(values: Sequence[float], found: Sequence[Level], allowed: float) -> list[Level]:
    """`found` with a level in three where its last third lies off its first by the margin or more.

    asv's fit takes correlation into account, so a steady decline is one level to it. Medians of
    thirds see it; a level of fewer than three times `LEAST_THIRD` points stays whole.
    """
    made: list[Level] = []
    for each in found:
        third = each.length // 3
        cuts = (each.start, each.start + third, each.stop - third, each.stop)
        parts = (
            [Level(start, stop, median(values[start:stop])) for start, stop in pairwise(cuts)]
            if third >= LEAST_THIRD
            else []
        )
        drifted = bool(parts) and abs(math.log(parts[-1].value / parts[0].value)) >= math.log1p(
            allowed
        )
        made += parts if drifted else [each]
    return made


def margin(values: Sequence[float], least: float) -> float:
    """The relative change that matters: `least`, or three robust standard deviations of a single
    point.

    From the differences of neighbours (von Neumann's estimate), in which neither steps nor a slow
    decline are.
    """
    differences = [abs(math.log(after / before)) for before, after in pairwise(values)]
    return (
        max(least, SPREADS * NORMAL * median(differences) / math.sqrt(2)) if differences else least
    )


def judge(
    found: Sequence[Level], allowed: float, accepted: Accepted | None = None
) -> Change | None:
    """The step that lasts to the last of the levels `found` and that nobody accepted, or None.

    Worse is measured against the best level since what was accepted, that itself included, so that
    a decline in small steps adds up and one after an improvement is seen. Better is measured
    against what was accepted, or else against the first level. A last level of fewer than
    `LEAST_AFTER` points may be an outlier: it neither raises an alarm nor ends one.
    """
    change = _last(found, allowed, accepted)
    if change is not None and change.is_alarm:
        return change
    settled = list(found)
    while settled and settled[-1].length < LEAST_AFTER:
        settled.pop()
        earlier = _last(settled, allowed, accepted)
        if earlier is not None and earlier.is_alarm:
            return earlier
    return change


def _last(found: Sequence[Level], allowed: float, accepted: Accepted | None) -> Change | None:
    known = [each for each in found if _since(each, accepted) >= LEAST_AFTER]
    references = [accepted.value] if accepted else [each.value for each in known[:1]]
    if not references:
        return None
    best = min([*references, *(each.value for each in known)])
    return _trailing(found, WORSE, best, allowed, accepted) or _trailing(
        found, BETTER, references[0], allowed, accepted
    )


def _trailing(
    found: Sequence[Level], kind: str, reference: float, allowed: float, accepted: Accepted | None
) -> Change | None:
    """The levels at the end that lie beyond the reference by the margin or more."""

    def beyond(each: Level) -> bool:
        if _since(each, accepted) <= 0:
            return False
        return (
            each.value >= reference * (1 + allowed)
            if kind == WORSE
            else each.value <= reference / (1 + allowed)
        )

    trailing = list(takewhile(beyond, reversed(found)))
    if not trailing:
        return None
    first = accepted.start if accepted else 0
    start = max(trailing[-1].start, first)
    last = next((each for each in trailing if each.length >= LEAST_AFTER), trailing[0])
    return Change(
        kind, start, found[-1].stop - start, reference, last.value, max(last.start, first)
    )


def _since(each: Level, accepted: Accepted | None) -> int:
    """How many points of a level lie after what was accepted."""
    return each.stop - max(each.start, accepted.start if accepted else 0)
