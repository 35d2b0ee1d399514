"""Ratios, levels and words of groups: known answers, and coverage by simulation.

Simulations run through the code that judges; `nightly` has enough runs for the stated rates.
"""

from __future__ import annotations

import math
import subprocess
import sys
from functools import cache

import pytest

from evenbench.harness.statistics import priors
from evenbench.harness.statistics.group_verdicts import (
    EQUIVALENT,
    FASTER,
    INCONCLUSIVE,
    SLOWER,
    judge,
    margin,
)
from evenbench.harness.statistics.ratios import (
    NO_PRIOR,
    Prior,
    Ratio,
    level,
    prior_of,
    ratio,
    stalled,
)
from tests.performance.bench_ratios import EQUAL, MIXED, PAIR, PLANS, levels_study
from tests.performance.ratio_study import Tally, study
from tests.unit.statistics.simulated_groups import (
    HEAVY,
    NOISES,
    NORMAL,
    STALLED,
    WALK,
    Noise,
)

ROUNDS = 7
WIDEST_HALF = {3: 1.0, 5: 0.35}
"""The bound of any half-width in the simulations of many groups, as a share, by sweeps."""


def cell(*levels: float) -> dict[str, dict[int, float]]:
    """A cell with constant blocks in each sweep."""
    return {f"s{n}": dict.fromkeys(range(ROUNDS), value) for n, value in enumerate(levels)}


