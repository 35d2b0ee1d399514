"""Makes a model's golden outputs, the reference of all backends."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evenbench.harness.accuracy import error_spectrum, output_errors
from evenbench.harness.core import registry
from evenbench.harness.core.golden import Golden
from evenbench.harness.core.types import Cell
from evenbench.harness.inputs import batches as inputs
from evenbench.harness.measurement.judging import accuracy, once, open_outputs

if TYPE_CHECKING:
    from evenbench.harness.core.session import Arrays


def make_golden(
    cell: Cell,
    golden: Golden,
    artifact: Path,
    input_folder: Path,
    yardsticks: Mapping[str, Path],
    folder: Path,
) -> dict[str, Any]:
    """Write the golden outputs of the cell's model and batch; returns facts about the golden.

    `yardsticks` maps a precision to the prepared artifact of its yardstick. Raises ValueError for
    two runs of the golden with a difference above 1e-9 of its scale: a model with random numbers,
    or in training mode, has no single right output.
    """
    batches = inputs.load(input_folder, cell.model)
    session = golden.load(artifact, registry.golden_cell(cell, golden.name))
    try:
        unsized = open_outputs(cell.model)
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
        drift = _difference(values, again[name])
        if drift > 1e-9:
            raise ValueError(
                f"the golden of {cell.model.name} does not agree with itself: {name} differs by "
                f"{drift:.1e} of its scale between two runs; put the model in eval mode and remove "
                "randomness"
            )
    own: dict[str, dict[str, float]] = {}
    spectrum: dict[str, Any] = {}
    unmeasured: dict[str, str] = {}
    for precision, path in yardsticks.items():
        try:
            outputs = _yardstick_outputs(cell, golden, precision, path, batches)
        except Exception as error:
            if precision == "fp32":
                raise
            # Eager has no kernel for this model and precision; other rules still judge.
            unmeasured[precision] = f"{type(error).__name__}: {error}"
            continue
        fixed = {
            name: values
            for name, values in wanted.items()
            if name in outputs and not isinstance(values, list)
        }
        own[precision] = {
            name: output_errors.rmse(outputs[name], values) for name, values in fixed.items()
        }
        for name, values in fixed.items():
            spectrum[f"{precision}/{name}"] = error_spectrum.errors(outputs[name], values)
    _save(folder / "outputs.npz", wanted)
    if len(yardsticks) > 1:
        _save(folder / error_spectrum.FILE, spectrum)
    facts = {"kind": kind, "own_rmse": own, "accuracy": scored, "work": work}
    if unmeasured:
        facts["unmeasured"] = unmeasured
    (folder / "facts.json").write_text(json.dumps(facts))
    return facts


def _widened(values: Any) -> Any:
    return (
        [array.astype(np.float64) for array in values]
        if isinstance(values, list)
        else values.astype(np.float64)
    )


def _difference(values: Any, again: Any) -> float:
    """The largest difference between two runs, in units of the first run's scale; infinite for
    different numbers of objects.
    """
    if isinstance(values, list):
        pairs = zip(values, again, strict=True)
        equal_shapes = all(array.shape == other.shape for array, other in pairs)
        return max(map(_difference, values, again)) if equal_shapes else math.inf
    scale = max(float(np.max(np.abs(values), initial=0.0)), 1e-300)
    return float(np.max(np.abs(values - again), initial=0.0)) / scale


def _save(file: Path, outputs: Mapping[str, Any]) -> None:
    """Write arrays under any names; `np.savez` takes names as arguments, so `file` would clash.

    The arrays of a list become `boxes[0]`, `boxes[1]`, and so on.
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


def _yardstick_outputs(
    cell: Cell, golden: Golden, precision: str, artifact: Path, batches: Sequence[Arrays]
) -> dict[str, Any]:
    """The outputs of the yardstick at a precision, whose error is inherent in the model."""
    yardstick = registry.find(golden.yardstick)
    session = yardstick.load(artifact, registry.golden_cell(cell, golden.yardstick, precision))
    try:
        return once(session, batches, open_outputs(cell.model))
    finally:
        session.close()
