"""Is the answer right? Timed outputs against a float64 golden, judged by what the precision itself
costs.

A verdict passes on either of two rules. Elementwise: |out - golden| <= rtol * |golden| + atol *
scale, where scale is the golden's largest magnitude. Or by RMSE: rmse(out, golden) <= factor *
rmse(eager at this precision, golden) + 1e-7 * scale, the rule of PyTorch's dynamo benchmarks
(torch/_dynamo/utils.py, `same`). `needed` is the smaller of the two ratios of error to limit, so
that 1.0 is exactly the limit and nobody has to guess a tolerance.

Low precisions have a floor and a ceiling as well. An answer as exact as fp32 was not computed in
fewer bits (`too exact`), and no yardstick excuses an error beyond the ceiling. int8 is judged by
what it is for: the task's metric where the model has held-out data (and what was timed must still
resemble the golden), agreement with the golden where it has none.

A detector's objects (`open_sizes.objects`) are matched before they are compared (`detections`);
every other output is judged by these rules whatever the task, which adds facts about what the error
means (`agreement`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.accuracy import agreement, detection_matching
from harness.core import data_dependent_shapes
from harness.core.measurements import OutputError, ParityVerdict
from harness.core.types import SCORE_THRESHOLD, TensorSpec

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]
    Outputs = Mapping[str, Any]
    """By declared name: an array [batches, ...], or a list of one array per batch where sizes are
    open.
    """

INCOMPARABLE = 1e9
"""Stands for an infinite error (non-finite values, wrong shape), since JSON has no infinity."""

SMALLEST_SCALE = 1e-5
"""A golden whose largest magnitude is below this has no natural scale: activations died on the way.
"""

LEAST_SPREAD = 20.0
"""Between inputs, a golden must differ by at least this many times the allowed error, or any answer
would pass.
"""

LARGEST_SPREAD = 0.05
"""More than this share of the scale is never asked for, however wide a precision's tolerance is."""


@dataclass(frozen=True)
class Tolerance:
    """`atol` is in units of the golden's largest magnitude; `rmse_factor` multiplies the
    yardstick's own error.

    `floor` is in units of fp32 eager's RMSE: an error no larger than that shows that fp32 ran.
    `ceiling` is the largest RMSE that the RMSE rule ever allows, in units of the golden's own root
    mean square. `by_task` precisions are judged by metric or agreement instead of by these numbers.
    `limits` are for detections.
    """

    rtol: float
    atol: float
    rmse_factor: float
    floor: float = 0.0
    ceiling: float = 1.0
    by_task: bool = False
    limits: detection_matching.Limits = detection_matching.LIMITS["fp32"]


TOLERANCES: Mapping[str, Tolerance] = {
    "fp32": Tolerance(5e-5, 5e-5, 3.0, ceiling=1e-2),
    "tf32": Tolerance(
        1e-3, 1e-3, 3.0, floor=10.0, ceiling=5e-2, limits=detection_matching.LIMITS["tf32"]
    ),
    "fp16": Tolerance(
        1e-2, 5e-3, 3.0, floor=10.0, ceiling=5e-2, limits=detection_matching.LIMITS["fp16"]
    ),
    "bf16": Tolerance(
        2e-2, 2e-2, 3.0, floor=10.0, ceiling=2e-1, limits=detection_matching.LIMITS["bf16"]
    ),
    "int8-dynamic": Tolerance(
        0.0, 0.1, 10.0, floor=10.0, by_task=True, limits=detection_matching.LIMITS["int8-dynamic"]
    ),
    "int8-static": Tolerance(
        0.0, 0.15, 10.0, floor=10.0, by_task=True, limits=detection_matching.LIMITS["int8-static"]
    ),
}

METRIC_DROP = 0.01
"""int8 may lose this share of the golden's task metric."""

COSINE_LOSS = 0.02
"""int8 without held-out data: 1 - cosine similarity to the golden may be this large, which is an
error of a fifth of the answer.
"""

TIMED_COSINE_LOSS = 0.2
"""The same where the metric decides. It is taken outside the timed loop, so that what was timed
must at least resemble the golden.
"""


