"""Laps are thinned evenly."""

from __future__ import annotations

import numpy as np
import pytest

from evenbench.harness.load.laps import MAX_LAPS, ThinnedLaps


def test_laps_that_are_too_many_are_thinned_evenly() -> None:
    thinned = ThinnedLaps(seed=1)
    for lap in range(100_000):
        thinned.add(lap)
    assert (thinned.calls, thinned.total_ns) == (100_000, sum(range(100_000)))
    assert MAX_LAPS * 0.9 < len(thinned.laps_ns) <= 2 * MAX_LAPS
    assert thinned.laps_ns == sorted(thinned.laps_ns)
    assert np.median(thinned.laps_ns) == pytest.approx(50_000, rel=0.05), (
        "an early or a late lap is as likely to be kept"
    )
    assert np.mean(np.asarray(thinned.laps_ns) % 2) == pytest.approx(0.5, abs=0.05), (
        "every other lap would be one batch of two"
    )
