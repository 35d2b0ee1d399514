"""The operator ZipMap for ONNX's reference evaluator, which lacks the operator.

The operator is defined at https://onnx.ai/onnx/operators/onnx_aionnxml_ZipMap.html.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def operator() -> Any:
    """The class of the operator, for `new_ops` of the evaluator."""
    import numpy as np
    from onnx.reference.op_run import OpRun

    class ZipMap(OpRun):
        """A map from class label to score per row of scores [n, classes]."""

        op_domain = "ai.onnx.ml"

        def _run(
            self,
            scores: Any,
            classlabels_int64s: Sequence[int] | None = None,
            classlabels_strings: Sequence[str] | None = None,
        ) -> tuple[list[dict[Any, Any]]]:
            labels = list(classlabels_int64s or classlabels_strings or ())
            return ([dict(zip(labels, row, strict=True)) for row in np.atleast_2d(scores)],)

    return ZipMap
