"""The other sizes that a model declares: their inputs, and the verdicts on their outputs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.core import dynamic_axes
from harness.core.types import Cell
from harness.inputs import batches as inputs
from harness.load.context import Scene, Size
from harness.measurement import judging

Verdict = dict[str, Any]
"""A `ParityVerdict` as JSON."""


def load(cell: Cell, folders: Mapping[str, Path]) -> list[Size]:
    """The other sizes that `folders` hold inputs of (`inputs 1` and on, as `Prepared.folders` names
    them).
    """
    numbered = [(f"inputs {number}", model) for number, model in enumerate(cell.model.sizes, 1)]
    return [
        Size(model, dynamic_axes.label(model, cell.model), inputs.load(folders[name], model))
        for name, model in numbered
        if name in folders
    ]


def judge(
    scene: Scene, folders: Mapping[str, Path], accuracy: Mapping[str, Any] | None
) -> tuple[Verdict | None, list[dict[str, Any]]]:
    """The worst verdict of all outputs, as JSON, or None where there is no golden; and what is
    known of every other size, its own verdict among it.

    `folders` are those of `load`, with a golden for each size. Where there are several sizes, the
    reason says at which one it is.
    """
    cell = scene.cell
    own = (
        judging.judge(cell, scene.kept, folders["golden"], accuracy)
        if "golden" in folders
        else None
    )
    verdicts = [_at(dynamic_axes.label(cell.model, cell.model), own) if scene.sizes else own]
    found = []
    for number, size in enumerate(scene.sizes, 1):
        there, golden = folders[f"inputs {number}"], folders.get(f"golden {number}")
        judged = (
            judging.judge(replace(cell, model=size.model), size.kept, golden) if golden else None
        )
        digest = inputs.digest_batches(
            {spec.name: there / inputs.file_of(spec.name) for spec in size.model.inputs}
        )
        found.append(
            {"size": size.label, "model": size.model.name, "input_sha256": digest, "parity": judged}
        )
        verdicts.append(_at(size.label, judged))
    known = [verdict for verdict in verdicts if verdict]
    return max(known, key=_badness, default=None), found


def _badness(verdict: Verdict) -> tuple[bool, float]:
    return verdict["verdict"] != "pass", math.inf if verdict["needed"] is None else verdict[
        "needed"
    ]


def _at(label: str, verdict: Verdict | None) -> Verdict | None:
    """The verdict with the size in its reason, where it has one."""
    return (
        {**verdict, "reason": f"at size {label}: {verdict['reason']}"}
        if verdict and verdict["reason"]
        else verdict
    )