def test_fewer_than_half_of_the_rounds_cannot_move_a_ratio() -> None:
    slower, faster = cell(200.0, 200.0), cell(100.0, 100.0)
    clean = ratio(slower, faster)
    for number in range((ROUNDS - 1) // 2):
        slower["s0"][number] = 1e6
    disturbed = ratio(slower, faster)
    assert clean is not None
    assert disturbed is not None
    assert disturbed.log == pytest.approx(clean.log) == pytest.approx(math.log(2))


@pytest.mark.parametrize(("sweeps", "most"), [(3, 1), (4, 1), (5, 2), (8, 3)])
def test_a_minority_of_stalled_processes_is_apart(sweeps: int, most: int) -> None:
    values = [100.0 + n / 10 for n in range(sweeps)]
    disturbed = [value * (5 + n if n < most else 1) for n, value in enumerate(values)]
    names = {f"s{n}" for n in range(most)}
    slower = ratio(cell(*disturbed), cell(*values))
    faster = ratio(cell(*values), cell(*disturbed))
    assert slower is not None
    assert faster is not None
    assert slower.apart == dict.fromkeys(names, "slower")
    assert faster.apart == dict.fromkeys(names, "faster")
    assert slower.log == pytest.approx(0.0, abs=1e-9)
    assert slower.sweeps == sweeps - most
    assert set(stalled(cell(*disturbed))) == names


def test_fast_processes_are_never_apart() -> None:
    same = ratio(cell(100, 100, 20, 100), cell(100, 100, 100, 100))
    assert same is not None
    assert not same.apart
    assert not stalled(cell(100, 100, 20, 100))


def test_drift_common_to_all_is_no_stall() -> None:
    drifting = cell(100, 100, 400)
    same = ratio(drifting, drifting)
    assert same is not None
    assert not same.apart
    assert same.log == 0.0


def test_identical_numbers_keep_the_error_of_the_clock() -> None:
    same = ratio(cell(100, 100, 100), cell(100, 100, 100))
    assert same is not None
    assert same.error is not None
    assert 0 < same.error < 1e-3
    assert same.p_value() == pytest.approx(1.0)


def test_without_a_common_round_there_is_no_ratio() -> None:
    assert ratio({"s0": {0: 1.0}}, {"s1": {0: 1.0}}) is None
    assert ratio({"s0": {0: 1.0}}, {"s0": {1: 1.0}}) is None
    assert ratio({}, {}) is None
    assert level({}) is None


def test_a_single_sweep_needs_a_prior() -> None:
    single = ratio(cell(110), cell(100))
    assert single is not None
    assert single.variance is None
    assert single.error is None
    assert single.p_value() == 1.0
    assert single.estimate().low is None
    backed = single.moderated(Prior(0.01**2, 5.0))
    assert backed.estimate().low is not None
    assert backed.p_value() < 0.01


def test_a_posterior_variance_lies_between_own_and_prior() -> None:
    own = Ratio(0.0, 0.01**2, None, 0.0, 3)
    posterior = own.moderated(Prior(0.02**2, 4.0))
    alone = own.moderated(NO_PRIOR)
    assert posterior.freedom == 6.0
    assert alone.freedom == 2.0
    expected = (4 * 0.02**2 + 2 * 0.01**2) / 6
    ratio_of_errors = (posterior.error or 0) / (alone.error or 1)
    assert ratio_of_errors == pytest.approx(math.sqrt(expected) / 0.01)


def test_an_improbable_variance_stays_alone_and_many_sweeps_need_no_prior() -> None:
    unsteady = Ratio(0.0, 0.3**2, None, 0.0, 3).moderated(Prior(0.01**2, 5.0))
    assert unsteady.freedom == 2.0
    assert Ratio(0.0, 0.3**2, None, 0.0, 2).moderated(Prior(0.01**2, 5.0)).freedom == 2.0
    many = Ratio(0.0, 0.01**2, None, 0.0, 8)
    assert many.moderated(Prior(0.02**2, 5.0)) == many.moderated(NO_PRIOR)


def test_a_prior_finds_the_variance_and_needs_three_ratios() -> None:
    scattered = [Ratio(0.0, (0.01 * factor) ** 2, None, 0.0, 3) for factor in (0.5, 1, 1.5) * 10]
    prior = prior_of(scattered)
    assert 0.005 < math.sqrt(prior.variance) < 0.02
    assert 1 < prior.freedom <= priors.MOST_FREEDOM
    assert prior_of(scattered[:2]) == NO_PRIOR


def test_no_interval_spans_decades() -> None:
    hidden = level(cell(0.32, 55.7))
    shown = level(cell(0.35, 0.32, 55.7))
    assert hidden is not None
    assert shown is not None
    assert hidden.low is None
    assert shown.low is not None
    assert shown.high is not None
    assert shown.value == pytest.approx(math.sqrt(0.35 * 0.32))
    assert shown.high / shown.low < 4


def test_words_and_ranking_of_a_group() -> None:
    steady = [1.0, 1.002, 0.999, 1.001, 1.0]
    group = {
        "slow": cell(*(120 * value for value in steady)),
        "a": cell(*(100 * value for value in reversed(steady))),
        "b": cell(*(100 * value for value in steady)),
        "elsewhere": {"other": {0: 90.0}},
    }
    verdict = judge({"g": group})["g"]
    assert verdict.between("slow", "a").word == FASTER
    assert verdict.between("a", "slow").word == SLOWER
    equal = verdict.between("a", "b")
    assert equal.word == EQUIVALENT
    assert equal.within == 0.01
    assert verdict.between("a", "elsewhere").word == INCONCLUSIVE
    assert verdict.order[-1] == "slow"
    assert set(verdict.fastest) == {"a", "b", "elsewhere"}
    forth, back = verdict.between("slow", "a").ratio, verdict.between("a", "slow").ratio
    assert forth is not None
    assert back is not None
    assert forth.log == -back.log


def test_a_single_sweep_decides_nothing() -> None:
    verdict = judge({"g": {"a": cell(100), "b": cell(200)}})["g"]
    assert verdict.between("b", "a").word == INCONCLUSIVE
    assert verdict.fastest == verdict.order == ("a", "b")
    assert judge({}) == {}
    assert judge({"g": {}})["g"].fastest == ()


def test_a_margin_is_the_smallest_whole_percent_that_holds_the_interval() -> None:
    near = Ratio(0.012, 1e-8, 1e-4, 5.0, 6)
    assert margin(near, 0.01) == 0.02
    assert margin(Ratio(0.06, 1e-8, 1e-4, 5.0, 6), 0.01) is None


def test_the_parent_process_imports_no_numpy() -> None:
    code = "import sys, harness.statistics.group_verdicts; print('numpy' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "False"


@cache
def studies(noise: Noise, sweeps: int, sequential: bool, runs: int) -> tuple[Tally, Tally, Tally]:
    """The present rule in runs of mixed groups, of equal cells, and of a pair alone."""
    plans = ((MIXED, max(1, runs // 2)), (EQUAL, runs), (PAIR, 5 * runs))
    several = [study(noise, groups, sweeps, n, sequential=sequential)[0] for groups, n in plans]
    return several[0], several[1], several[2]


@pytest.mark.parametrize("noise", NOISES, ids=lambda noise: noise.name)
@pytest.mark.parametrize(("sweeps", "sequential"), PLANS)
def test_coverage_of_ratios(noise: Noise, sweeps: int, sequential: bool) -> None:
    mixed, equal, _ = studies(noise, sweeps, sequential, 20)
    covered, intervals = mixed.covered + equal.covered, mixed.intervals + equal.intervals
    assert covered / intervals >= 0.93
    assert max(mixed.half_width(1.0), equal.half_width(1.0)) < WIDEST_HALF[sweeps]


def test_any_false_word_of_a_run() -> None:
    tallies = [studies(noise, *plan, 20)[1] for noise in NOISES for plan in PLANS]
    assert sum(tally.false_runs for tally in tallies) <= 0.05 * sum(t.runs for t in tallies)


@pytest.mark.nightly
@pytest.mark.parametrize("noise", NOISES, ids=lambda noise: noise.name)
@pytest.mark.parametrize(("sweeps", "sequential"), PLANS)
def test_rates_of_many_runs(noise: Noise, sweeps: int, sequential: bool) -> None:
    mixed, equal, pair = studies(noise, sweeps, sequential, 300)
    assert min(tally.coverage for tally in (mixed, equal, pair)) >= 0.93
    assert max(tally.false_rate for tally in (mixed, equal)) <= 0.05
    assert pair.false_rate <= 0.06  # 1500 runs: 5 % and two standard errors


@pytest.mark.parametrize(("sweeps", "least"), [(3, 0.9), (5, 0.95)])
def test_power_for_ten_percent(sweeps: int, least: float) -> None:
    tally, _ = study(NORMAL, [[0.0, math.log(1.1)]] * 15, sweeps, 10)
    assert tally.words.get(SLOWER, 0) / tally.intervals >= least
    assert tally.false_runs == 0


@pytest.mark.parametrize("noise", [NORMAL, HEAVY, STALLED], ids=lambda noise: noise.name)
@pytest.mark.parametrize("sweeps", [3, 5])
def test_coverage_of_levels(noise: Noise, sweeps: int) -> None:
    tally, _ = levels_study(noise, sweeps, 400)
    assert tally.coverage >= 0.93
    assert tally.half_width(0.5) < 0.2


def test_levels_do_not_cover_common_drift() -> None:
    assert levels_study(WALK, 5, 200)[0].coverage < 0.8


def test_rounds_in_several_modes_are_no_limit_if_sweeps_agree() -> None:
    """Half of the blocks of each cell take 40 % longer: the rounds' ratios have three modes, and
    their median is the same in each sweep but for 0.5 %.
    """
    modes = [1.0, 1.0, 1.4, 1.0, 1.4, 1.4, 1.0, 1.4, 1.0, 1.4, 1.4, 1.0]
    others = [1.0, 1.4, 1.0, 1.0, 1.4, 1.0, 1.4, 1.4, 1.0, 1.4, 1.0, 1.4]
    small = (1.0, 1.005, 0.995, 1.002, 0.998, 1.001)
    slower = {
        str(sweep): {number: 1e6 * factor * mode for number, mode in enumerate(modes)}
        for sweep, factor in enumerate(small)
    }
    faster = {
        str(sweep): {number: 1e6 * mode for number, mode in enumerate(others)}
        for sweep in range(len(small))
    }
    pair = ratio(slower, faster)
    assert pair is not None
    half = pair.half_width()
    assert half is not None
    assert half < 0.01, "the spread of rounds is no spread of sweeps"
    lucky = {
        str(sweep): {number: time_ns * factor for number, time_ns in faster["0"].items()}
        for sweep, factor in enumerate((1.0, 1.02, 0.98))
    }
    three = ratio(lucky, dict.fromkeys(lucky, slower["0"]))
    assert three is not None
    assert (three.half_width() or 0) > 0.1, "three sweeps that agree about as well may be luck"


def test_two_slow_processes_of_four_are_a_mode_and_not_stalled() -> None:
    cell = {str(sweep): {0: level} for sweep, level in enumerate((1e6, 1.35e6, 1e6, 1.36e6))}
    other = {str(sweep): {0: 1e6} for sweep in range(4)}
    assert stalled(cell) == {}
    pair = ratio(cell, other)
    assert pair is not None
    assert (pair.sweeps, dict(pair.apart)) == (4, {})
