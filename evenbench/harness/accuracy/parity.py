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
from typing import TYPE_CHECKING, Any

import numpy as np

from evenbench.harness.accuracy import (
    agreement,
    detection_matching,
    distinctness,
    judged_outputs,
    output_forms,
)
from evenbench.harness.accuracy.evidence import Evidence
from evenbench.harness.accuracy.output_errors import INCOMPARABLE, needed_of
from evenbench.harness.accuracy.tolerances import (
    COSINE_LOSS,
    METRIC_DROP,
    TIMED_COSINE_LOSS,
    Tolerance,
)
from evenbench.harness.core import data_dependent_shapes
from evenbench.harness.core.measurements import OutputError, ParityVerdict
from evenbench.harness.core.tensor_specs import TensorSpec

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]
    Outputs = Mapping[str, Any]
    """By declared name: an array [batches, ...], or for data-dependent shapes a list of one array
    per batch.
    """


NO_EVIDENCE = Evidence()
"""For outputs without a yardstick."""


def compare(
    outputs: Outputs,
    golden: Outputs,
    specs: Sequence[TensorSpec],
    tolerance: Tolerance,
    kind: str,
    evidence: Evidence = NO_EVIDENCE,
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
    plain = [spec for spec in specs if spec.name not in lists]
    problem = distinctness.degenerate(golden, plain, tolerance, evidence)
    if lists and not problem:
        images = _images(golden, lists)
        problem = detection_matching.degenerate(images, evidence.threshold, tolerance.limits)
    if problem:
        return verdict("degenerate", problem, INCOMPARABLE)
    problem = output_forms.problem(outputs, golden, specs, lists)
    if problem:
        return verdict("fail", problem, INCOMPARABLE)
    judged = judged_outputs.judge(outputs, golden, plain, tolerance, evidence)
    errors = [error for error, _ in judged]
    facts |= _agreement(outputs, golden, plain, evidence.task)
    facts |= judged_outputs.facts(outputs, golden, plain, tolerance)
    too_exact = _too_exact(errors, evidence, tolerance)
    if too_exact:
        return verdict("too exact", too_exact, 0.0, errors)
    reasons = {error.name: reason for error, reason in judged}
    judgements = [_judgement(errors, evidence, tolerance, reasons)] if errors else []
    if lists:
        needed, reason, difference = detection_matching.judge(
            _images(outputs, lists), _images(golden, lists), evidence.threshold, tolerance.limits
        )
        facts |= difference.facts()
        shown = f"needs {needed:.3g} times the allowed limit: {reason}"
        judgements.append((min(needed, INCOMPARABLE), shown))
    needed, reason = max(judgements)
    if needed > 1:
        failing = [error for error in errors if needed_of(error) > 1]
        noisy = [judged_outputs.noise(error, golden[error.name]) for error in failing]
        if noisy and all(noisy):
            return verdict("degenerate", noisy[0], needed, errors)
        return verdict("fail", reason, needed, errors)
    return verdict("pass", "", needed, errors)


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
        if spec.is_open:
            continue
        facts = agreement.facts(task, outputs[spec.name], golden[spec.name], len(spec.shape) - 1)
        if facts:
            return facts
    return {}


# -- the judgement ---------------------------------------------------------------------------------


def _judgement(
    errors: Sequence[OutputError],
    evidence: Evidence,
    tolerance: Tolerance,
    reasons: Mapping[str, str],
) -> tuple[float, str]:
    """The needed tolerance in units of the allowed tolerance, and the reason for a failure."""
    if tolerance.by_task:
        return _by_task(errors, evidence)
    worst = max(errors, key=needed_of)
    needed = needed_of(worst)
    return needed, reasons[worst.name] or _reason(worst, needed)


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
