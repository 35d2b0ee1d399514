"""Ratios of two cells measured in turn, and levels of a cell, with robust intervals.

Independent of benchmarks. A *sweep* is one set of resident processes, one per cell; in a *round* of
a sweep each process takes one block. Three levels of noise, with a rule for each:

- Rounds of a sweep: the median of ln(slower / faster). Fewer than half of the rounds disturbed,
  floor((n - 1) / 2) of n, cannot carry it away. Drift common to both cells cancels in a round.
- Sweeps: the mean over sweeps without stalled processes, see `ratio`. At most floor((K - 1) / 2) of
  K sweeps are excluded: one of 3 or 4, two of 5 or 6, three of 7 or 8; none of 1 or 2.
- Variance between sweeps: moderated, i.e. shrunk to the variance typical of the run's ratios
  (`priors`), because three sweeps alone leave 2 degrees of freedom and a very wide interval.

Autocorrelated rounds make the median of a sweep less precise than its rounds suggest. Variance
between sweeps includes that; only the smallest admissible variance comes from rounds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from evenbench.harness.statistics.estimates import CONFIDENCE, Estimate, median
from evenbench.harness.statistics.priors import MOST_FREEDOM, NO_PRIOR, Prior, fitted

__all__ = ["NO_PRIOR", "Prior", "Ratio", "Sweeps", "against_clock", "level", "of_values"]
__all__ += ["prior_of", "process_level", "ratio", "stalled"]

Sweeps = Mapping[str, Mapping[int, float]]
"""Sweep → round → time of a block in ns (a lap's median, positive)."""

APART = math.log(1.25)
"""The smallest deviation of a stalled process, in log time: 25 %."""

SPREADS = 5.0
"""A stalled process deviates by this many robust standard deviations of the other sweeps."""

MAD_TO_DEVIATION = 1.4826
"""Standard deviation over median absolute deviation, for normal values."""

MEDIAN_ERROR = 1.2533
"""Standard error of a median over that of a mean, for normal values: sqrt(pi / 2)."""

CLOCK = 2e-4
"""The smallest standard deviation of a sweep's log ratio: no ratio is known better than that."""

INFLATION = 1.05
"""Factor on standard errors, for sweeps added until intervals are narrow: stopping then favours
variances that are too small."""

DISAGREEMENT = 0.005
"""Level of the test that lets the error of rounds be no limit for the variance of sweeps."""

LEAST_FREEDOM = 2.0
"""Fewest degrees of freedom of a variance that is improbably large under a prior. Student's t with
a single one, for two sweeps, would widen an interval sixfold that is too wide already."""

WIDEST = math.log(10)
"""The largest half-width of an interval, in log time. A wider interval is unknown."""


@dataclass(frozen=True)
class Ratio:
    """How many times faster: time of `slower` over time of `faster`."""

    log: float
    """The natural logarithm of the ratio."""
    variance: float | None
    """Variance of the sweeps' values, unmoderated; None for a single sweep."""
    error: float | None
    """Standard error of `log`; None if unknown (a single sweep and no prior)."""
    freedom: float
    """Degrees of freedom of `error`."""
    sweeps: int
    """Number of sweeps in use."""
    apart: Mapping[str, str] = field(default_factory=dict)
    """Excluded sweep → "slower" or "faster", the side with a stalled process."""
    floor: float = CLOCK**2
    """The smallest admissible variance of a sweep's value: clock, and error of its median."""
    values: tuple[float, ...] = ()
    """The log ratio of each sweep in use."""

    def half_width(self, confidence: float = CONFIDENCE) -> float | None:
        """Half the interval's width in log ratio; None if unknown or beyond `WIDEST`."""
        if self.error is None:
            return None
        half = _t_quantile(0.5 + confidence / 2, self.freedom) * self.error
        return half if half <= WIDEST else None

    def estimate(self, confidence: float = CONFIDENCE) -> Estimate:
        """The ratio with Student's t interval; `low` and `high` are None if unknown."""
        half = self.half_width(confidence)
        if half is None:
            return Estimate(math.exp(self.log), None, None, self.sweeps)
        low, high = math.exp(self.log - half), math.exp(self.log + half)
        return Estimate(math.exp(self.log), low, high, self.sweeps)

    def p_value(self) -> float:
        """The two-sided p-value of equal times, by the moderated t test; 1.0 if unknown."""
        if self.error is None:
            return 1.0
        from scipy.special import stdtr  # scipy.special alone: scipy.stats takes a second to import

        return float(2 * stdtr(self.freedom, -abs(self.log) / self.error))

    def moderated(self, prior: Prior) -> Ratio:
        """This ratio with its variance shrunk to `prior`: Smyth's posterior variance.

        (d0 s0^2 + d s^2) / (d0 + d) on d0 + d degrees of freedom, and at least `floor`, with d0
        limited by `MOST_FREEDOM`. A variance improbably large under the prior (`Prior.excludes`)
        stays as it is, on its own degrees of freedom and at least `LEAST_FREEDOM`.
        """
        freedom = float(self.sweeps - 1)
        own = self.variance or 0.0
        weight = max(0.0, min(prior.freedom, MOST_FREEDOM - freedom))
        total = weight + freedom
        if not total:
            return replace(self, error=None, freedom=0.0)
        variance = (weight * prior.variance + freedom * own) / total
        if weight and prior.excludes(own, freedom):
            variance, total = own, min(total, max(freedom, LEAST_FREEDOM))
        error = INFLATION * math.sqrt(max(variance, self.floor) / self.sweeps)
        return replace(self, error=error, freedom=total)

    def reverse(self) -> Ratio:
        """The ratio with both sides exchanged."""
        sides = {"slower": "faster", "faster": "slower"}
        apart = {sweep: sides[side] for sweep, side in self.apart.items()}
        values = tuple(-value for value in self.values)
        return replace(self, log=-self.log, apart=apart, values=values)


def ratio(slower: Sweeps, faster: Sweeps, prior: Prior = NO_PRIOR) -> Ratio | None:
    """The time of `slower` over that of `faster`; None without a round in common.

    A sweep is excluded as *apart* if all of these hold: three or more sweeps are in common; its
    value differs from the median of the others by more than 25 % and 5 robust standard deviations
    of the others; and the side with too long a time is itself slower in that sweep than in the
    median of all its sweeps by more than half that difference. So only slow processes are excluded,
    never fast ones, and a minority of slow processes never displaces the majority. Without a clear
    majority, none is excluded.
    """
    values: dict[str, float] = {}
    errors: list[float] = []
    for sweep, times in slower.items():
        others = faster.get(sweep, {})
        logs = [
            math.log(time / others[number]) for number, time in times.items() if number in others
        ]
        if logs:
            values[sweep] = median(logs)
            errors.append(_median_error(logs, values[sweep]))
    if not values:
        return None
    apart: dict[str, str] = {}
    for sweep, deviation in _deviating(values):
        side, cell = ("slower", slower) if deviation > 0 else ("faster", faster)
        logs_of_cell = _levels(cell)
        slowness = logs_of_cell[sweep] - median(list(logs_of_cell.values()))
        if slowness > abs(deviation) / 2:
            apart[sweep] = side
    apart = apart if len(apart) <= _most_apart(values) else {}
    kept = [value for sweep, value in values.items() if sweep not in apart]
    return _summary(kept, errors, apart).moderated(prior)


def of_values(logs: Sequence[float]) -> Ratio:
    """The ratio of sweeps with these log ratios, all in use and without a prior."""
    return _summary(logs, [], {}).moderated(NO_PRIOR)


def against_clock(sweeps: Sweeps, prior: Prior = NO_PRIOR) -> Ratio | None:
    """The level of a cell as a ratio to 1 ns, without stalled processes; None without a block.

    `prior_of` these is a prior for levels.
    """
    logs = _levels(sweeps)
    if not logs:
        return None
    excluded = stalled(sweeps)
    kept = [value for sweep, value in logs.items() if sweep not in excluded]
    blocks = [[math.log(time) for time in sweeps[sweep].values()] for sweep in logs]
    errors = [_median_error(times, median(times)) for times in blocks]
    return _summary(kept, errors, dict.fromkeys(excluded, "slower")).moderated(prior)


def level(
    sweeps: Sweeps, confidence: float = CONFIDENCE, prior: Prior = NO_PRIOR
) -> Estimate | None:
    """The level of a cell in ns: geometric mean over processes that are not `stalled`.

    None without a block. The interval covers what differs between the sweeps of this run: process,
    layout and the machine's state in each. Drift common to all cells is part of a level: a few
    sweeps close in time cannot cover the machine of another hour. Ratios can, since common drift
    cancels within a round.
    """
    summary = against_clock(sweeps, prior)
    return None if summary is None else summary.estimate(confidence)


def process_level(values: Sequence[float]) -> Estimate:
    """The level of one positive value per process; raises ValueError without a value."""
    known = level({str(number): {0: value} for number, value in enumerate(values)})
    if known is None:
        raise ValueError("level of no values; expected one or more")
    return known


def stalled(sweeps: Sweeps) -> Mapping[str, float]:
    """Processes of a cell that stand apart: sweep → time over the median of the cell's sweeps.

    A stalled process, such as a process with a neighbour on one of its cores, is slower than the
    median of the others by more than 25 % and 5 robust standard deviations. Needs three or more
    sweeps. More than floor((K - 1) / 2) slow processes of K are a mode of the cell, and none is
    named.
    """
    logs = _levels(sweeps)
    slow = [sweep for sweep, deviation in _deviating(logs) if deviation > 0]
    if len(slow) > _most_apart(logs):
        return {}
    centre = median(list(logs.values())) if logs else 0.0
    return {sweep: math.exp(logs[sweep] - centre) for sweep in slow}


def _most_apart(values: Mapping[str, float]) -> int:
    """The most values that may be excluded: fewer than half."""
    return (len(values) - 1) // 2


def prior_of(ratios: Iterable[Ratio]) -> Prior:
    """The prior of a run, from its ratios: `priors.fitted` to their variances.

    Each pair of cells counts once; ratios to a common reference are near enough to independent.
    """
    return fitted(
        [(max(r.variance, r.floor), r.sweeps - 1) for r in ratios if r.variance is not None]
    )


def _summary(values: Sequence[float], errors: Sequence[float], apart: Mapping[str, str]) -> Ratio:
    """Mean and variance of the sweeps' values, before moderation."""
    centre = math.fsum(values) / len(values)
    variance = None
    if len(values) > 1:
        variance = math.fsum((value - centre) ** 2 for value in values) / (len(values) - 1)
    floor = CLOCK**2
    if errors:
        within = median([error**2 for error in errors])
        floor = max(floor, within if _agrees(variance, len(values) - 1, within) else 0.0)
    return Ratio(centre, variance, None, 0.0, len(values), apart, floor, tuple(values))


def _agrees(variance: float | None, freedom: int, within: float) -> bool:
    """Whether a variance between sweeps can come from sweeps with the error `within`.

    Rounds in several modes, as on a busy machine, spread far more than their median does. Sweeps
    that agree much better than rounds say prove it (chi-square test, level `DISAGREEMENT`).
    """
    if variance is None or not within:
        return True
    from scipy.special import chdtr

    return bool(chdtr(freedom, freedom * variance / within) >= DISAGREEMENT)


def _levels(sweeps: Sweeps) -> dict[str, float]:
    """Log of the median block of each sweep."""
    return {
        sweep: math.log(median(list(times.values()))) for sweep, times in sweeps.items() if times
    }


def _deviating(values: Mapping[str, float]) -> list[tuple[str, float]]:
    """Values far from the median of the others, with the difference; the farthest first."""
    if len(values) < 3:
        return []
    far = []
    for sweep, value in values.items():
        others = [other for name, other in values.items() if name != sweep]
        centre = median(others)
        if abs(value - centre) > max(APART, SPREADS * _spread(others, centre)):
            far.append((sweep, value - centre))
    return sorted(far, key=lambda pair: -abs(pair[1]))


def _spread(values: Sequence[float], centre: float) -> float:
    """The robust standard deviation: 1.4826 times the median absolute deviation."""
    return MAD_TO_DEVIATION * median([abs(value - centre) for value in values])


def _median_error(values: Sequence[float], centre: float) -> float:
    """The standard error of a median, from the robust spread of the values."""
    return MEDIAN_ERROR * _spread(values, centre) / math.sqrt(len(values))


def _t_quantile(probability: float, freedom: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, probability))
