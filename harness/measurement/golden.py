"""Makes the golden output of a model, with which all backends are compared."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.accuracy import output_errors
from harness.core import registry
from harness.core.backend import Golden
from harness.core.types import Cell
from harness.inputs import batches as inputs

if TYPE_CHECKING:
    from harness.core.backend import Arrays
from harness.measurement.judging import _open, accuracy, once


def make_golden(
    cell: Cell,
    golden: Golden,
    artifact: Path,
    input_folder: Path,
    yardsticks: Mapping[str, Path],
    folder: Path,
) -> dict[str, Any]:
    """Write the golden outputs of the cell's model and batch; `yardsticks` maps a precision to its
    prepared artifact.

    The golden runs twice and must agree with itself to 1e-9 of its scale, or ValueError says so: a
    model that draws random numbers, or was left in training mode, has no one right answer.
    """
    batches = inputs.load(input_folder, cell.model)
    session = golden.load(artifact, registry.golden_cell(cell, golden.name))
    try:
        unsized = _open(cell.model)
        wanted = {
            name: _widened(values) for name, values in once(session, batches, unsized).items()
        }
        again = once(session, batches, unsized)
        scored = accuracy(session, cell, input_folder)
        kind = golden.kind_of(session)
        session.bind(batches[0])
        work = dict(golden.work(session))
    finally:
        session.close()
    for name, values in wanted.items():
        drift = _apart(values, again[name])
        if drift > 1e-9:
            raise ValueError(
                f"the golden of {cell.model.name} does not agree with itself: {name} differs by {drift:.1e} of its scale between two runs; "
                "put the model in eval mode and remove randomness"
            )
    own = {
        precision: _own_rmse(cell, golden, precision, path, batches, wanted)
        for precision, path in yardsticks.items()
    }
    _save(folder / "outputs.npz", wanted)
    facts = {"kind": kind, "own_rmse": own, "accuracy": scored, "work": work}
    (folder / "facts.json").write_text(json.dumps(facts))
    return facts


def _widened(values: Any) -> Any:
    return (
        [array.astype(np.float64) for array in values]
        if isinstance(values, list)
        else values.astype(np.float64)
    )


def _apart(values: Any, again: Any) -> float:
    """The largest difference of two runs in units of the first one's scale; infinite where they
    found different numbers of objects.
    """
    if isinstance(values, list):
        alike = all(one.shape == other.shape for one, other in zip(values, again, strict=True))
        return max(map(_apart, values, again)) if alike else math.inf
    scale = max(float(np.max(np.abs(values), initial=0.0)), 1e-300)
    return float(np.max(np.abs(values - again), initial=0.0)) / scale


def _save(file: Path, outputs: Mapping[str, Any]) -> None:
    """Write arrays under any names: those of `np.savez` are arguments of a function, so that none
    can be called `file`.

    Of a list each array has a file of its own, `boxes[0]`, `boxes[1]`, and so on.
    """
    named: dict[str, Any] = {}
    for name, values in outputs.items():
        named |= (
            {f"{name}[{index}]": array for index, array in enumerate(values)}
            if isinstance(values, list)
            else {name: values}
        )
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in named.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, np.asarray(array), allow_pickle=False)


def _own_rmse(
    cell: Cell,
    golden: Golden,
    precision: str,
    artifact: Path,
    batches: Sequence[Arrays],
    wanted: Mapping[str, Any],
) -> dict[str, float]:
    """RMSE of the yardstick at this precision, by output name: what the precision itself costs on
    this model.

    Outputs of open size have none: their rows are matched, not subtracted.
    """
    yardstick = registry.find(golden.yardstick)
    session = yardstick.load(artifact, registry.golden_cell(cell, golden.yardstick, precision))
    try:
        made = once(session, batches, _open(cell.model))
    finally:
        session.close()
    return {
        name: output_errors.rmse(made[name], values)
        for name, values in wanted.items()
        if name in made and not isinstance(values, list)
    }
