"""The parity verdict: timed outputs against a float64 golden, judged by the precision's own error.

A verdict passes on either of two rules. Elementwise: |out - golden| <= rtol * |golden| + atol *
scale, where scale is the golden's largest magnitude. Or by RMSE: rmse(out, golden) <= factor *
rmse(eager at this precision, golden) + 1e-7 * scale, the rule of PyTorch's dynamo benchmarks
(torch/_dynamo/utils.py, `same`). `needed` is the smaller of the two ratios of error to limit, so
1.0 is exactly the limit and nobody has to guess a tolerance.

Low precisions have a floor and a ceiling as well. An output as exact as fp32 was not computed in
fewer bits (`too exact`), and no yardstick excuses an error beyond the ceiling. int8 is judged by
the task's metric for models with held-out data (timed outputs must still resemble the golden), and
by cosine similarity to the golden for other models.

A detector's objects (`data_dependent_shapes.objects`) are matched before comparison
(`detection_matching`). These rules judge every other output of any task; `agreement` adds facts
about the meaning of an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from evenbench.harness.accuracy import agreement, detection_matching
from evenbench.harness.accuracy.output_errors import INCOMPARABLE, measure, needed_of, scale
from evenbench.harness.accuracy.tolerances import (
    COSINE_LOSS,
    METRIC_DROP,
    TIMED_COSINE_LOSS,
    Tolerance,
)
from evenbench.harness.core import data_dependent_shapes
from evenbench.harness.core.measurements import OutputError, ParityVerdict
from evenbench.harness.core.types import SCORE_THRESHOLD, TensorSpec

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]
    Outputs = Mapping[str, Any]
    """By declared name: an array [batches, ...], or for data-dependent shapes a list of one array
    per batch.
    """

SMALLEST_SCALE = 1e-5
"""A golden of smaller magnitude has no natural scale: its activations vanished on the way."""

LEAST_SPREAD = 20.0
"""The least difference of a golden between inputs, in units of the allowed error. With a smaller
difference, any output would pass.
"""

LARGEST_SPREAD = 0.05
"""The largest difference ever required, as a share of the scale, however wide the tolerance."""


@dataclass(frozen=True)
class Evidence:
    """Facts used by a verdict besides the tensors.

    `own_rmse` is eager's RMSE against the golden at the cell's precision, `fp32_rmse` at fp32, both
    by output name and empty without a yardstick. `task` is the model's. `metric` is this session's
    score and the golden's on held-out data. `threshold` is the least score of a detection.
    """

    own_rmse: Mapping[str, float] = field(default_factory=dict)
    fp32_rmse: Mapping[str, float] = field(default_factory=dict)
    task: str = ""
    metric: tuple[float, float] | None = None
    threshold: float = SCORE_THRESHOLD
    has_inputs: bool = True


def compare(
    outputs: Outputs,
    golden: Outputs,
    specs: Sequence[TensorSpec],
    tolerance: Tolerance,
    kind: str,
    evidence: Evidence = Evidence(),
) -> ParityVerdict:
    """Judge `outputs` ([batches, batch, ...] by declared name) against `golden` of the same shapes
    in float64. `kind` names the golden.

    An output with a data-dependent shape is a list of one array per batch on both sides.
    """
    facts: dict[str, float] = {}

    def verdict(
        name: str, reason: str, needed: float, errors: Sequence[OutputError] = ()
    ) -> ParityVerdict:
        rule = (1.0, tolerance.rtol, tolerance.atol, tolerance.rmse_factor)
        return ParityVerdict(name, reason, kind, needed, *rule, tuple(errors), facts)  # type: ignore[arg-type]

    lists = data_dependent_shapes.objects(evidence.task, {spec.name: spec.shape for spec in specs})
    fixed = [spec for spec in specs if spec.name not in lists]
    problem = _degenerate(golden, fixed, lists, tolerance, evidence)
    if problem:
        return verdict("degenerate", problem, INCOMPARABLE)
    problem = _form(outputs, golden, specs)
    if problem:
        return verdict("fail", problem, INCOMPARABLE)
    errors = [_error_of(spec.name, outputs, golden, tolerance, evidence) for spec in fixed]
    facts |= _agreement(outputs, golden, fixed, evidence.task)
    too_exact = _too_exact(errors, evidence, tolerance)
    if too_exact:
        return verdict("too exact", too_exact, 0.0, errors)
    judgements = [_judgement(errors, evidence, tolerance)] if errors else []
    if lists:
        needed, reason, difference = detection_matching.judge(
            _images(outputs, lists), _images(golden, lists), evidence.threshold, tolerance.limits
        )
        facts |= difference.facts()
        shown = f"needs {needed:.3g} times the allowed limit: {reason}"
        judgements.append((min(needed, INCOMPARABLE), shown))
    needed, reason = max(judgements)
    if needed > 1:
        return verdict("fail", reason, needed, errors)
    return verdict("pass", "", needed, errors)


def _error_of(
    name: str, outputs: Outputs, golden: Outputs, tolerance: Tolerance, evidence: Evidence
) -> OutputError:
    own, is_classes = evidence.own_rmse.get(name), evidence.task == "classification"
    return measure(name, outputs[name], golden[name], own, tolerance, is_classes)


def _images(outputs: Outputs, names: Sequence[str]) -> list[dict[str, Array]]:
    """The detections of each batch; a batch is one image."""
    return [
        dict(zip(names, arrays, strict=True))
        for arrays in zip(*(outputs[name] for name in names), strict=True)
    ]


def _agreement(
    outputs: Outputs, golden: Outputs, specs: Sequence[TensorSpec], task: str
) -> dict[str, float]:
    """Task-level agreement for the first output of a suitable form."""
    for spec in specs:
        facts = agreement.facts(task, outputs[spec.name], golden[spec.name], len(spec.shape) - 1)
        if facts:
            return facts
    return {}


# -- the golden ------------------------------------------------------------------------------------


def _degenerate(
    golden: Outputs,
    fixed: Sequence[TensorSpec],
    lists: Sequence[str],
    tolerance: Tolerance,
    evidence: Evidence,
) -> str:
    # A model without inputs is constant, so its inputs need not differ by any allowed error.
    spread = tolerance if evidence.has_inputs else replace(tolerance, atol=0.0)
    problem = degenerate({spec.name: golden[spec.name] for spec in fixed}, spread)
    if lists and not problem:
        images = _images(golden, lists)
        return detection_matching.degenerate(images, evidence.threshold, tolerance.limits)
    return problem


def degenerate(golden: Outputs, tolerance: Tolerance) -> str:
    """The reason for a golden being unable to judge, or an empty string. `golden` arrays are
    [batches, ...].

    A constant output, such as a detector's anchors, is acceptable if another output differs between
    inputs.
    """
    for name, values in golden.items():
        if not np.all(np.isfinite(values)):
            return f"degenerate reference: {name} has non-finite values"
    problems = [_indistinct(name, values, tolerance) for name, values in golden.items()]
    return problems[0] if problems and all(problems) else ""


def _indistinct(name: str, values: Array, tolerance: Tolerance) -> str:
    """The reason for an output not distinguishing the inputs, or an empty string."""
    largest = scale(values)
    if largest < SMALLEST_SCALE:
        return (
            f"degenerate reference: {name} is at most {largest:.1e} in magnitude, under "
            f"{SMALLEST_SCALE:.0e}; recalibrate the weights"
        )
    spread = float(np.max(np.ptp(values, axis=0))) if len(values) > 1 else 0.0
    least = min(LEAST_SPREAD * tolerance.atol, LARGEST_SPREAD) * largest
    if spread < least:
        return (
            f"degenerate reference: {name} differs by only {spread:.1e} between {len(values)} "
            f"inputs, under {least:.1e}; a cached answer would pass"
        )
    return ""


# -- the form of outputs ---------------------------------------------------------------------------


def _form(outputs: Outputs, golden: Outputs, specs: Sequence[TensorSpec]) -> str:
    """The first wrong name, dtype or shape as text, or an empty string."""
    expected = [spec.name for spec in specs]
    if sorted(outputs) != sorted(expected):
        return f"outputs are named {sorted(outputs)}, the model declares {sorted(expected)}"
    for spec in specs:
        check = _open_form if spec.is_open else _fixed_form
        problem = check(spec, outputs[spec.name], golden[spec.name])
        if problem:
            return problem
    return ""


def _fixed_form(spec: TensorSpec, output: Array, golden: Array) -> str:
    if str(output.dtype) != spec.dtype:
        return f"output {spec.name} is {output.dtype}, the model declares {spec.dtype}"
    if output.shape != golden.shape:
        return (
            f"output {spec.name} has shape {list(output.shape[1:])}, the golden has "
            f"{list(golden.shape[1:])}"
        )
    return ""


def _open_form(spec: TensorSpec, output: Sequence[Array], golden: Sequence[Array]) -> str:
    """The same for an output with a data-dependent shape, with any number of rows."""
    if len(output) != len(golden):
        return f"output {spec.name} came {len(output)} times, the golden {len(golden)} times"
    for array, expected in zip(output, golden, strict=True):
        if str(array.dtype) != spec.dtype:
            return f"output {spec.name} is {array.dtype}, the model declares {spec.dtype}"
        if array.shape[1:] != expected.shape[1:] or array.ndim != expected.ndim:
            return (
                f"output {spec.name} has shape {list(array.shape)}, the golden has "
                f"{list(expected.shape)}: they differ in more than a number"
            )
    return ""


# -- the judgement ---------------------------------------------------------------------------------


def _judgement(
    errors: Sequence[OutputError], evidence: Evidence, tolerance: Tolerance
) -> tuple[float, str]:
    """The needed tolerance in units of the allowed tolerance, and the reason for a failure."""
    if tolerance.by_task:
        return _by_task(errors, evidence)
    worst = max(errors, key=needed_of)
    needed = needed_of(worst)
    return needed, _reason(worst, needed)


def _by_task(errors: Sequence[OutputError], evidence: Evidence) -> tuple[float, str]:
    """The judgement by the loss of the task's metric, if known, and by the lowest cosine
    similarity.
    """
    broken = [error for error in errors if error.nonfinite]
    if broken:
        return INCOMPARABLE, _reason(broken[0], INCOMPARABLE)
    worst = min(errors, key=lambda error: error.cosine)
    loss = TIMED_COSINE_LOSS if evidence.metric else COSINE_LOSS
    similarity = (
        max(0.0, 1 - worst.cosine) / loss,
        f"{worst.name} has cosine {worst.cosine:.4f} to the golden, at least {1 - loss:g} is "
        "required",
    )
    if not evidence.metric:
        return similarity
    own, golden = evidence.metric
    drop = (golden - own) / golden if golden else 0.0
    shown = f"scores {own:.4g} on held-out data, the golden {golden:.4g}"
    return max(similarity, (drop / METRIC_DROP, f"{shown}: more than {METRIC_DROP:.0%} lost"))


def _too_exact(errors: Sequence[OutputError], evidence: Evidence, tolerance: Tolerance) -> str:
    """The reason if every output is as close to the golden as fp32 would be, or an empty string."""
    known = [error for error in errors if evidence.fp32_rmse.get(error.name)]
    if not tolerance.floor or not known:
        return ""
    if any(error.rmse > tolerance.floor * evidence.fp32_rmse[error.name] for error in known):
        return ""
    first = known[0]
    return (
        f"{first.name} has RMSE {first.rmse:.2g}, fp32 eager has "
        f"{evidence.fp32_rmse[first.name]:.2g}: this was not computed at the requested precision"
    )


def _reason(worst: OutputError, needed: float) -> str:
    if worst.nonfinite:
        return f"{worst.name} has {worst.nonfinite} non-finite values"
    own = (
        ""
        if worst.rmse_own is None
        else f", RMSE {worst.rmse:.2g} where eager's own is {worst.rmse_own:.2g}"
    )
    return (
        f"{worst.name} needs {needed:.3g} times the allowed tolerance: max |error| "
        f"{worst.max_abs:.2g} at scale {worst.scale:.2g}{own}"
    )
