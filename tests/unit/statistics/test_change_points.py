"""What counts as a step, and what was accepted: asv's detection on series whose truth is known."""

from __future__ import annotations

import random

import pytest

from evenbench.harness.statistics import change_points
from evenbench.harness.statistics.change_points import BETTER, WORSE, Accepted, Change, Level

pytest.importorskip("asv.step_detect")


def noisy(*stretches: tuple[int, float], spread: float = 0.005, seed: int = 0) -> list[float]:
    """So many points about each value, in nanoseconds."""
    rng = random.Random(seed)
    return [
        9e6 * value * rng.lognormvariate(0, spread)
        for many, value in stretches
        for _ in range(many)
    ]


def found(
    values: list[float], accepted: Accepted | None = None, least: float = 0.02
) -> Change | None:
    allowed = change_points.margin(values, least)
    return change_points.judge(
        change_points.drifts(values, change_points.levels(values), allowed), allowed, accepted
    )


def test_a_step_is_found_where_it_is() -> None:
    change = found(noisy((30, 1.0), (10, 1.08)))
    assert change is not None
    assert (change.kind, change.start, change.points, change.is_alarm) == (WORSE, 30, 10, True)
    assert change.ratio == pytest.approx(1.08, abs=0.005)


@pytest.mark.parametrize(("after", "alarm"), [(1, False), (2, False), (3, True), (4, True)])
def test_an_alarm_needs_three_points_after_the_step(after: int, alarm: bool) -> None:
    change = found(noisy((30, 1.0), (after, 1.3)))
    assert (change is not None and change.is_alarm) is alarm


def test_a_step_below_the_margin_is_none() -> None:
    assert found(noisy((40, 1.0), (40, 1.015), spread=0.001)) is None
    assert found(noisy((40, 1.0), (40, 1.025), spread=0.001)) is not None


def test_what_came_and_went_is_no_alarm() -> None:
    assert found(noisy((20, 1.0), (10, 1.2), (20, 1.0))) is None


def test_a_single_good_point_does_not_end_an_alarm() -> None:
    change = found(noisy((20, 1.0), (10, 1.2), (1, 1.0)))
    assert change is not None
    assert (change.kind, change.is_alarm) == (WORSE, True)


def test_an_improvement_is_an_alarm_too() -> None:
    change = found(noisy((20, 1.0), (10, 0.9)))
    assert change is not None
    assert (change.kind, change.start) == (BETTER, 20)


def test_worse_is_measured_against_the_best_level() -> None:
    change = found(noisy((20, 1.0), (20, 0.8), (20, 0.9)))
    assert change is not None
    assert change.kind == WORSE
    assert change.ratio == pytest.approx(0.9 / 0.8, abs=0.01)


def test_what_was_accepted_is_silent_and_a_decline_from_it_is_not() -> None:
    values = noisy((20, 1.0), (20, 1.1))
    accepted = Accepted(20, 9e6 * 1.1)
    assert found(values) is not None
    assert found(values, accepted) is None
    change = found([*values, *noisy((20, 1.16), seed=1)], accepted)
    assert change is not None
    assert (change.kind, change.start) == (WORSE, 40)


def test_going_back_after_an_accepted_improvement_is_worse() -> None:
    change = found(noisy((20, 1.0), (20, 0.9), (20, 1.0)), Accepted(20, 9e6 * 0.9))
    assert change is not None
    assert (change.kind, change.start) == (WORSE, 40)


def test_small_steps_add_up() -> None:
    change = found(noisy((20, 1.0), (20, 1.012), (20, 1.024), (20, 1.036), spread=0.001))
    assert change is not None
    assert change.kind == WORSE
    assert change.settled == 60
    assert change.start <= 40


def test_a_steady_decline_is_no_single_level() -> None:
    rng = random.Random(2)
    values = [9e6 * (1 + 0.1 * place / 60) * rng.lognormvariate(0, 0.005) for place in range(60)]
    assert len(change_points.levels(values)) == 1, "asv takes it for correlated noise"
    change = found(values)
    assert change is not None
    assert change.kind == WORSE


def test_a_decline_that_was_accepted_is_silent() -> None:
    rng = random.Random(2)
    values = [9e6 * (1 + 0.1 * place / 60) * rng.lognormvariate(0, 0.005) for place in range(60)]
    change = found(values)
    assert change is not None
    assert found(values, Accepted(change.settled, change.after)) is None


def test_noise_alone_is_seldom_an_alarm() -> None:
    alarms = [
        found(noisy((many, 1.0), spread=spread, seed=seed))
        for many in (12, 50)
        for spread in (0.01, 0.04)
        for seed in range(100)
    ]
    assert sum(alarm is not None for alarm in alarms) <= 8  # 2 %


def test_the_margin_grows_with_the_noise_and_not_with_steps() -> None:
    quiet, loud = noisy((50, 1.0), (50, 1.5), spread=0.001), noisy((100, 1.0), spread=0.05)
    assert change_points.margin(quiet, 0.02) == 0.02
    assert 0.1 < change_points.margin(loud, 0.02) < 0.2
    assert change_points.margin([5.0], 0.02) == 0.02


def test_constants_and_few_points_have_one_level() -> None:
    assert change_points.levels([]) == []
    assert change_points.levels([7.0, 9.0, 8.0]) == [Level(0, 3, 8.0)]
    assert change_points.levels([46.8e6] * 20) == [Level(0, 20, 46.8e6)]
    assert change_points.judge([], 0.02) is None