@dataclass(frozen=True)
class Evidence:
    """What is known beside the tensors. RMSE are against the golden, by output name, empty where
    there is no yardstick.

    `own_rmse` is eager's at the cell's precision, `fp32_rmse` at fp32. `task` is the model's, which
    adds facts about what an error means. `metric` is this session's score and the golden's on
    held-out data. `threshold` is the score from which on a detection counts.
    """

    own_rmse: Mapping[str, float] = field(default_factory=dict)
    fp32_rmse: Mapping[str, float] = field(default_factory=dict)
    task: str = ""
    metric: tuple[float, float] | None = None
    threshold: float = SCORE_THRESHOLD


def tolerance_for(precision: str, overrides: Mapping[str, tuple[float, float]]) -> Tolerance:
    """The precision's tolerance, with a model's own (rtol, atol) where it declares one."""
    standard = TOLERANCES[precision]
    if precision not in overrides:
        return standard
    rtol, atol = overrides[precision]
    return replace(standard, rtol=rtol, atol=atol)


def degenerate(golden: Outputs, tolerance: Tolerance) -> str:
    """Why this golden cannot judge anything, or an empty string. `golden` arrays are [batches,
    ...].

    A constant output, such as a detector's anchors, is no reason while another output tells the
    inputs apart.
    """
    for name, values in golden.items():
        if not np.all(np.isfinite(values)):
            return f"degenerate reference: {name} has non-finite values"
    problems = [_indistinct(name, values, tolerance) for name, values in golden.items()]
    return problems[0] if problems and all(problems) else ""


def _indistinct(name: str, values: Array, tolerance: Tolerance) -> str:
    """Why this output tells no inputs apart, or an empty string."""
    scale = _scale(values)
    if scale < SMALLEST_SCALE:
        return f"degenerate reference: {name} is at most {scale:.1e} in magnitude, under {SMALLEST_SCALE:.0e}; recalibrate the weights"
    spread = float(np.max(np.ptp(values, axis=0))) if len(values) > 1 else 0.0
    least = min(LEAST_SPREAD * tolerance.atol, LARGEST_SPREAD) * scale
    if spread < least:
        seen = (
            f"{name} differs by only {spread:.1e} between {len(values)} inputs, under {least:.1e}"
        )
        return f"degenerate reference: {seen}; a cached answer would pass"
    return ""


def compare(
    outputs: Outputs,
    golden: Outputs,
    specs: Sequence[TensorSpec],
    tolerance: Tolerance,
    kind: str,
    evidence: Evidence = Evidence(),
) -> ParityVerdict:
    """Judge `outputs` ([batches, batch, ...] by declared name) against `golden` of the same shapes
    in float64.

    Outputs of open size are a list of one array per batch in both.
    """
    said: dict[str, float] = {}

    def verdict(
        name: str, reason: str, needed: float, errors: Sequence[OutputError] = ()
    ) -> ParityVerdict:
        rule = (1.0, tolerance.rtol, tolerance.atol, tolerance.rmse_factor)
        return ParityVerdict(name, reason, kind, needed, *rule, tuple(errors), said)  # type: ignore[arg-type]

    found = data_dependent_shapes.objects(evidence.task, {spec.name: spec.shape for spec in specs})
    fixed = [spec for spec in specs if spec.name not in found]
    problem = degenerate({spec.name: golden[spec.name] for spec in fixed}, tolerance)
    if found and not problem:
        problem = detection_matching.degenerate(
            _images(golden, found), evidence.threshold, tolerance.limits
        )
    if problem:
        return verdict("degenerate", problem, INCOMPARABLE)
    problem = _form(outputs, golden, specs)
    if problem:
        return verdict("fail", problem, INCOMPARABLE)
    classes = evidence.task == "classification"
    errors = [
        measure(
            spec.name,
            outputs[spec.name],
            golden[spec.name],
            evidence.own_rmse.get(spec.name),
            tolerance,
            classes,
        )
        for spec in fixed
    ]
    said |= _said(outputs, golden, fixed, evidence.task)
    too_exact = _too_exact(errors, evidence, tolerance)
    if too_exact:
        return verdict("too exact", too_exact, 0.0, errors)
    judged = (
        [_by_task(errors, evidence) if tolerance.by_task else _by_error(errors)] if errors else []
    )
    if found:
        images = _images(outputs, found), _images(golden, found)
        most, why, difference = detection_matching.judge(
            *images, evidence.threshold, tolerance.limits
        )
        said |= difference.facts()
        judged.append((min(most, INCOMPARABLE), f"needs {most:.3g} times what is allowed: {why}"))
    needed, reason = max(judged)
    return (
        verdict("fail", reason, needed, errors)
        if needed > 1
        else verdict("pass", "", needed, errors)
    )


