"""The rule that fits each output: numbers by tolerance, discrete values exactly, ties as equal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from evenbench.harness.accuracy import (
    distinctness,
    exact_outputs,
    output_errors,
    output_values,
    ties,
)
from evenbench.harness.core.measurements import OutputError

if TYPE_CHECKING:
    from evenbench.harness.accuracy.evidence import Evidence
    from evenbench.harness.accuracy.tolerances import Tolerance
    from evenbench.harness.core.tensor_specs import TensorSpec

    Array = np.ndarray[Any, Any]


def judge(
    outputs: Mapping[str, Any],
    golden: Mapping[str, Any],
    specs: Sequence[TensorSpec],
    tolerance: Tolerance,
    evidence: Evidence,
) -> list[tuple[OutputError, str]]:
    """The error of every output, and the reason for a failure of other rules than tolerances."""
    return [_judged(spec, outputs, golden, specs, tolerance, evidence) for spec in specs]


def _judged(
    spec: TensorSpec,
    outputs: Mapping[str, Any],
    golden: Mapping[str, Any],
    specs: Sequence[TensorSpec],
    tolerance: Tolerance,
    evidence: Evidence,
) -> tuple[OutputError, str]:
    name = spec.name
    output, wanted = _whole(outputs[name]), _whole(golden[name])
    own, own_share = evidence.own_rmse.get(name), evidence.own_share.get(name)
    if output_values.is_discrete(wanted) and not tolerance.by_task:
        tied = None if spec.is_open else ties.excused(name, outputs, golden, specs, tolerance)
        return exact_outputs.measure(name, output, wanted, own_share, tied, tolerance.steps)
    if output_values.is_text(wanted):
        return exact_outputs.measure(name, output, wanted, own_share, None)
    own_known = own if own is not None else evidence.fp32_rmse.get(name)
    fitted, _ = distinctness.fitted(name, _real(golden[name]), tolerance, own_known)
    is_classes = evidence.task == "classification"
    error = output_errors.measure(
        name, output, np.asarray(wanted, np.float64), own, fitted, is_classes, own_share
    )
    reason = ""
    if error.nonfinite and output_values.kinds(wanted).any():
        reason = (
            f"{name} has {error.nonfinite} infinities or NaN in other places than the golden, or "
            "numbers in their places"
        )
    return error, reason


def noise(error: OutputError, golden: Any) -> str:
    """The reason if the precision leaves nothing of an output but noise, or an empty string.

    The yardstick is then as far from the golden as an output of zeros.
    """
    if error.rmse_own is None or error.nonfinite or output_values.is_discrete(_whole(golden)):
        return ""
    _, numbers = output_values.numbers(_whole(golden), _whole(golden))
    root = output_errors.rmse(numbers, np.zeros_like(numbers))
    if error.rmse_own < root or not root:
        return ""
    return (
        f"degenerate reference: {error.name} has a root mean square of {root:.2g}, and eager at "
        f"this precision errs by {error.rmse_own:.2g}: the precision leaves only noise; compute "
        "the difference of close numbers in another form, or in float64"
    )


def facts(
    outputs: Mapping[str, Any],
    golden: Mapping[str, Any],
    specs: Sequence[TensorSpec],
    tolerance: Tolerance,
) -> dict[str, float]:
    """What a passing verdict does not show: differing values, ties and constant outputs.

    Absent without a finding.
    """
    different, tied = 0, 0
    for spec in specs:
        output, wanted = _whole(outputs[spec.name]), _whole(golden[spec.name])
        if not output_values.is_discrete(wanted):
            continue
        unequal = output_values.unequal(output, wanted)
        excused = (
            None if spec.is_open else ties.excused(spec.name, outputs, golden, specs, tolerance)
        )
        within = 0 if excused is None else int(np.count_nonzero(unequal & excused))
        different, tied = different + int(np.count_nonzero(unequal)) - within, tied + within
    constant = sum(distinctness.is_constant(golden[spec.name]) for spec in specs)
    counts = {
        "differing_values": different,
        "tied_indices": tied,
        "constant_outputs": constant if len(_batches(golden)) > 1 else 0,
    }
    return {name: count for name, count in counts.items() if count}


def _batches(golden: Mapping[str, Any]) -> Any:
    return next(iter(golden.values()), ())


def _whole(values: Any) -> Any:
    """An output as one array of real numbers or discrete values; lists are joined."""
    if isinstance(values, list):
        return np.concatenate([_real(array).reshape(-1) for array in values])
    return _real(np.asarray(values))


def _real(values: Any) -> Any:
    return output_values.real(values)
