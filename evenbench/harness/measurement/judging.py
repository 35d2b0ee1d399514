"""Judges the outputs of a measured process against the golden, and measures held-out accuracy."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evenbench.harness.accuracy import error_spectrum, output_errors, parity, tolerances
from evenbench.harness.accuracy.evidence import Evidence
from evenbench.harness.accuracy.tolerances import Tolerance
from evenbench.harness.core.measurements import ParityVerdict, severity
from evenbench.harness.core.records.parity import AccuracyRecord
from evenbench.harness.core.session import Session
from evenbench.harness.core.types import Cell, Model, to_json
from evenbench.harness.measurement import streams

if TYPE_CHECKING:
    from evenbench.harness.core.session import Arrays


def judge(
    cell: Cell,
    kept: Mapping[str, Mapping[int, Arrays]],
    golden: Path,
    scored: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The worst verdict on kept outputs, as JSON.

    `kept` has the outputs of each batch by boundary, or by another way of timing; `scored` is this
    session's own accuracy, if known. Raises ValueError for incomplete outputs.
    """
    facts = json.loads((golden / "facts.json").read_text())
    wanted = golden_outputs(golden, cell.model)
    tolerance = tolerances.tolerance_for(cell.precision, cell.model.tolerance)
    if facts.get("suspect"):
        return dict(to_json(_unjudged(facts["suspect"], facts["kind"], tolerance)))
    evidence = _evidence(cell, facts, scored)
    spectrum = _spectrum(golden)
    verdicts: list[ParityVerdict] = []
    for boundary, batches in kept.items():
        try:
            outputs = stack(batches, len(next(iter(wanted.values()))), open_outputs(cell.model))
        except ValueError as error:
            raise ValueError(f"{boundary}: {error}") from error
        verdict = parity.compare(
            outputs, wanted, cell.model.outputs, tolerance, facts["kind"], evidence
        )
        other = error_spectrum.other_precision(outputs, wanted, spectrum, cell.precision)
        if other and verdict.verdict == "pass":
            verdict = replace(verdict, verdict="too exact", reason=other)
        verdicts.append(verdict)
    worst = max(verdicts, key=lambda verdict: severity(verdict.verdict, verdict.needed))
    return dict(to_json(worst))


def _unjudged(reason: str, kind: str, tolerance: Tolerance) -> ParityVerdict:
    """The verdict on outputs without a trustworthy golden: never a mismatch."""
    rule = (1.0, tolerance.rtol, tolerance.atol, tolerance.rmse_factor)
    return ParityVerdict("degenerate", reason, kind, output_errors.INCOMPARABLE, *rule)


def _spectrum(golden: Path) -> dict[str, dict[str, Any]]:
    """The errors of the golden's yardsticks, by output and precision; empty for fp32."""
    file = golden / error_spectrum.FILE
    spectrum: dict[str, dict[str, Any]] = {}
    for key, errors in np.load(file).items() if file.exists() else ():
        precision, _, name = key.partition("/")
        spectrum.setdefault(name, {})[precision] = errors
    return spectrum


def _evidence(cell: Cell, facts: Mapping[str, Any], scored: Mapping[str, Any] | None) -> Evidence:
    own, golden_accuracy = facts["own_rmse"], facts.get("accuracy")
    return Evidence(
        own_rmse=own.get(cell.precision, {}),
        fp32_rmse=own.get("fp32", {}),
        own_share=facts.get("own_share", {}).get(cell.precision, {}),
        task=cell.model.task,
        metric=(scored["value"], golden_accuracy["value"]) if scored and golden_accuracy else None,
        threshold=cell.model.score_threshold,
        has_inputs=bool(cell.model.inputs),
    )


def open_outputs(model: Model) -> frozenset[str]:
    """The names of outputs with data-dependent shapes."""
    return frozenset(spec.name for spec in model.outputs if spec.is_open)


def stack(
    kept: Mapping[int, Arrays], batches: int, unsized: frozenset[str] = frozenset()
) -> dict[str, Any]:
    """Stack kept outputs of every batch into one array [batches, ...] per name, or a list of arrays
    for the names in `unsized`.

    Raises ValueError for a missing batch, and for an output with several shapes that is not in
    `unsized`.
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
        listed = ", ".join(str(list(shape)) for shape in shapes)
        raise ValueError(
            f"output {name} has the shapes {listed}, depending on the input; expected one shape. "
            "Declare the output with ANY in place of the size; for a detector named on the command "
            "line, add --task detection (docs/reference/tasks.md#detection)"
        )
    return np.stack(arrays)


def accuracy(session: Session, cell: Cell, input_folder: Path) -> AccuracyRecord | None:
    """This session's top-1 accuracy on the model's held-out split, or None without a split."""
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
        predicted = session.fetch()[cell.model.outputs[0].name].argmax(-1)
        counted = min(cell.batch, len(samples) - start)
        hits += int(np.sum(predicted[:counted] == labels[indices[:counted]]))
    return {"metric": "top-1", "value": hits / len(samples), "count": len(samples)}


def once(session: Session, batches: Sequence[Arrays], model: Model | None = None) -> dict[str, Any]:
    """The outputs of every batch, untimed, in the form of `stack`.

    Batches of a `model` with state are the steps of a stream.
    """
    state = model.state if model else {}
    outputs = (outputs for _, outputs in streams.steps(session, batches, state))
    kept = dict(enumerate(outputs))
    return stack(kept, len(batches), open_outputs(model) if model else frozenset())


def golden_outputs(golden: Path, model: Model) -> dict[str, Any]:
    """The outputs in a golden's folder, by name.

    An output is an array [batches, ...], or a list of arrays for data-dependent shapes.
    """
    outputs: dict[str, Any] = dict(np.load(golden / "outputs.npz"))
    for name in open_outputs(model):
        count = sum(file.startswith(f"{name}[") for file in outputs)
        outputs[name] = [outputs.pop(f"{name}[{index}]") for index in range(count)]
    return outputs
