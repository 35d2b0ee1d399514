"""Tolerances by precision, for outputs, detections, and task metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from evenbench.harness.accuracy import detection_matching, flips


@dataclass(frozen=True)
class Tolerance:
    """The limits of one precision, in the rules of `harness.accuracy.parity`.

    `atol` is in units of the golden's largest magnitude; `rmse_factor` multiplies the yardstick's
    own error. `floor` is in units of fp32 eager's RMSE: a smaller error proves that fp32 ran.
    `ceiling` limits the RMSE rule, in units of the golden's root mean square. `by_task` precisions
    are judged by metric or by cosine similarity instead. `limits` apply to detections. `least` is
    the RMSE that passes with any yardstick, in units of the golden's root mean square; `steps` is
    the allowed share of integers one apart.
    """

    rtol: float
    atol: float
    rmse_factor: float
    floor: float = 0.0
    ceiling: float = 1.0
    by_task: bool = False
    limits: detection_matching.Limits = detection_matching.LIMITS["fp32"]
    least: float = 0.0
    steps: float = flips.STEPPED


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
    # Files in fp64 and int8, judged against their own arithmetic. Runtimes requantise by different
    # roundings, so values may be a few of 255 levels away.
    "fp64": Tolerance(1e-7, 1e-7, 3.0, ceiling=1e-4),
    "int8": Tolerance(
        0.0, 0.03, 3.0, limits=detection_matching.LIMITS["int8-static"], least=0.1, steps=0.1
    ),
}

METRIC_DROP = 0.01
"""The share of the golden's task metric that int8 may lose."""

COSINE_LOSS = 0.02
"""The largest 1 - cosine similarity to the golden for int8 without held-out data: an RMSE of a
fifth of the output.
"""

TIMED_COSINE_LOSS = 0.2
"""The same with held-out data. The metric is measured outside the timed loop, so timed outputs must
still resemble the golden.
"""


def tolerance_for(precision: str, overrides: Mapping[str, tuple[float, float]]) -> Tolerance:
    """The precision's tolerance, with a model's own (rtol, atol) if declared."""
    standard = TOLERANCES[precision]
    if precision not in overrides:
        return standard
    rtol, atol = overrides[precision]
    return replace(standard, rtol=rtol, atol=atol)
