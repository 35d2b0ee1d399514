"""Both rules of parity, exactly at their limits, and all that is wrong before a number is looked
at.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from evenbench.harness import TensorSpec
from evenbench.harness.accuracy import output_errors, parity, tolerances
from evenbench.harness.accuracy.evidence import Evidence
from evenbench.harness.accuracy.tolerances import Tolerance
from evenbench.harness.core.measurements import ParityVerdict
from evenbench.harness.core.types import PRECISIONS

SPEC = TensorSpec("y", ("batch", 4))
GOLDEN = np.array(
    [[[8.0, -2.0, 1.0, 0.0]], [[1.0, 4.0, -8.0, 2.0]], [[0.5, 0.0, 2.0, 8.0]]]
)  # [3 batches, batch 1, 4], scale 8
RULE = Tolerance(rtol=2**-10, atol=2**-13, rmse_factor=3.0)
"""Powers of two, so that limits are exact: 2**-10 * |golden| + 2**-10, as the scale is 8."""


def compare(
    made: Any, golden: Any = GOLDEN, own: float | None = None, rule: Tolerance = RULE, **more: Any
) -> ParityVerdict:
    evidence = Evidence(own_rmse={} if own is None else {"y": own}, **more)
    return parity.compare(
        {"y": np.asarray(made, np.float32)}, {"y": golden}, [SPEC], rule, "a golden", evidence
    )


def off(by: float, at: tuple[int, int, int] = (0, 0, 3)) -> Any:
    made = GOLDEN.copy()
    made[at] += by
    return made


def test_the_right_answer_needs_nothing() -> None:
    found = compare(GOLDEN)
    assert (found.verdict, found.reason, found.needed, found.allowed, found.golden) == (
        "pass",
        "",
        0.0,
        1.0,
        "a golden",
    )
    (error,) = found.outputs
    assert (error.scale, error.max_abs, error.rmse, error.nonfinite) == (8.0, 0.0, 0.0, 0)
    assert error.cosine == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("at", "limit"),
    [
        ((0, 0, 3), 2**-10),
        ((0, 0, 0), 9 * 2**-10),
        ((1, 0, 2), 9 * 2**-10),
        ((0, 0, 2), 2 * 2**-10),
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_exactly_the_elementwise_limit_passes_with_needed_one(
    at: tuple[int, int, int], limit: float, sign: int
) -> None:
    assert (compare(off(sign * limit, at)).verdict, compare(off(sign * limit, at)).needed) == (
        "pass",
        1.0,
    )
    beyond = compare(off(sign * 1.01 * limit, at))
    assert beyond.verdict == "fail"
    assert beyond.needed == pytest.approx(1.01, rel=1e-3)


def test_the_rmse_rule_passes_what_the_elementwise_rule_does_not() -> None:
    made = off(0.01)  # ten times the elementwise limit at this place
    root = 0.01 / np.sqrt(GOLDEN.size)
    assert compare(made).verdict == "fail"
    found = compare(made, own=root / 3)
    assert (found.verdict, found.outputs[0].needed_elementwise) == (
        "pass",
        pytest.approx(10.24, rel=1e-3),
    )
    assert found.needed == pytest.approx(1.0, abs=1e-3)
    assert compare(made, own=root / 3.01).verdict == "fail"


def test_needed_is_the_smaller_of_the_two_rules() -> None:
    found = compare(off(2**-11), own=1e-12)
    assert (found.verdict, found.needed) == ("pass", 0.5)
    assert found.outputs[0].needed_rmse > 1  # type: ignore[operator]


def test_the_worst_output_decides_and_is_named() -> None:
    specs = [SPEC, TensorSpec("z", ("batch", 4))]
    made = {"y": GOLDEN.astype(np.float32), "z": off(1.0).astype(np.float32)}
    found = parity.compare(
        made,
        {"y": GOLDEN, "z": GOLDEN},
        specs,
        RULE,
        "a golden",
        Evidence(own_rmse={"y": 0.0, "z": 1e-3}),
    )
    assert found.verdict == "fail"
    assert found.reason.startswith("z needs ")
    assert "eager's own is 0.001" in found.reason


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_single_value_that_is_not_finite_fails_whatever_is_allowed(value: float) -> None:
    found = compare(off(value), own=1e9)
    assert (found.verdict, found.needed, found.reason) == (
        "fail",
        output_errors.INCOMPARABLE,
        "y has 1 non-finite values",
    )


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (
            {"x": GOLDEN.astype(np.float32)},
            r"outputs are named \['x'\], the model declares \['y'\]",
        ),
        ({"y": GOLDEN.astype(np.float32), "extra": GOLDEN}, r"outputs are named \['extra', 'y'\]"),
        ({}, r"outputs are named \[\]"),
        ({"y": GOLDEN}, "output y is float64, the model declares float32"),
        ({"y": GOLDEN.astype(np.float32)[..., :3]}, r"has shape \[1, 3\], the golden has \[1, 4\]"),
        ({"y": GOLDEN.astype(np.float32).swapaxes(1, 2)}, r"has shape \[4, 1\]"),
    ],
)
def test_wrong_names_dtypes_and_shapes_fail_before_numbers_are_compared(
    made: dict[str, Any], reason: str
) -> None:
    found = parity.compare(made, {"y": GOLDEN}, [SPEC], RULE, "a golden")
    assert (found.verdict, found.needed) == ("fail", output_errors.INCOMPARABLE)
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
def test_a_golden_that_cannot_judge_is_degenerate_even_for_the_right_answer(
    golden: Any, reason: str
) -> None:
    found = compare(golden, golden=golden)
    assert found.verdict == "degenerate"
    assert reason in found.reason


def test_one_input_alone_has_no_spread_to_judge_by() -> None:
    assert compare(GOLDEN[:1], golden=GOLDEN[:1]).verdict == "degenerate"


def test_a_model_without_inputs_is_judged_by_its_one_answer() -> None:
    assert compare(GOLDEN[:1], golden=GOLDEN[:1], has_inputs=False).verdict == "pass"
    assert compare(GOLDEN[:1] + 1, golden=GOLDEN[:1], has_inputs=False).verdict == "fail"


def test_top_1_agreement_is_counted_over_the_last_axis_where_asked() -> None:
    made = GOLDEN.copy()
    made[1, 0] = [9.0, 4.0, -8.0, 2.0]
    assert compare(made, task="classification").outputs[0].top1_agreement == pytest.approx(2 / 3)
    assert compare(made).outputs[0].top1_agreement is None


def test_measures_are_what_they_say() -> None:
    made = GOLDEN + np.array([0.5, -0.25, 0.0, 0.125])
    (error,) = compare(made).outputs
    assert error.max_abs == 0.5
    assert error.rmse == pytest.approx(np.sqrt(np.mean((made - GOLDEN) ** 2)))
    assert error.cosine == pytest.approx(
        np.sum(made * GOLDEN) / np.linalg.norm(made) / np.linalg.norm(GOLDEN)
    )


def test_where_nothing_is_allowed_any_error_is_incomparable_and_none_is_none() -> None:
    """A tolerance of (rtol, 0) allows nothing where the golden is 0; JSON has neither NaN nor
    infinity.
    """
    nothing_absolute = Tolerance(rtol=1e-3, atol=0.0, rmse_factor=3.0)
    assert compare(GOLDEN, rule=nothing_absolute).needed == 0.0
    assert compare(off(1e-6), rule=nothing_absolute).needed == output_errors.INCOMPARABLE


def test_a_wider_type_of_the_golden_is_compared_in_float64() -> None:
    made = GOLDEN.astype(np.float16)
    found = parity.compare(
        {"y": made}, {"y": GOLDEN + 1e-9}, [TensorSpec("y", (1, 4), "float16")], RULE, "a golden"
    )
    assert 0 < found.outputs[0].max_abs < 2e-9


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_precision_has_a_tolerance_and_a_narrower_one_allows_no_less(precision: str) -> None:
    found, exact = tolerances.tolerance_for(precision, {}), tolerances.tolerance_for("fp32", {})
    assert found.atol >= exact.atol
    assert found.rmse_factor >= 1


def test_a_models_own_tolerance_replaces_that_of_its_precision_only() -> None:
    overrides = {"fp16": (0.5, 0.25)}
    assert tolerances.tolerance_for("fp16", overrides) == replace(
        tolerances.TOLERANCES["fp16"], rtol=0.5, atol=0.25
    )
    assert tolerances.tolerance_for("fp32", overrides) == tolerances.TOLERANCES["fp32"]


# -- low precisions: a floor, a ceiling, and int8 judged by what it is for -------------------------

LOW = Tolerance(rtol=2**-4, atol=2**-4, rmse_factor=3.0, floor=10.0, ceiling=0.05)
FP32 = Evidence(fp32_rmse={"y": 2**-20})
ROOT_MEAN_SQUARE = float(np.sqrt(np.mean(np.square(GOLDEN))))


def all_off(by: float) -> Any:
    """Every element off by `by` (RMSE is `by`), in alternating directions."""
    return GOLDEN + by * np.array([1, -1, 1, -1])


def judged(made: Any, rule: Tolerance, evidence: Evidence) -> ParityVerdict:
    return parity.compare(
        {"y": np.asarray(made, np.float32)}, {"y": GOLDEN}, [SPEC], rule, "a golden", evidence
    )


@pytest.mark.parametrize(
    ("by", "verdict"),
    [(0.0, "too exact"), (2**-20, "too exact"), (9 * 2**-20, "too exact"), (11 * 2**-20, "pass")],
)
def test_an_answer_as_exact_as_fp32_was_not_computed_in_fewer_bits(by: float, verdict: str) -> None:
    found = judged(all_off(by), LOW, FP32)
    assert found.verdict == verdict
    assert ("y has RMSE" in found.reason and "fp32 eager has 9.5e-07" in found.reason) is (
        verdict == "too exact"
    )


def test_without_an_fp32_yardstick_or_a_floor_nothing_is_too_exact() -> None:
    assert judged(GOLDEN, LOW, Evidence()).verdict == "pass"
    assert judged(GOLDEN, replace(LOW, floor=0.0), FP32).verdict == "pass"


def test_one_output_that_shows_the_precision_is_enough() -> None:
    """A second output may be exact at any precision, such as a mask or an index."""
    specs = [SPEC, TensorSpec("mask", ("batch", 4))]
    made = {"y": all_off(2**-10).astype(np.float32), "mask": GOLDEN.astype(np.float32)}
    evidence = Evidence(fp32_rmse={"y": 2**-20, "mask": 2**-20})
    assert (
        parity.compare(
            made, {"y": GOLDEN, "mask": GOLDEN}, specs, LOW, "a golden", evidence
        ).verdict
        == "pass"
    )


@pytest.mark.parametrize(("share", "verdict"), [(0.99, "pass"), (1.01, "fail")])
def test_no_yardstick_excuses_an_error_beyond_the_ceiling(share: float, verdict: str) -> None:
    narrow = replace(LOW, rtol=0.0, atol=2**-14)
    by = share * LOW.ceiling * ROOT_MEAN_SQUARE
    assert judged(all_off(by), narrow, Evidence(own_rmse={"y": 2.0})).verdict == verdict


TASK = Tolerance(0.0, 0.15, 10.0, floor=10.0, by_task=True)


@pytest.mark.parametrize(
    ("own", "verdict", "needed"),
    [(0.95, "pass", 0.0), (0.97, "pass", 0.0), (0.9405, "pass", 1.0), (0.93, "fail", 2.105)],
)
def test_int8_is_judged_by_the_metric_where_there_is_one(
    own: float, verdict: str, needed: float
) -> None:
    """1 % of the golden's score is the limit, and the timed numbers may be as far off as half of
    what agreement allows.
    """
    found = judged(all_off(2.0), TASK, Evidence(metric=(own, 0.95)))
    agreement = (1 - found.outputs[0].cosine) / tolerances.TIMED_COSINE_LOSS
    assert found.verdict == verdict
    assert 1 - found.outputs[0].cosine > tolerances.COSINE_LOSS
    assert found.needed == pytest.approx(max(needed, agreement), abs=1e-3)
    assert ("scores 0.93 on held-out data, the golden 0.95: more than 1% lost" in found.reason) is (
        verdict == "fail"
    )


@pytest.mark.parametrize(
    ("cosine_loss", "verdict"),
    [(0.9 * tolerances.COSINE_LOSS, "pass"), (1.1 * tolerances.COSINE_LOSS, "fail")],
)
def test_int8_without_held_out_data_is_judged_by_agreement(
    cosine_loss: float, verdict: str
) -> None:
    """An error at right angles to the golden, so that the cosine is 1 / sqrt(1 + (|error| /
    |golden|)^2) exactly.
    """
    at_right_angles = np.stack(
        [GOLDEN[..., 1], -GOLDEN[..., 0], GOLDEN[..., 3], -GOLDEN[..., 2]], axis=-1
    )
    by = np.sqrt(1 / (1 - cosine_loss) ** 2 - 1)
    found = judged(GOLDEN + by * at_right_angles, TASK, Evidence())
    assert found.verdict == verdict
    assert found.needed == pytest.approx(cosine_loss / tolerances.COSINE_LOSS, rel=1e-4)
    assert ("has cosine" in found.reason) is (verdict == "fail")


def test_a_metric_taken_outside_the_timed_loop_does_not_excuse_timed_answers_to_other_inputs() -> (
    None
):
    found = judged(GOLDEN[[1, 2, 0]], TASK, Evidence(metric=(1.0, 1.0)))
    assert found.verdict == "fail"
    assert "at least 0.8 is required" in found.reason


def test_a_metric_excuses_no_value_that_is_not_finite() -> None:
    found = judged(off(np.nan), TASK, Evidence(metric=(1.0, 1.0)))
    assert (found.verdict, found.reason) == ("fail", "y has 1 non-finite values")


def test_a_good_metric_does_not_hide_that_fp32_ran() -> None:
    assert (
        judged(all_off(2**-20), TASK, Evidence(fp32_rmse={"y": 2**-20}, metric=(1.0, 1.0))).verdict
        == "too exact"
    )


def test_a_golden_that_scores_nothing_asks_for_nothing() -> None:
    assert judged(all_off(2.0), TASK, Evidence(metric=(0.0, 0.0))).verdict == "pass"


def test_precisions_narrower_than_fp32_have_a_floor_and_only_int8_is_judged_by_its_task() -> None:
    without = {name for name, rule in tolerances.TOLERANCES.items() if not rule.floor}
    assert without == {"fp32", "fp64", "int8"}  # files as they are: no fp32 to compare with
    assert {name for name, rule in tolerances.TOLERANCES.items() if rule.by_task} == {
        "int8-dynamic",
        "int8-static",
    }