def _images(outputs: Outputs, names: Sequence[str]) -> list[dict[str, Array]]:
    """The detections of each batch, which is one image."""
    return [
        dict(zip(names, arrays, strict=True))
        for arrays in zip(*(outputs[name] for name in names), strict=True)
    ]


def _said(
    outputs: Outputs, golden: Outputs, specs: Sequence[TensorSpec], task: str
) -> dict[str, float]:
    """What the task makes of the first output that it can be told of."""
    for spec in specs:
        said = agreement.facts(task, outputs[spec.name], golden[spec.name], len(spec.shape) - 1)
        if said:
            return said
    return {}


def _by_error(errors: Sequence[OutputError]) -> tuple[float, str]:
    """What was needed of what is allowed, and the reason if that is too much."""
    worst = max(errors, key=needed_of)
    needed = needed_of(worst)
    return needed, _reason(worst, needed)


def _by_task(errors: Sequence[OutputError], evidence: Evidence) -> tuple[float, str]:
    """As `_by_error`, by the drop of the task's metric where there is one, or by the output that
    agrees least.
    """
    broken = [error for error in errors if error.nonfinite]
    if broken:
        return INCOMPARABLE, _reason(broken[0], INCOMPARABLE)
    worst = min(errors, key=lambda error: error.cosine)
    loss = TIMED_COSINE_LOSS if evidence.metric else COSINE_LOSS
    seen = (
        f"{worst.name} has cosine {worst.cosine:.4f} to the golden, at least {1 - loss:g} is asked"
    )
    agreement = max(0.0, 1 - worst.cosine) / loss, seen
    if not evidence.metric:
        return agreement
    own, wanted = evidence.metric
    drop = (wanted - own) / wanted if wanted else 0.0
    said = f"scores {own:.4g} on held-out data, the golden {wanted:.4g}: more than {METRIC_DROP:.0%} lost"
    return max(agreement, (drop / METRIC_DROP, said))


def _too_exact(errors: Sequence[OutputError], evidence: Evidence, tolerance: Tolerance) -> str:
    """In words, where every output is as close to the golden as fp32 would be; an empty string
    otherwise.
    """
    known = [error for error in errors if evidence.fp32_rmse.get(error.name)]
    if not tolerance.floor or not known:
        return ""
    if any(error.rmse > tolerance.floor * evidence.fp32_rmse[error.name] for error in known):
        return ""
    seen = f"{known[0].name} has RMSE {known[0].rmse:.2g} where fp32 eager has {evidence.fp32_rmse[known[0].name]:.2g}"
    return f"{seen}: this was not computed at the precision that was asked for"


def _form(outputs: Outputs, golden: Outputs, specs: Sequence[TensorSpec]) -> str:
    """What is wrong with names, dtypes or shapes, or an empty string."""
    expected = [spec.name for spec in specs]
    if sorted(outputs) != sorted(expected):
        return f"outputs are named {sorted(outputs)}, the model declares {sorted(expected)}"
    for spec in specs:
        if spec.is_open:
            problem = _open_form(spec, outputs[spec.name], golden[spec.name])
            if problem:
                return problem
            continue
        made, wanted = outputs[spec.name], golden[spec.name]
        if str(made.dtype) != spec.dtype:
            return f"output {spec.name} is {made.dtype}, the model declares {spec.dtype}"
        if made.shape != wanted.shape:
            return f"output {spec.name} has shape {list(made.shape[1:])}, the golden has {list(wanted.shape[1:])}"
    return ""


