"""The tolerances as documented: a changed number changes verdicts of recorded results."""

from __future__ import annotations

import pytest

from evenbench.harness.accuracy import tolerances

TABLE = {
    "fp32": (5e-5, 5e-5, 3.0, 0.0, 0.01, False),
    "tf32": (1e-3, 1e-3, 3.0, 10.0, 0.05, False),
    "fp16": (1e-2, 5e-3, 3.0, 10.0, 0.05, False),
    "bf16": (2e-2, 2e-2, 3.0, 10.0, 0.2, False),
    "int8-dynamic": (0.0, 0.1, 10.0, 10.0, 1.0, True),
    "int8-static": (0.0, 0.15, 10.0, 10.0, 1.0, True),
    "fp64": (1e-7, 1e-7, 3.0, 0.0, 1e-4, False),
    "int8": (0.0, 0.03, 3.0, 0.0, 1.0, False),
}
"""rtol, atol, RMSE factor, floor, ceiling, and whether the task decides."""


@pytest.mark.parametrize("precision", TABLE)
def test_a_precision_has_these_limits(precision: str) -> None:
    limits = tolerances.tolerance_for(precision, {})
    numbers = (limits.rtol, limits.atol, limits.rmse_factor, limits.floor, limits.ceiling)
    assert (*numbers, limits.by_task) == TABLE[precision]


def test_every_precision_is_in_the_table() -> None:
    assert set(tolerances.TOLERANCES) == set(TABLE)


def test_int8_may_lose_a_hundredth_of_the_metric_and_a_fiftieth_of_the_cosine() -> None:
    assert (tolerances.METRIC_DROP, tolerances.COSINE_LOSS) == (0.01, 0.02)
    assert tolerances.TIMED_COSINE_LOSS == 0.2


def test_a_model_replaces_the_elementwise_limits_alone() -> None:
    limits = tolerances.tolerance_for("fp16", {"fp16": (0.5, 0.25)})
    assert (limits.rtol, limits.atol, limits.rmse_factor) == (0.5, 0.25, 3.0)
