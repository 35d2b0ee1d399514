"""The variance typical of many estimates, as a prior for each: empirical Bayes.

G. K. Smyth, "Linear models and empirical Bayes methods for assessing differential expression in
microarray experiments", Statistical Applications in Genetics and Molecular Biology 3(1), 2004,
with limits for the few and unequal variances of a run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

MOST_FREEDOM = 7.0
"""A prior adds to a ratio's own degrees of freedom up to this many: nothing from 8 sweeps on.

Cells differ in how steady they are. Without this limit a steady majority makes intervals of an
unsteady cell too narrow, and more sweeps do not help (tests/performance/bench_ratios.py).
"""

FEWEST_RATIOS = 3
"""Fewer ratios give no prior."""

FREEDOM_SHARE = 0.25
"""The largest weight of a prior, as a share of the degrees of freedom of all ratios but one."""

PRUDENCE = 1.5
"""A prior's variance of ln s^2 is taken this many of its standard errors larger than estimated."""

LOG_VARIANCE_KURTOSIS = 4.4
"""n times the squared relative standard error of the variance of n values of ln s^2, s^2 on 2
degrees of freedom: 2 plus the excess kurtosis of a Gumbel distribution, 2.4."""

IMPROBABLE = 0.05
"""Level of the F test that leaves a ratio with its own variance alone."""


@dataclass(frozen=True)
class Prior:
    """The variance of ln ratios between sweeps, typical of a run, with its weight.

    `freedom` is the weight in degrees of freedom; 0 is no prior.
    """

    variance: float
    freedom: float

    def excludes(self, variance: float, freedom: float) -> bool:
        """Whether `variance` is improbably large under the prior, by an F test on d and d0."""
        if not freedom or not variance or not self.freedom:
            return False
        from scipy.special import fdtrc  # scipy.special alone: scipy.stats takes a second to import

        return bool(fdtrc(freedom, self.freedom, variance / self.variance) < IMPROBABLE)


NO_PRIOR = Prior(0.0, 0.0)


def fitted(variances: Sequence[tuple[float, float]]) -> Prior:
    """The prior of variances s^2 with degrees of freedom d: moments of ln s^2 under a scaled F.

    `variances` has pairs (s^2 > 0, d > 0). Smyth (2004), section 6.2, as limma's `fitFDist`:
    e = ln s^2 - digamma(d/2) + ln(d/2) has the variance trigamma(d/2) + trigamma(d0/2), solved for
    d0. The estimate of that variance is rough for few values, so d0 comes from a prudent one
    (`PRUDENCE`) and is at most `FREEDOM_SHARE` of the degrees of freedom. `NO_PRIOR` for fewer than
    `FEWEST_RATIOS` values.
    """
    from scipy.special import polygamma, psi

    count = len(variances)
    if count < FEWEST_RATIOS:
        return NO_PRIOR
    scores = [math.log(s2) - float(psi(d / 2)) + math.log(d / 2) for s2, d in variances]
    centre = math.fsum(scores) / count
    excess = math.fsum((score - centre) ** 2 for score in scores) / (count - 1)
    expected = math.fsum(float(polygamma(1, d / 2)) for _, d in variances) / count
    excess -= expected * (1 - PRUDENCE * math.sqrt(LOG_VARIANCE_KURTOSIS / count))
    all_but_one = math.fsum(d for _, d in variances) - max(d for _, d in variances)
    freedom = min(2 * _trigamma_inverse(excess), MOST_FREEDOM, FREEDOM_SHARE * all_but_one)
    variance = math.exp(centre + float(psi(freedom / 2)) - math.log(freedom / 2))
    return Prior(variance, freedom)


def _trigamma_inverse(value: float) -> float:
    """The x with trigamma(x) = value, infinite for value <= 0 (Smyth 2004, appendix)."""
    from scipy.special import polygamma

    if value <= 1e-7:
        return math.inf
    x = 0.5 + 1 / value
    for _ in range(50):
        trigamma = float(polygamma(1, x))
        step = trigamma * (1 - trigamma / value) / float(polygamma(2, x))
        x += step
        if -step / x < 1e-8:
            break
    return x