def _open_form(spec: TensorSpec, made: Sequence[Array], wanted: Sequence[Array]) -> str:
    """As `_form` of one output of open size: a number of rows is no matter of form."""
    if len(made) != len(wanted):
        return f"output {spec.name} came {len(made)} times, the golden {len(wanted)} times"
    for each, other in zip(made, wanted, strict=True):
        if str(each.dtype) != spec.dtype:
            return f"output {spec.name} is {each.dtype}, the model declares {spec.dtype}"
        if each.shape[1:] != other.shape[1:] or each.ndim != other.ndim:
            return f"output {spec.name} has shape {list(each.shape)}, the golden has {list(other.shape)}: they differ in more than a number"
    return ""


def measure(
    name: str,
    made: Array,
    wanted: Array,
    own_rmse: float | None,
    tolerance: Tolerance,
    classes: bool,
) -> OutputError:
    """Every measure of one output's error. Non-finite values make the needed tolerances
    `INCOMPARABLE`.
    """
    scale = _scale(wanted)
    exact = made.astype(np.float64)
    nonfinite = int(np.count_nonzero(~np.isfinite(exact)))
    if nonfinite:
        return OutputError(
            name, scale, INCOMPARABLE, INCOMPARABLE, own_rmse, 0.0, nonfinite, INCOMPARABLE, None
        )
    error = np.abs(exact - wanted)
    root = rmse(exact, wanted)
    allowed = tolerance.rtol * np.abs(wanted) + tolerance.atol * scale
    own_limit = (
        None
        if own_rmse is None
        else min(tolerance.rmse_factor * own_rmse + 1e-7 * scale, tolerance.ceiling * _rms(wanted))
    )
    return OutputError(
        name=name,
        scale=scale,
        max_abs=float(np.max(error, initial=0.0)),
        rmse=root,
        rmse_own=own_rmse,
        cosine=_cosine(exact, wanted),
        nonfinite=0,
        needed_elementwise=_worst_ratio(error, allowed),
        needed_rmse=None if own_limit is None else root / max(own_limit, 1e-300),
        top1_agreement=float(np.mean(exact.argmax(-1) == wanted.argmax(-1)))
        if classes and made.dtype.kind == "f"
        else None,
    )


def _worst_ratio(error: Array, allowed: Array) -> float:
    """The largest error in units of what is allowed there; where nothing is allowed, any error is
    `INCOMPARABLE`.
    """
    ratios = np.divide(
        error, allowed, out=np.where(error > 0, INCOMPARABLE, 0.0), where=allowed > 0
    )
    return min(INCOMPARABLE, float(np.max(ratios, initial=0.0)))


def needed_of(error: OutputError) -> float:
    """The smaller ratio of error to limit of the two rules."""
    rules = [error.needed_elementwise] + ([] if error.needed_rmse is None else [error.needed_rmse])
    return min(rules)


def _reason(worst: OutputError, needed: float) -> str:
    if worst.nonfinite:
        return f"{worst.name} has {worst.nonfinite} non-finite values"
    own = (
        ""
        if worst.rmse_own is None
        else f", RMSE {worst.rmse:.2g} where eager's own is {worst.rmse_own:.2g}"
    )
    return f"{worst.name} needs {needed:.3g} times the allowed tolerance: max |error| {worst.max_abs:.2g} at scale {worst.scale:.2g}{own}"


def rmse(made: Array, wanted: Array) -> float:
    """Root of the mean squared difference, in float64."""
    return float(np.sqrt(np.mean(np.square(made.astype(np.float64) - wanted))))


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(np.square(values)))) if values.size else 0.0


def _scale(values: Array) -> float:
    return float(np.max(np.abs(values), initial=0.0))


def _cosine(made: Array, wanted: Array) -> float:
    norms = float(np.linalg.norm(made) * np.linalg.norm(wanted))
    return float(np.vdot(made, wanted)) / norms if norms else 0.0
