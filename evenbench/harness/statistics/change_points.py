"""Steps in a series: levels by airspeed velocity or Apache Otava, and rules for alarms."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile

from evenbench.harness.core.errors import UsageError
from evenbench.harness.statistics.estimates import median

LEAST_AFTER = 3
"""Fewest points after a step for an alarm, and fewest points of a level for a best value."""

SPREADS = 3.0
"""The least margin, in robust standard deviations of the series about its levels."""

LEAST_THIRD = 5
"""Fewest points in a third of a level, against outliers in its median."""

NORMAL = 1.4826
"""Standard deviations of a normal distribution per median absolute deviation."""

WORSE, BETTER = "worse", "better"


@dataclass(frozen=True)
class Level:
    """Points from `start` up to but excluding `stop`, at about `value`."""

    start: int
    stop: int
    value: float

    @property
    def length(self) -> int:
        """The number of points."""
        return self.stop - self.start


@dataclass(frozen=True)
class Accepted:
    """A level accepted by the user, from the point at `start`."""

    start: int
    value: float


@dataclass(frozen=True)
class Change:
    """A step, or several consecutive steps, lasting to the end of the series.

    `kind` is `WORSE` or `BETTER`, `start` the first point of the change, `points` the number of
    points since. `before` is the reference of `judge`, `after` the last level, and `settled` the
    first point of the last level.
    """

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
        """Whether enough points follow. A younger step may still be an outlier."""
        return self.points >= LEAST_AFTER


def levels(values: Sequence[float], detector: str = "asv") -> list[Level]:
    """The levels in a series, by a detector in `DETECTORS`. Raises UsageError if not installed.

    Points are not weighted, because widths of intervals over a few processes are noise.
    """
    if len(values) <= LEAST_AFTER:
        return [Level(0, len(values), median(values))] if values else []
    # asv's tolerances are absolute, so nanoseconds and bytes are scaled to about 1.
    scale = median(values)
    return [
        Level(piece.start, piece.stop, piece.value * scale)
        for piece in DETECTORS[detector]([value / scale for value in values])
    ]


def _asv(values: Sequence[float]) -> list[Level]:
    """asv's `step_detect`: a piecewise constant fit (L1 Potts functional, penalty like BIC)."""
    try:
        from asv.step_detect import detect_steps
    except ImportError as error:
        raise UsageError(
            "airspeed velocity, the detector of steps, is not installed; pip install "
            "'evenbench[asv]'"
        ) from error
    return [Level(start, stop, value) for start, stop, value, _, _ in detect_steps(values)]


def _otava(values: Sequence[float]) -> list[Level]:
    """The series, cut at Otava's change points.

    M. Fleming et al., Hunter, ICPE 2023: energy distances, then Student's t at 0.001.
    """
    import numpy as np

    try:
        from otava.analysis import compute_change_points
    except ImportError as error:
        raise UsageError(
            "Apache Otava is not installed; it pins an older numpy, so use a separate "
            "environment, without runtimes: "
            "pip install 'evenbench[otava]'"
        ) from error
    with np.errstate(
        divide="ignore", invalid="ignore"
    ):  # Student's t is undefined for constant sizes
        points, _ = compute_change_points(values)
    cuts = [0, *(int(point.index) for point in points), len(values)]
    return [Level(start, stop, median(values[start:stop])) for start, stop in pairwise(cuts)]


DETECTORS: Mapping[str, Callable[[Sequence[float]], list[Level]]] = {"asv": _asv, "otava": _otava}
"""Detectors of levels by name on the command line, for values of about 1."""


def drifts(values: Sequence[float], pieces: Sequence[Level], allowed: float) -> list[Level]:
    """`pieces`, with drifting levels split in three: levels with outer thirds apart by the margin.

    asv's fit models correlation, so a steady decline is a single level. Medians of thirds reveal
    the decline; levels with fewer than three times `LEAST_THIRD` points stay whole.
    """
    split: list[Level] = []
    for piece in pieces:
        third = piece.length // 3
        cuts = (piece.start, piece.start + third, piece.stop - third, piece.stop)
        parts = (
            [Level(start, stop, median(values[start:stop])) for start, stop in pairwise(cuts)]
            if third >= LEAST_THIRD
            else []
        )
        drifted = bool(parts) and abs(math.log(parts[-1].value / parts[0].value)) >= math.log1p(
            allowed
        )
        split += parts if drifted else [piece]
    return split


def margin(values: Sequence[float], least: float) -> float:
    """The smallest relevant relative change: `least`, or three robust standard deviations.

    The deviation of a point is computed from differences of neighbours (von Neumann's estimate),
    free of steps and slow declines.
    """
    differences = [abs(math.log(after / before)) for before, after in pairwise(values)]
    return (
        max(least, SPREADS * NORMAL * median(differences) / math.sqrt(2)) if differences else least
    )


def judge(
    pieces: Sequence[Level], allowed: float, accepted: Accepted | None = None
) -> Change | None:
    """The unaccepted step up to the last level in `pieces`, or None.

    Worse is measured against the best level since the accepted level, inclusive, so small declines
    add up, and a decline after an improvement counts. Better is measured against the accepted
    level, or else against the first level. A last level of fewer than `LEAST_AFTER` points may be
    an outlier, and neither raises nor ends an alarm.
    """
    change = _last(pieces, allowed, accepted)
    if change is not None and change.is_alarm:
        return change
    settled = list(pieces)
    while settled and settled[-1].length < LEAST_AFTER:
        settled.pop()
        earlier = _last(settled, allowed, accepted)
        if earlier is not None and earlier.is_alarm:
            return earlier
    return change


def _last(pieces: Sequence[Level], allowed: float, accepted: Accepted | None) -> Change | None:
    known = [piece for piece in pieces if _since(piece, accepted) >= LEAST_AFTER]
    references = [accepted.value] if accepted else [piece.value for piece in known[:1]]
    if not references:
        return None
    best = min([*references, *(piece.value for piece in known)])
    return _trailing(pieces, WORSE, best, allowed, accepted) or _trailing(
        pieces, BETTER, references[0], allowed, accepted
    )


def _trailing(
    pieces: Sequence[Level], kind: str, reference: float, allowed: float, accepted: Accepted | None
) -> Change | None:
    """The change of the last levels, if beyond the reference by the margin or more."""

    def beyond(piece: Level) -> bool:
        if _since(piece, accepted) <= 0:
            return False
        return (
            piece.value >= reference * (1 + allowed)
            if kind == WORSE
            else piece.value <= reference / (1 + allowed)
        )

    trailing = list(takewhile(beyond, reversed(pieces)))
    if not trailing:
        return None
    first = accepted.start if accepted else 0
    start = max(trailing[-1].start, first)
    last = next((piece for piece in trailing if piece.length >= LEAST_AFTER), trailing[0])
    return Change(
        kind, start, pieces[-1].stop - start, reference, last.value, max(last.start, first)
    )


def _since(piece: Level, accepted: Accepted | None) -> int:
    """The number of a level's points from the accepted point on; 0 or less for earlier levels.

    All points of the level if no level is accepted.
    """
    return piece.stop - max(piece.start, accepted.start if accepted else 0)
