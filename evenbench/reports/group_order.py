"""The order of groups on every page and table: by what they have in common, then by run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evenbench.harness.core.types import PRECISIONS
from evenbench.reports import input_shapes


def key(cell: Mapping[str, Any], run: str) -> tuple[Any, ...]:
    """Return the sorting key of a group: model, precision, device, batch, threads and shape."""
    precision = str(cell.get("precision", ""))
    rank = PRECISIONS.index(precision) if precision in PRECISIONS else len(PRECISIONS)
    return (
        str(cell.get("model", "")).casefold(),
        rank,
        str(cell.get("device", "")),
        int(cell.get("batch") or 0),
        int(cell.get("threads") or 0),
        input_shapes.of(cell),
        run,
    )
