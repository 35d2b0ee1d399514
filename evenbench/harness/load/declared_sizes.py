"""The other input sizes that a model declares: inputs, goldens and verdicts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from evenbench.harness.core import dynamic_axes
from evenbench.harness.core.types import Cell
from evenbench.harness.inputs import batches as inputs
from evenbench.harness.load.context import DeclaredSize, LoadContext
from evenbench.harness.measurement import judging

Verdict = dict[str, Any]
"""A `ParityVerdict` as JSON."""


def load(cell: Cell, folders: Mapping[str, Path]) -> list[DeclaredSize]:
    """Load the inputs of the other sizes from `folders`.

    `Prepared.folders` numbers the folders `inputs 1`, `inputs 2` and so on.
    """
    numbered = [(f"inputs {number}", model) for number, model in enumerate(cell.model.sizes, 1)]
    return [
        DeclaredSize(
            model, dynamic_axes.label(model, cell.model), inputs.load(folders[name], model)
        )
        for name, model in numbered
        if name in folders
    ]


def judge(
    context: LoadContext, folders: Mapping[str, Path], accuracy: Mapping[str, Any] | None
) -> tuple[Verdict | None, list[dict[str, Any]]]:
    """The worst verdict over all sizes, and a record of every other size, as JSON.

    The verdict is None without a golden. `folders` has the golden of each size. With several sizes
    the verdict's reason names the size.
    """
    cell = context.cell
    golden = folders.get("golden")
    own = judging.judge(cell, context.judged, golden, accuracy) if golden else None
    own_label = dynamic_axes.label(cell.model, cell.model)
    verdicts = [_with_size(own_label, own) if context.sizes else own]
    records = [_record(cell, size, folders, n) for n, size in enumerate(context.sizes, 1)]
    verdicts += [_with_size(record["size"], record["parity"]) for record in records]
    known = [verdict for verdict in verdicts if verdict]
    return max(known, key=_badness, default=None), records


def _record(
    cell: Cell, size: DeclaredSize, folders: Mapping[str, Path], number: int
) -> dict[str, Any]:
    """One other size as JSON, with the verdict on the outputs at the size."""
    folder, golden = folders[f"inputs {number}"], folders.get(f"golden {number}")
    own_cell = replace(cell, model=size.model)
    files = {spec.name: folder / inputs.file_of(spec.name) for spec in size.model.inputs}
    return {
        "size": size.label,
        "model": size.model.name,
        "input_sha256": inputs.digest_batches(files),
        "parity": judging.judge(own_cell, size.judged, golden) if golden else None,
    }


def _badness(verdict: Verdict) -> tuple[bool, float]:
    needed = verdict["needed"]
    return verdict["verdict"] != "pass", math.inf if needed is None else needed


def _with_size(label: str, verdict: Verdict | None) -> Verdict | None:
    """The verdict with the size in front of the reason; unchanged without a reason."""
    if not verdict or not verdict["reason"]:
        return verdict
    return {**verdict, "reason": f"at size {label}: {verdict['reason']}"}
