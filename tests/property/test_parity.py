"""Parity on arbitrary outputs: `needed` is a scale, not a verdict in disguise, and the order of a
batch does not matter.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenbench.harness import TensorSpec
from evenbench.harness.accuracy import parity
from evenbench.harness.accuracy.parity import Evidence
from evenbench.harness.accuracy.tolerances import Tolerance
from evenbench.harness.core.measurements import ParityVerdict

SPEC = TensorSpec("y", ("batch", 5), "float64")
RULE = Tolerance(1e-4, 1e-4, 3.0)


def compare(
    made: Any, golden: Any, own: float | None = None, rule: Tolerance = RULE
) -> ParityVerdict:
    return parity.compare(
        {"y": made},
        {"y": golden},
        [SPEC],
        rule,
        "a golden",
        Evidence({} if own is None else {"y": own}),
    )


@st.composite
def goldens(draw: st.DrawFn) -> Any:
    """[batches, batch, 5] that can judge: of magnitude 1e-3 to 1e3 and different from batch to
    batch.
    """
    seed, batches, batch = (
        draw(st.integers(0, 2**32 - 1)),
        draw(st.integers(2, 4)),
        draw(st.integers(1, 4)),
    )
    return 10.0 ** draw(st.integers(-3, 3)) * np.random.default_rng(seed).standard_normal(
        (batches, batch, 5)
    )


def noise_for(golden: Any, seed: int) -> Any:
    """Errors of at least a thousandth of the scale, so that adding and subtracting them loses
    nothing that matters.
    """
    generator = np.random.default_rng(seed)
    return (
        generator.choice([-1, 1], golden.shape)
        * generator.uniform(1e-3, 1e-2, golden.shape)
        * np.abs(golden).max()
    )


SEEDS = st.integers(0, 2**32 - 1)


@given(goldens(), SEEDS, st.floats(0.01, 50.0))
def test_needed_grows_in_step_with_the_error(golden: Any, seed: int, factor: float) -> None:
    noise = noise_for(golden, seed)
    one, more = (
        compare(golden + noise, golden).outputs[0],
        compare(golden + factor * noise, golden).outputs[0],
    )
    assert more.needed_elementwise == pytest.approx(factor * one.needed_elementwise, rel=1e-6)
    assert more.rmse == pytest.approx(factor * one.rmse, rel=1e-6)


@given(goldens(), SEEDS, st.floats(1e-4, 1e-1))
def test_needed_shrinks_in_step_with_the_tolerance(golden: Any, seed: int, factor: float) -> None:
    made = golden + noise_for(golden, seed)
    strict, loose = (
        compare(made, golden, rule=Tolerance(factor * 1e-4, factor * 1e-4, 3.0)),
        compare(made, golden),
    )
    assert strict.needed == pytest.approx(loose.needed / factor, rel=1e-9)


@given(goldens(), SEEDS, st.floats(1e-3, 1.0), st.none() | st.floats(1e-6, 1.0))
def test_passes_exactly_where_no_more_is_needed_than_allowed(
    golden: Any, seed: int, size: float, own: float | None
) -> None:
    found = compare(golden + size * noise_for(golden, seed), golden, own)
    assert (found.verdict == "pass") is (found.needed <= found.allowed)
    rules = [found.outputs[0].needed_elementwise, found.outputs[0].needed_rmse]
    assert found.needed == min(rule for rule in rules if rule is not None)
    assert bool(found.reason) is (found.verdict == "fail")


@given(goldens(), SEEDS)
def test_the_elementwise_rule_is_numpys_isclose(golden: Any, seed: int) -> None:
    made = golden + 0.05 * noise_for(golden, seed)
    scale = np.abs(golden).max()
    wanted = np.allclose(made, golden, rtol=RULE.rtol, atol=RULE.atol * scale)
    assert (compare(made, golden).verdict == "pass") is bool(wanted)


@given(goldens(), SEEDS, st.randoms(use_true_random=False))
def test_the_order_within_a_batch_does_not_matter(golden: Any, seed: int, chance: Any) -> None:
    made = golden + noise_for(golden, seed)
    order = list(range(golden.shape[1]))
    chance.shuffle(order)
    one, other = compare(made, golden), compare(made[:, order], golden[:, order])
    assert (one.verdict, other.needed) == (other.verdict, pytest.approx(one.needed, rel=1e-12))


@given(goldens(), SEEDS, st.floats(1e-2, 1e2))
def test_the_unit_of_an_output_does_not_matter(golden: Any, seed: int, unit: float) -> None:
    made = golden + noise_for(golden, seed)
    assert compare(unit * made, unit * golden).needed == pytest.approx(
        compare(made, golden).needed, rel=1e-6
    )


@given(goldens(), SEEDS, st.sampled_from([np.nan, np.inf, -np.inf]))
def test_one_value_that_is_not_finite_is_never_forgiven(
    golden: Any, seed: int, value: float
) -> None:
    made = golden.copy()
    made.flat[seed % made.size] = value
    assert compare(made, golden, own=1e12, rule=Tolerance(1e3, 1e3, 1e3)).verdict in (
        "fail",
        "degenerate",
    )
    assert compare(made, golden, own=1e12).verdict == "fail"
