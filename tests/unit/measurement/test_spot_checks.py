"""Outputs of random laps: only differing ones are kept, the most different of each batch."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from evenbench.harness.measurement.spot_checks import SpotChecks
from evenbench.harness.measurement.turns import Turns
from tests.unit.builders import Clock, ScriptedSession, batches, plan

MS = 1_000_000
KEPT = {0: {"y": np.array([1.0, 2.0])}, 1: {"y": np.array([3.0, np.nan])}}


def checked(*outputs: tuple[int, Any]) -> SpotChecks:
    spots = SpotChecks(random.Random(0))
    for batch, array in outputs:
        spots.add(batch, {"y": np.array(array)})
    spots.compare(KEPT)
    return spots


def test_equal_outputs_leave_nothing_to_judge() -> None:
    spots = checked((0, [1.0, 2.0]), (1, [3.0, np.nan]))
    assert (spots.checked, spots.outputs(KEPT)) == (2, {})


def test_the_most_different_outputs_take_the_place_of_the_kept() -> None:
    judged = checked((0, [1.0, 2.1]), (0, [5.0, 2.0]), (0, [1.0, 2.2])).outputs(KEPT)
    assert judged[0]["y"].tolist() == [5.0, 2.0]
    assert judged[1] is KEPT[1]


def test_nan_where_a_number_was_and_another_form_are_the_largest_differences() -> None:
    assert np.isnan(checked((0, [900.0, 2.0]), (0, [np.nan, 2.0])).different[0]["y"][0])
    assert checked((0, [900.0, 2.0]), (0, [1.0])).different[0]["y"].shape == (1,)


class Turning(ScriptedSession):
    """Answers with its input, and with something else from a step on."""

    def fetch(self) -> Any:
        self._spend("fetch", 0)
        return {"y": np.array([self.bound[-1] + (self.steps > 40)])}


def test_laps_that_turn_wrong_late_are_among_the_judged() -> None:
    taken = Turns(Turning(Clock(), step_ns=MS), batches(3), plan(), MS, Clock(), lambda: (0,) * 6)
    taken.now = taken.session.clock_of_test  # type: ignore[attr-defined]
    for sampler in taken.samplers.values():
        sampler.now = taken.now
    for number in range(12):
        taken.take(number)
    kept = taken.kept
    assert set(kept) == {
        "compute",
        "host_to_host",
        "compute, later laps",
        "host_to_host, later laps",
    }
    assert all(outputs["y"][0] == batch for batch, outputs in kept["compute"].items())
    assert any(
        outputs["y"][0] == batch + 1 for batch, outputs in kept["compute, later laps"].items()
    )
