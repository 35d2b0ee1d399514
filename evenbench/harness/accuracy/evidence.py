"""The facts used by a parity verdict besides the tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from evenbench.harness.core.types import SCORE_THRESHOLD


@dataclass(frozen=True)
class Evidence:
    """Facts used by a verdict besides the tensors.

    `own_rmse` is eager's RMSE against the golden at the cell's precision, `fp32_rmse` at fp32, both
    by output name and empty without a yardstick. `own_share` is eager's share of differing discrete
    values, or of differing places without a number. `task` is the model's. `metric` is this
    session's score and the golden's on held-out data. `threshold` is the least score of a
    detection. A model without inputs is constant, so its outputs need not differ.
    """

    own_rmse: Mapping[str, float] = field(default_factory=dict)
    fp32_rmse: Mapping[str, float] = field(default_factory=dict)
    own_share: Mapping[str, float] = field(default_factory=dict)
    task: str = ""
    metric: tuple[float, float] | None = None
    threshold: float = SCORE_THRESHOLD
    has_inputs: bool = True
