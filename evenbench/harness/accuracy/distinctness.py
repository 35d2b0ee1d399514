"""Whether a golden can judge: outputs that hardly differ, do not differ, or have no number.

A golden equal for every input would pass a cached answer. An output that differs little in units
of its scale, such as a temperature in kelvin, is judged by a tolerance in units of the difference,
if the yardstick is so exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from evenbench.harness.accuracy import output_errors, output_values
from evenbench.harness.accuracy.output_errors import scale

if TYPE_CHECKING:
    from evenbench.harness.accuracy.evidence import Evidence
    from evenbench.harness.accuracy.tolerances import Tolerance
    from evenbench.harness.core.tensor_specs import TensorSpec

    Array = np.ndarray[Any, Any]

SMALLEST_SCALE = 1e-5
"""A golden of smaller magnitude has no natural scale: its activations vanished on the way."""

LEAST_SPREAD = 20.0
"""The least difference of a golden between inputs, in units of the allowed error. With a smaller
difference, any output would pass.
"""

LARGEST_SPREAD = 0.05
"""The largest difference ever required, as a share of the scale, however wide the tolerance."""

OWN_FACTOR = 3.0
"""The yardstick's error times this factor must lie within the allowed error."""


def degenerate(
    golden: Mapping[str, Any],
    specs: Sequence[TensorSpec],
    tolerance: Tolerance,
    evidence: Evidence,
) -> str:
    """The reason for a golden being unable to judge, or an empty string.

    A constant output, such as a detector's anchors, is acceptable if another output differs between
    inputs.
    """
    spread = tolerance if evidence.has_inputs else replace(tolerance, atol=0.0)
    problems = []
    for spec in specs:
        name, fp32 = spec.name, evidence.fp32_rmse.get(spec.name)
        own = evidence.own_rmse.get(name, fp32)
        problems.append(fitted(name, output_values.real(golden[name]), spread, own)[1])
    return problems[0] if problems and all(problems) else ""


def fitted(
    name: str, golden: Any, tolerance: Tolerance, own: float | None
) -> tuple[Tolerance, str]:
    """The tolerance for an output, and the reason if the golden cannot judge.

    `golden` is [batches, ...], or a list of arrays for data-dependent shapes. `own` is the
    yardstick's RMSE, None without a yardstick. Constant outputs keep their tolerance if a yardstick
    confirms the golden.
    """
    values = _stacked(golden)
    if values is None or output_values.is_discrete(values):
        return tolerance, ""
    finite = np.where(output_values.kinds(values) == 0, values, np.nan)
    if values.size and np.isnan(finite).all():
        return tolerance, (
            f"degenerate reference: {name} has non-finite values only; give inputs for which the "
            "model computes numbers"
        )
    return _fitted(name, finite, tolerance, own)


def is_constant(golden: Any) -> bool:
    """Whether an output is equal for every input."""
    values = _stacked(golden)
    return values is not None and all(
        np.array_equal(values[0], one, equal_nan=values.dtype.kind == "f") for one in values[1:]
    )


def _stacked(golden: Any) -> Array | None:
    """The golden as [batches, ...]; None for arrays of several shapes."""
    if not isinstance(golden, list):
        return np.asarray(golden)
    if len({array.shape for array in golden}) > 1:
        return None
    return np.stack(golden)


def _fitted(
    name: str, values: Array, tolerance: Tolerance, own: float | None
) -> tuple[Tolerance, str]:
    numbers = values[~np.isnan(values)]
    largest = scale(numbers)
    spread = _spread(values)
    least = min(LEAST_SPREAD * tolerance.atol, LARGEST_SPREAD) * largest
    if largest >= SMALLEST_SCALE and spread >= least:
        return tolerance, ""
    if own is not None and spread == 0:
        return tolerance, ""
    deviation = _deviation(values)
    has_scale = largest >= SMALLEST_SCALE
    if (
        has_scale
        and own is not None
        and spread > 0
        and OWN_FACTOR * own <= deviation / LEAST_SPREAD
    ):
        limit = deviation / LEAST_SPREAD
        root = output_errors.rmse(numbers, np.zeros_like(numbers))
        atol, ceiling = limit / max(largest, 1e-300), limit / max(root, 1e-300)
        narrowed = replace(
            tolerance,
            rtol=0.0,
            atol=min(tolerance.atol, atol),
            ceiling=min(tolerance.ceiling, ceiling),
        )
        return narrowed, ""
    if largest < SMALLEST_SCALE:
        return tolerance, (
            f"degenerate reference: {name} is at most {largest:.1e} in magnitude, under "
            f"{SMALLEST_SCALE:.0e}; multiply the output by a constant, or give other weights if "
            "they are random"
        )
    return tolerance, (
        f"degenerate reference: {name} differs by only {spread:.1e} between {len(values)} "
        f"inputs, under {least:.1e}; a cached answer would pass; give inputs that differ more"
    )


def _spread(values: Array) -> float:
    """The largest difference of a number between inputs; NaN stands for no number."""
    if len(values) < 2 or not values.size:
        return 0.0
    return float(
        np.max(
            np.where(np.isnan(values), -np.inf, values).max(0)
            - np.where(np.isnan(values), np.inf, values).min(0),
            initial=0.0,
        )
    )


def _deviation(values: Array) -> float:
    """RMS of the numbers around the mean over inputs."""
    numbers = ~np.isnan(values)
    count = np.maximum(numbers.sum(0), 1)
    mean = np.where(numbers, values, 0.0).sum(0) / count
    squares = np.square(np.where(numbers, values - mean, 0.0))
    return float(np.sqrt(squares.sum() / max(int(numbers.sum()), 1)))
