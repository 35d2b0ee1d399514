"""Judges the outputs of a measured process against the golden, and scores its accuracy."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.accuracy import parity, tolerances
from harness.core.backend import Session
from harness.core.measurements import ParityVerdict
from harness.core.types import Cell, Model, to_json

if TYPE_CHECKING:
    from harness.core.backend import Arrays


def judge(
    cell: Cell,
    kept: Mapping[str, Mapping[int, Arrays]],
    golden: Path,
    scored: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The worst verdict of the outputs kept, as JSON. `kept` has them by boundary, or by another
    way in which they were timed; `scored` is this session's own accuracy, where known."""
    facts = json.loads((golden / "facts.json").read_text())
    wanted = golden_outputs(golden, cell.model)
    tolerance = tolerances.tolerance_for(cell.precision, cell.model.tolerance)
    evidence = parity.Evidence(
        own_rmse=facts["own_rmse"].get(cell.precision, {}),
        fp32_rmse=facts["own_rmse"].get("fp32", {}),
        task=cell.model.task,
        metric=(scored["value"], facts["accuracy"]["value"])
        if scored and facts.get("accuracy")
        else None,
        threshold=cell.model.score_threshold,
    )
    verdicts: list[ParityVerdict] = []
    for boundary, taken in kept.items():
        try:
            outputs = stack(taken, len(next(iter(wanted.values()))), _open(cell.model))
        except ValueError as error:
            raise ValueError(f"{boundary}: {error}") from error
        verdicts.append(
            parity.compare(outputs, wanted, cell.model.outputs, tolerance, facts["kind"], evidence)
        )
    made: dict[str, Any] = to_json(
        max(verdicts, key=lambda verdict: (verdict.verdict != "pass", verdict.needed))
    )
    return made


def _open(model: Model) -> frozenset[str]:
    """The outputs whose sizes differ between batches."""
    return frozenset(spec.name for spec in model.outputs if spec.is_open)


def stack(
    kept: Mapping[int, Arrays], batches: int, unsized: frozenset[str] = frozenset()
) -> dict[str, Any]:
    """Kept outputs of every batch as one array [batches, ...] per name, or a list of arrays for the
    names in `unsized`.

    Raises ValueError where a batch is missing, or an output that is not in `unsized` has another
    shape for another batch.
    """
    missing = sorted(set(range(batches)) - set(kept))
    if missing:
        raise ValueError(f"no output was kept for batches {missing}")
    names = kept[0].keys()
    if any(outputs.keys() != names for outputs in kept.values()):
        raise ValueError("output names differ between batches")
    listed = {name: [np.asarray(kept[index][name]) for index in range(batches)] for name in names}
    return {
        name: arrays if name in unsized else _stacked(name, arrays)
        for name, arrays in listed.items()
    }


def _stacked(name: str, arrays: Sequence[Any]) -> Any:
    shapes = list(dict.fromkeys(array.shape for array in arrays))
    if len(shapes) > 1:
        seen = ", ".join(str(list(shape)) for shape in shapes)
        raise ValueError(
            f"output {name} has the shapes {seen}, by the input; expected one. Of a detector, declare it with ANY, or give a model of "
            "your own --task detection (docs/tasks.md#detection)"
        )
    return np.stack(arrays)


def accuracy(session: Session, cell: Cell, input_folder: Path) -> dict[str, Any] | None:
    """Top-1 accuracy of this very session on the model's held-out split, or None where it has none."""
    if not cell.model.evaluation:
        return None
    samples, labels = np.load(input_folder / "evaluation.npy"), np.load(input_folder / "labels.npy")
    hits = 0
    for start in range(0, len(samples), cell.batch):
        indices = np.arange(start, start + cell.batch) % len(samples)
        batch = np.ascontiguousarray(samples[indices])
        batch.setflags(write=False)
        session.bind({cell.model.inputs[0].name: batch})
        session.step()
        session.sync()
        answers = session.fetch()[cell.model.outputs[0].name].argmax(-1)
        counted = min(cell.batch, len(samples) - start)
        hits += int(np.sum(answers[:counted] == labels[indices[:counted]]))
    return {"metric": "top-1", "value": hits / len(samples), "count": len(samples)}


def once(
    session: Session, batches: Sequence[Arrays], unsized: frozenset[str] = frozenset()
) -> dict[str, Any]:
    """The outputs of every batch, untimed, as `stack` has them."""
    kept = {}
    for index, batch in enumerate(batches):
        session.bind(batch)
        session.step()
        session.sync()
        kept[index] = session.fetch()
    return stack(kept, len(batches), unsized)


def golden_outputs(golden: Path, model: Model) -> dict[str, Any]:
    """The model's outputs in a golden's folder: an array [batches, ...] per name, or a list of
    arrays for one of open size.
    """
    return _loaded(golden / "outputs.npz", model)


def _loaded(file: Path, model: Model) -> dict[str, Any]:
    """What `_save` wrote of the model's outputs."""
    found = dict(np.load(file))
    for name in _open(model):
        files = [each for each in found if each.startswith(f"{name}[")]
        found[name] = [found.pop(f"{name}[{index}]") for index in range(len(files))]
    return found
