"""Both rules of parity, exactly at their limits, and all that is wrong before a number is looked at."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from harness import TensorSpec, parity
from harness.parity import Tolerance
from harness.types import PRECISIONS, ParityVerdict

SPEC = TensorSpec("y", ("batch", 4))
GOLDEN = np.array([[[8.0, -2.0, 1.0, 0.0]], [[1.0, 4.0, -8.0, 2.0]], [[0.5, 0.0, 2.0, 8.0]]])  # [3 batches, batch 1, 4], scale 8
RULE = Tolerance(rtol=2**-10, atol=2**-13, rmse_factor=3.0)
"""Powers of two, so that limits are exact: 2**-10 * |golden| + 2**-10, as the scale is 8."""


def compare(made: Any, golden: Any = GOLDEN, own: float | None = None, rule: Tolerance = RULE, **more: Any) -> ParityVerdict:
    own_rmse = {} if own is None else {"y": own}
    return parity.compare({"y": np.asarray(made, np.float32)}, {"y": golden}, [SPEC], own_rmse, rule, "a golden", **more)


def off(by: float, at: tuple[int, int, int] = (0, 0, 3)) -> Any:
    made = GOLDEN.copy()
    made[at] += by
    return made


def test_the_right_answer_needs_nothing() -> None:
    found = compare(GOLDEN)
    assert (found.verdict, found.reason, found.needed, found.allowed, found.golden) == ("pass", "", 0.0, 1.0, "a golden")
    (error,) = found.outputs
    assert (error.scale, error.max_abs, error.rmse, error.nonfinite) == (8.0, 0.0, 0.0, 0)
    assert error.cosine == pytest.approx(1.0)


@pytest.mark.parametrize(("at", "limit"), [((0, 0, 3), 2**-10), ((0, 0, 0), 9 * 2**-10), ((1, 0, 2), 9 * 2**-10), ((0, 0, 2), 2 * 2**-10)])
@pytest.mark.parametrize("sign", [1, -1])
def test_exactly_the_elementwise_limit_passes_with_needed_one(at: tuple[int, int, int], limit: float, sign: int) -> None:
    assert (compare(off(sign * limit, at)).verdict, compare(off(sign * limit, at)).needed) == ("pass", 1.0)
    beyond = compare(off(sign * 1.01 * limit, at))
    assert beyond.verdict == "fail"
    assert beyond.needed == pytest.approx(1.01, rel=1e-3)


def test_the_rmse_rule_passes_what_the_elementwise_rule_does_not() -> None:
    made = off(0.01)  # ten times the elementwise limit at this place
    root = 0.01 / np.sqrt(GOLDEN.size)
    assert compare(made).verdict == "fail"
    found = compare(made, own=root / 3)
    assert (found.verdict, found.outputs[0].needed_elementwise) == ("pass", pytest.approx(10.24, rel=1e-3))
    assert found.needed == pytest.approx(1.0, abs=1e-3)
    assert compare(made, own=root / 3.01).verdict == "fail"


def test_needed_is_the_smaller_of_the_two_rules() -> None:
    found = compare(off(2**-11), own=1e-12)
    assert (found.verdict, found.needed) == ("pass", 0.5)
    assert found.outputs[0].needed_rmse > 1  # type: ignore[operator]


def test_the_worst_output_decides_and_is_named() -> None:
    specs = [SPEC, TensorSpec("z", ("batch", 4))]
    made = {"y": GOLDEN.astype(np.float32), "z": off(1.0).astype(np.float32)}
    found = parity.compare(made, {"y": GOLDEN, "z": GOLDEN}, specs, {"y": 0.0, "z": 1e-3}, RULE, "a golden")
    assert found.verdict == "fail"
    assert found.reason.startswith("z needs ")
    assert "eager's own is 0.001" in found.reason


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_single_value_that_is_not_finite_fails_whatever_is_allowed(value: float) -> None:
    found = compare(off(value), own=1e9)
    assert (found.verdict, found.needed, found.reason) == ("fail", parity.INCOMPARABLE, "y has 1 non-finite values")


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        ({"x": GOLDEN.astype(np.float32)}, r"outputs are named \['x'\], the model declares \['y'\]"),
        ({"y": GOLDEN.astype(np.float32), "extra": GOLDEN}, r"outputs are named \['extra', 'y'\]"),
        ({}, r"outputs are named \[\]"),
        ({"y": GOLDEN}, "output y is float64, the model declares float32"),
        ({"y": GOLDEN.astype(np.float32)[..., :3]}, r"has shape \[1, 3\], the golden has \[1, 4\]"),
        ({"y": GOLDEN.astype(np.float32).swapaxes(1, 2)}, r"has shape \[4, 1\]"),
    ],
)
def test_wrong_names_dtypes_and_shapes_fail_before_numbers_are_compared(made: dict[str, Any], reason: str) -> None:
    found = parity.compare(made, {"y": GOLDEN}, [SPEC], {}, RULE, "a golden")
    assert (found.verdict, found.needed) == ("fail", parity.INCOMPARABLE)
    assert re.search(reason, found.reason), found.reason


@pytest.mark.parametrize(
    ("golden", "reason"),
    [
        (np.full_like(GOLDEN, np.nan), "y has non-finite values"),
        (GOLDEN * 1e-7, "at most 8.0e-07 in magnitude"),
        (np.repeat(GOLDEN[:1], 3, axis=0), "differs by only 0.0e+00 between 3 inputs"),
        (GOLDEN[:1] + 1e-4 * np.arange(3)[:, None, None], "a cached answer would pass"),
    ],
)
def test_a_golden_that_cannot_judge_is_degenerate_even_for_the_right_answer(golden: Any, reason: str) -> None:
    found = compare(golden, golden=golden)
    assert found.verdict == "degenerate"
    assert reason in found.reason


def test_one_input_alone_has_no_spread_to_judge_by() -> None:
    assert compare(GOLDEN[:1], golden=GOLDEN[:1]).verdict == "degenerate"


def test_top_1_agreement_is_counted_over_the_last_axis_where_asked() -> None:
    made = GOLDEN.copy()
    made[1, 0] = [9.0, 4.0, -8.0, 2.0]
    assert compare(made, classes=True).outputs[0].top1_agreement == pytest.approx(2 / 3)
    assert compare(made).outputs[0].top1_agreement is None


def test_measures_are_what_they_say() -> None:
    made = GOLDEN + np.array([0.5, -0.25, 0.0, 0.125])
    (error,) = compare(made).outputs
    assert error.max_abs == 0.5
    assert error.rmse == pytest.approx(np.sqrt(np.mean((made - GOLDEN) ** 2)))
    assert error.cosine == pytest.approx(np.sum(made * GOLDEN) / np.linalg.norm(made) / np.linalg.norm(GOLDEN))


def test_where_nothing_is_allowed_any_error_is_incomparable_and_none_is_none() -> None:
    """A tolerance of (rtol, 0) allows nothing where the golden is 0; JSON has neither NaN nor infinity."""
    nothing_absolute = Tolerance(rtol=1e-3, atol=0.0, rmse_factor=3.0)
    assert compare(GOLDEN, rule=nothing_absolute).needed == 0.0
    assert compare(off(1e-6), rule=nothing_absolute).needed == parity.INCOMPARABLE


def test_a_wider_type_of_the_golden_is_compared_in_float64() -> None:
    made = GOLDEN.astype(np.float16)
    found = parity.compare({"y": made}, {"y": GOLDEN + 1e-9}, [TensorSpec("y", (1, 4), "float16")], {}, RULE, "a golden")
    assert 0 < found.outputs[0].max_abs < 2e-9


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_precision_has_a_tolerance_and_a_narrower_one_allows_no_less(precision: str) -> None:
    found, exact = parity.tolerance_for(precision, {}), parity.tolerance_for("fp32", {})
    assert found.atol >= exact.atol
    assert found.rmse_factor >= 1


def test_a_models_own_tolerance_replaces_that_of_its_precision_only() -> None:
    overrides = {"fp16": (0.5, 0.25)}
    assert parity.tolerance_for("fp16", overrides) == Tolerance(0.5, 0.25, parity.TOLERANCES["fp16"].rmse_factor)
    assert parity.tolerance_for("fp32", overrides) == parity.TOLERANCES["fp32"]
