"""The error inherent in a model at a precision: the yardstick's outputs against the golden's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evenbench.harness.accuracy import error_spectrum, output_values
from evenbench.harness.core import registry
from evenbench.harness.core.golden import Golden, Judge
from evenbench.harness.core.types import Cell
from evenbench.harness.measurement.judging import once

if TYPE_CHECKING:
    from evenbench.harness.core.session import Arrays


@dataclass
class OwnErrors:
    """Errors of yardsticks by precision.

    `rmse` and `share` are by output name: the RMSE, and the share of differing discrete values.
    `spectrum` has the errors at some positions by `precision/output`. `unmeasured` has the reason
    for a precision that the yardstick cannot run.
    """

    rmse: dict[str, dict[str, float]] = field(default_factory=dict)
    share: dict[str, dict[str, float]] = field(default_factory=dict)
    spectrum: dict[str, Any] = field(default_factory=dict)
    unmeasured: dict[str, str] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """The facts about a golden."""
        known: dict[str, Any] = {"own_rmse": self.rmse, "own_share": self.share}
        return known | ({"unmeasured": self.unmeasured} if self.unmeasured else {})


def measure(
    cell: Cell,
    golden: Golden,
    judge: Judge | None,
    artifacts: Mapping[str, Path],
    batches: Sequence[Arrays],
    wanted: Mapping[str, Any],
) -> OwnErrors:
    """The errors of the yardstick at each precision of `artifacts` against the golden `wanted`.

    The chosen `judge` may bring its own yardstick. Raises the yardstick's error at the model's own
    precision; another without a kernel for this model is left out with the reason.
    """
    own = OwnErrors()
    for precision, artifact in artifacts.items():
        try:
            outputs = _outputs(cell, golden, judge, precision, artifact, batches)
        except Exception as error:
            if precision in ("fp32", cell.model.own_precision):
                raise
            own.unmeasured[precision] = f"{type(error).__name__}: {error}"
            continue
        own.rmse[precision], own.share[precision] = output_values.own_errors(outputs, wanted)
        for name in own.rmse[precision]:
            if np.asarray(wanted[name]).dtype.kind == "f" and np.isfinite(wanted[name]).all():
                errors = error_spectrum.errors(outputs[name], wanted[name])
                own.spectrum[f"{precision}/{name}"] = errors
    return own


def _outputs(
    cell: Cell,
    golden: Golden,
    judge: Judge | None,
    precision: str,
    artifact: Path,
    batches: Sequence[Arrays],
) -> dict[str, Any]:
    if judge and judge.yardstick:
        session = judge.yardstick(artifact)
    else:
        yardstick = registry.find(golden.yardstick)
        session = yardstick.load(artifact, registry.golden_cell(cell, golden.yardstick, precision))
    try:
        return once(session, batches, cell.model)
    finally:
        session.close()
