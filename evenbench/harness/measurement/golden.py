"""Makes a model's golden outputs, the reference of all backends."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evenbench.harness.accuracy import error_spectrum, output_values
from evenbench.harness.core import registry
from evenbench.harness.core.golden import Golden
from evenbench.harness.core.session import Session
from evenbench.harness.core.types import Cell
from evenbench.harness.inputs import batches as inputs
from evenbench.harness.inputs import expected_outputs
from evenbench.harness.measurement import committee, yardsticks
from evenbench.harness.measurement.judging import accuracy, once

if TYPE_CHECKING:
    from evenbench.harness.core.session import Arrays


def make_golden(
    cell: Cell,
    golden: Golden,
    artifact: Path,
    input_folder: Path,
    artifacts: Mapping[str, Path],
    folder: Path,
) -> dict[str, Any]:
    """Write the golden outputs of the cell's model and batch; returns facts about the golden.

    `artifacts` maps a precision to the prepared artifact of its yardstick. Raises ValueError for
    two runs of the golden with a difference above 1e-9 of its scale: a model with random numbers,
    or in training mode, has no single right output. Raises Unsupported if no judge can run the
    model.
    """
    batches = inputs.load(input_folder, cell.model)
    plain = registry.golden_cell(cell, golden.name)
    if not golden.judges(plain):
        session = golden.load(artifact, plain)
        try:
            outputs = once(session, batches, cell.model)
            alone = committee.Finding(outputs, golden.kind_of(session), session, None)
            return _kept(cell, golden, alone, batches, artifact, input_folder, artifacts, folder)
        finally:
            session.close()
    expected = expected_outputs.load(input_folder, cell.model)
    judges = committee.Committee(golden, plain, artifact, batches, expected)
    try:
        finding = judges.finding()
        return _kept(cell, golden, finding, batches, artifact, input_folder, artifacts, folder)
    finally:
        judges.close()


def _kept(
    cell: Cell,
    golden: Golden,
    finding: committee.Finding,
    batches: Sequence[Arrays],
    artifact: Path,
    input_folder: Path,
    artifacts: Mapping[str, Path],
    folder: Path,
) -> dict[str, Any]:
    """Write the finding, checked by a second run of its judge, with own errors; returns facts."""
    wanted = {name: output_values.widened(values) for name, values in finding.outputs.items()}
    scored, work = None, dict[str, Any]()
    if finding.session:
        _check_repeatable(cell, golden, finding.session, batches, wanted, artifact)
        scored = accuracy(finding.session, cell, input_folder)
        finding.session.bind(batches[0])
        work = dict(golden.work(finding.session))
    judged = artifacts if finding.session else {}
    own = yardsticks.measure(cell, golden, finding.judge, judged, batches, wanted)
    _save(folder / "outputs.npz", wanted)
    if len(judged) > 1:
        _save(folder / error_spectrum.FILE, own.spectrum)
    facts = {"kind": finding.kind, **own.facts(), "accuracy": scored, "work": work}
    if finding.suspect:
        facts["suspect"] = finding.suspect
    (folder / "facts.json").write_text(json.dumps(facts))
    return facts


def _check_repeatable(
    cell: Cell,
    golden: Golden,
    session: Session,
    batches: Sequence[Arrays],
    wanted: Mapping[str, Any],
    artifact: Path,
) -> None:
    """Raise ValueError for a second run with other outputs than the first."""
    again = once(session, batches, cell.model)
    for name, values in wanted.items():
        drift = output_values.drift(values, again[name])
        if drift > 1e-9:
            cause = golden.doubts(artifact, cell) or (
                "put the model in eval mode and remove randomness"
            )
            raise ValueError(
                f"the golden of {cell.model.name} does not agree with itself: {name} differs by "
                f"{drift:.1e} of its scale between two runs; {cause}"
            )


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
