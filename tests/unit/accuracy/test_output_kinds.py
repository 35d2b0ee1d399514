"""A rule that fits each kind of output: right answers pass, and answers wrong in one way do not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from evenbench.harness import TensorSpec
from evenbench.harness.accuracy import output_values, parity, tolerances
from evenbench.harness.accuracy.evidence import Evidence
from evenbench.harness.core.measurements import ParityVerdict
from evenbench.harness.core.types import ANY

FP32 = tolerances.TOLERANCES["fp32"]
GENERATOR = np.random.default_rng(0)
NUMBERS = GENERATOR.standard_normal((8, 1, 2500))
"""Eight batches of one sample; 20,000 values in all."""


def judged(outputs: dict[str, Any], golden: dict[str, Any], **evidence: Any) -> ParityVerdict:
    specs = [TensorSpec(name, _shape(values), _dtype(values)) for name, values in outputs.items()]
    known = dict.fromkeys(golden, 1e-09)
    given = Evidence(**{"own_rmse": known, "fp32_rmse": known, **evidence})
    wanted = {name: output_values.widened(values) for name, values in golden.items()}
    return parity.compare(outputs, wanted, specs, FP32, "a golden", given)


def _shape(values: Any) -> tuple[int | str, ...]:
    return (ANY, *values[0].shape[1:]) if isinstance(values, list) else values.shape[1:]


def _dtype(values: Any) -> str:
    dtype = (values[0] if isinstance(values, list) else values).dtype
    return "object" if dtype.kind in "OU" else str(dtype)


def one(output: Any, golden: Any, **evidence: Any) -> ParityVerdict:
    return judged({"y": output}, {"y": golden}, **evidence)


# -- discrete values -------------------------------------------------------------------------------

IMAGE = np.clip(NUMBERS * 40 + 128, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("pixels", "levels", "verdict"),
    [(1, 1, "pass"), (20, 1, "pass"), (21, 1, "fail"), (2, 9, "pass"), (3, 9, "fail")],
)
def test_a_few_pixels_may_be_one_level_off_and_fewer_by_more(
    pixels: int, levels: int, verdict: str
) -> None:
    """A thousandth of 20,000 is 20, a ten-thousandth is 2."""
    made = IMAGE.astype(np.int64)
    made.flat[:pixels] += np.where(made.flat[:pixels] > 127, -levels, levels)
    found = one(made.astype(np.uint8), IMAGE)
    assert found.verdict == verdict
    assert found.agreement == {"differing_values": pixels}
    assert (f"y: {pixels} of 20000 integers differ by up to {levels}" in found.reason) is (
        verdict == "fail"
    )


def test_truncation_in_place_of_rounding_is_seen() -> None:
    assert (
        one(np.trunc(NUMBERS * 40).astype(np.int32), np.rint(NUMBERS * 40).astype(np.int32)).verdict
        == "fail"
    )


def test_as_many_values_may_differ_as_three_times_eagers_own() -> None:
    golden = NUMBERS > 0
    made = golden.copy()
    made.flat[:30] ^= True
    assert one(made, golden).verdict == "fail"
    assert one(made, golden, own_share={"y": 10 / golden.size}).verdict == "pass"
    assert one(made, golden, own_share={"y": 9 / golden.size}).verdict == "fail"


def test_no_label_of_few_may_differ() -> None:
    labels = np.arange(8).reshape(8, 1)
    assert one(labels, labels).needed == 0.0
    made = labels.copy()
    made[3] = 5
    assert one(made, labels).verdict == "fail"


def test_large_integers_are_compared_in_64_bits() -> None:
    golden = 2**62 + np.arange(8).reshape(8, 1)
    assert one(golden.copy(), golden).verdict == "pass"
    assert one(golden + 1, golden).verdict == "fail", "float64 has no such difference"
    most = np.array([[np.iinfo(np.int64).min], [0]])
    assert one(-1 - most, most).outputs[0].max_abs == pytest.approx(2.0**64)


def test_strings_are_equal_or_not() -> None:
    golden = np.array([["cat"], ["owl"], ["dog"]], dtype=object)
    assert one(golden.copy(), golden).verdict == "pass"
    made = golden.copy()
    made[1] = "dog"
    found = one(made, golden)
    assert (found.verdict, found.reason) == ("fail", "y: 1 of 3 strings differ, 0 may")


# -- ties ------------------------------------------------------------------------------------------

SCORES = np.array([[[9.0, 7.0, 7.0, 5.0, 5.0, 5.0]], [[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]]])
VALUES = np.array([[[9.0, 7.0, 7.0, 5.0]], [[6.0, 5.0, 4.0, 3.0]]])
INDICES = np.array([[[0, 1, 2, 3]], [[5, 4, 3, 2]]])


@pytest.mark.parametrize(
    ("first", "verdict"),
    [
        ([0, 2, 1, 3], "pass"),  # among the sevens
        ([0, 1, 2, 5], "pass"),  # another five
        ([1, 0, 2, 3], "fail"),  # a seven before the nine
        ([0, 1, 1, 3], "fail"),  # one index twice
        ([0, 1, 3, 2], "fail"),  # a five among the sevens
    ],
)
def test_indices_of_equal_values_may_change_places(first: list[int], verdict: str) -> None:
    made = INDICES.copy()
    made[0, 0] = first
    values = {"values": VALUES.astype(np.float32)}
    found = judged({**values, "indices": made}, {"values": VALUES, "indices": INDICES})
    assert found.verdict == verdict
    assert bool(found.agreement.get("tied_indices")) is (verdict == "pass")


@pytest.mark.parametrize(("label", "verdict"), [(4, "pass"), (3, "pass"), (0, "fail")])
def test_a_label_may_be_another_of_the_best_scores(label: int, verdict: str) -> None:
    scores = np.array([[[5.0, 1.0, 2.0, 7.0, 7.0]], [[1.0, 9.0, 2.0, 3.0, 4.0]]])
    golden = {"scores": scores, "label": np.array([[3], [1]])}
    made = {"scores": scores.astype(np.float32), "label": np.array([[label], [1]])}
    assert judged(made, golden).verdict == verdict


# -- values without a number -----------------------------------------------------------------------


def masked(value: float) -> Any:
    values = NUMBERS[..., :10].copy()
    values[..., 6:] = value
    return values


@pytest.mark.parametrize("value", [-np.inf, np.inf, np.nan, np.finfo(np.float32).min])
def test_the_finite_rest_is_judged_where_both_have_no_number(value: float) -> None:
    golden = masked(value)
    assert one(golden.astype(np.float32), golden).verdict == "pass"
    off = golden.copy()
    off[2, 0, 1] += 0.01
    assert one(off.astype(np.float32), golden).verdict == "fail"
    zeros = np.nan_to_num(golden, nan=0.0, posinf=0.0, neginf=0.0)
    zeros[..., 6:] = 0
    found = one(zeros.astype(np.float32), golden)
    assert (found.verdict, found.outputs[0].nonfinite) == ("fail", 32)
    assert "32 infinities or NaN in other places than the golden" in found.reason


def test_a_float64_mask_is_the_lowest_number_of_its_type_and_infinities_differ() -> None:
    golden, lowest = masked(np.finfo(np.float64).min), masked(np.finfo(np.float32).min)
    assert one(lowest.astype(np.float32), golden).verdict == "pass"
    assert one(masked(np.inf).astype(np.float32), masked(-np.inf)).verdict == "fail"
    assert one(masked(np.nan).astype(np.float32), masked(-np.inf)).verdict == "fail"


def test_no_number_at_all_judges_nothing() -> None:
    found = one(np.full((3, 1, 4), np.nan, np.float32), np.full((3, 1, 4), np.nan))
    assert (found.verdict, "non-finite values only" in found.reason) == ("degenerate", True)


# -- outputs that hardly differ, or not at all -----------------------------------------------------

KELVIN = 300 + 0.05 * NUMBERS[..., :50]


def test_temperatures_in_kelvin_are_judged_in_units_of_their_differences() -> None:
    own = {"y": 1e-5}
    assert one(KELVIN.astype(np.float32), KELVIN, own_rmse=own).verdict == "pass"
    cached = np.repeat(KELVIN[:1], 8, axis=0).astype(np.float32)
    assert one(cached, KELVIN, own_rmse=own).verdict == "fail"
    assert (
        one(
            (KELVIN + 0.005 * NUMBERS[..., 50:100]).astype(np.float32), KELVIN, own_rmse=own
        ).verdict
        == "fail"
    )
    coarse = one(KELVIN.astype(np.float32), KELVIN, own_rmse={"y": 1e-2}, fp32_rmse={})
    assert "give inputs that differ more" in coarse.reason, "the yardstick is too coarse"


def test_numbers_of_a_vanished_network_are_refused_with_advice() -> None:
    small = 1e-7 * NUMBERS[..., :50]
    found = one(small.astype(np.float32), small, own_rmse={"y": 1e-15})
    assert found.verdict == "degenerate"
    assert "multiply the output by a constant" in found.reason


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_a_constant_is_judged_and_told(value: float) -> None:
    golden = np.full((3, 1, 4), value)
    found = one(golden.astype(np.float32), golden, own_rmse={"y": 0.0})
    assert (found.verdict, found.agreement) == ("pass", {"constant_outputs": 1})
    assert one((golden + 0.1).astype(np.float32), golden, own_rmse={"y": 0.0}).verdict == "fail"


def test_noise_of_the_precision_accuses_no_runtime() -> None:
    golden, noise = 0.01 * NUMBERS[..., :50], NUMBERS[..., 50:100]
    found = one((golden + 0.1 * noise).astype(np.float32), golden, own_rmse={"y": 0.09})
    assert (found.verdict, "leaves only noise" in found.reason) == ("degenerate", True)
    broken = np.full_like(golden, np.nan, np.float32)
    assert one(broken, golden, own_rmse={"y": 0.09}).verdict == "fail"


# -- complex numbers and sizes that depend on data -------------------------------------------------


def test_both_parts_of_complex_numbers_are_judged() -> None:
    golden = NUMBERS[..., :10] + 1j * NUMBERS[..., 10:20]
    assert one(golden.astype(np.complex64), golden).verdict == "pass"
    assert one(golden.conj().astype(np.complex64), golden).verdict == "fail"
    assert (
        "is float32, the model declares"
        in parity.compare(
            {"y": golden.real.astype(np.float32)},
            {"y": golden},
            [TensorSpec("y", (1, 10), "complex64")],
            FP32,
            "a golden",
        ).reason
    )


def test_selected_places_are_compared_batch_by_batch() -> None:
    golden = [np.argwhere(row > 1) for row in NUMBERS[:, 0, :20]]
    assert len({len(places) for places in golden}) > 1
    assert one([places.copy() for places in golden], golden).verdict == "pass"
    other = [places + 1 for places in golden]
    assert one(other, golden).verdict == "fail"
    fewer = [places[:-1] for places in golden]
    assert "another number of values was selected" in one(fewer, golden).reason


# -- what a golden keeps ---------------------------------------------------------------------------


def test_a_golden_keeps_discrete_values_and_widens_the_others() -> None:
    kinds = {"b": bool, "i": np.int64, "u": np.uint8}
    for kind, dtype in kinds.items():
        assert output_values.widened(np.ones(3, dtype)).dtype.kind == kind
    assert output_values.widened(np.ones(3, np.float32)).dtype == np.float64
    assert output_values.widened(np.ones(3, np.complex64)).dtype == np.complex128
    assert output_values.widened(np.array(["a", "bc"], object)).dtype == np.dtype("<U2")


def test_a_second_run_must_agree_in_every_kind() -> None:
    assert output_values.drift(masked(np.nan), masked(np.nan)) == 0.0
    assert output_values.drift(masked(np.nan), masked(np.inf)) == np.inf
    assert output_values.drift(np.array([1, 2]), np.array([1, 3])) == np.inf
    assert output_values.drift(np.array([1.0, 2.0]), np.array([1.0, 2.5])) == 0.25
    assert output_values.drift(np.array([2j]), np.array([2.0 + 0j])) == 1.0


def test_own_errors_are_an_rmse_of_numbers_and_a_share_of_the_rest() -> None:
    golden = {"x": masked(-np.inf), "n": np.arange(4)}
    outputs = {"x": masked(-np.inf).astype(np.float32), "n": np.array([0, 1, 2, 9])}
    rmse, shares = output_values.own_errors(outputs, golden)
    assert list(rmse) == ["x"]
    assert 0 < rmse["x"] < 1e-6
    assert shares == {"x": 0.0, "n": 0.25}
