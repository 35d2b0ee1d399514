"""The store's entries of a cell: inputs, calibration, weights, artifact and golden.

An entry's key holds all facts that decide the content: a changed weight or flag is a miss.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from evenbench.harness.core import artifact_store, build_sources, import_strings, registry
from evenbench.harness.core.errors import Unsupported
from evenbench.harness.core.golden import TOLD_APART, Golden
from evenbench.harness.core.measurements import Artifact
from evenbench.harness.core.types import CALIBRATED, Cell, Model
from evenbench.harness.inputs import batches, expected_outputs
from evenbench.harness.runner.job import Job, Reply, SourceDigests
from evenbench.harness.runner.prepared import Parts, Refusal, make_entry

GOLDEN_FACTS = ("kind", "own_rmse", "own_share", "accuracy", "work")
"""Names of the facts stored with a golden, part of the key: a new name invalidates old goldens."""


@dataclass
class Entries:
    """Finds or makes entries, and remembers the result for this run. All methods raise Refusal.

    `work` does a job in a worker process, `lock` gives the facts of a cell's virtual environment,
    and `tell(kind, text)` is called before slow steps.
    """

    work: Callable[[Job], Reply]
    lock: Callable[[Cell], Mapping[str, Any] | None]
    tell: Callable[[str, str], None]
    _made: dict[str, Artifact | Reply] = field(default_factory=dict, init=False)
    _locks: dict[str, threading.Lock] = field(default_factory=dict, init=False)

    def inputs(self, cell: Cell) -> Artifact:
        """The cell's input batches."""
        return self.make("inputs", batches.key_parts(cell), Job("inputs", cell), cell)

    def calibration(self, cell: Cell) -> Artifact | None:
        """Samples for the ranges of int8-static; None for other precisions. Raises Refusal."""
        if cell.precision != CALIBRATED:
            return None
        job = Job("calibration", cell)
        return self.make("calibration", batches.calibration_key(cell), job, cell)

    def weights(self, cell: Cell, inputs: Artifact) -> Artifact:
        """The model's weights, made with input batches of batch size 1."""
        if cell.batch != 1:  # weights are made from the inputs of batch 1, whatever the batch
            cell = replace(cell, batch=1)
            inputs = self.inputs(cell)
        declared = _golden_backend(cell).weights_key(cell.model)
        job = Job("weights", cell, folders={"inputs": inputs.path})
        if declared is None:
            # Only building the model gives these weights: every run builds the model, and the
            # digest of the weights is the key of all later entries.
            memo = f"own weights {cell.model.fingerprint} {inputs.sha256} {_places(cell)}"
            return self._remember(memo, lambda: self._make_new("weights", _own_key, job, cell))
        return self.make("weights", {**declared, "inputs": inputs.facts["sha256"]}, job, cell)

    def artifact(self, cell: Cell, inputs: Artifact, weights: Artifact | None) -> Artifact:
        """The exported, converted or compiled model. Backends with equal keys share an artifact."""
        backend = registry.find(cell.backend)
        calibration = self.calibration(cell) if weights else None
        lock = {} if backend.portable_artifact else self.lock(cell) or {}
        specs = cell.model.inputs
        parts = {
            "weights": weights.facts["sha256"] if weights else "",
            "code": code_of(weights),
            "model": model_key(cell.model, weights),
            "inputs": [[spec.name, spec.concrete(cell.batch), spec.dtype] for spec in specs],
            "outputs": cell.model.outputs,
            "precision": cell.precision,
            "interpreter": lock.get("sha256", ""),
            "by": backend.artifact_key(cell),
        }
        if calibration:
            parts["calibration"] = calibration.facts["sha256"]
        if backend.maker:
            parts["maker"] = backend.maker
        job = job_on("prepare", cell, inputs, weights, calibration)
        return self.make("artifacts", parts, job, cell)

    def golden(self, cell: Cell, inputs: Artifact, weights: Artifact) -> Artifact | None:
        """The golden outputs of a cell; None for controls, because controls are not judged."""
        if registry.row(cell.backend).role == "control":
            return None
        golden = _golden_backend(cell)
        plain = registry.golden_cell(cell, golden.name)
        artifact = self.artifact(plain, inputs, weights)
        yardsticks = self._yardsticks(cell, golden, inputs, weights)
        parts = {
            "artifact": artifact.sha256,
            "code": code_of(weights),
            "model": model_key(cell.model, weights),
            "inputs": inputs.facts["sha256"],
            "outputs": cell.model.outputs,
            "by": golden.artifact_key(plain),
            "yardsticks": {precision: entry.sha256 for precision, entry in yardsticks.items()},
            "facts": GOLDEN_FACTS,
            **({"state": dict(cell.model.state)} if cell.model.state else {}),
            **_committee_key(golden, plain, inputs),
        }
        folders = {"artifact": artifact.path, "inputs": inputs.path}
        paths = {precision: entry.path for precision, entry in yardsticks.items()}
        return self.make("goldens", parts, Job("golden", plain, paths, folders=folders), cell)

    def _yardsticks(
        self, cell: Cell, golden: Golden, inputs: Artifact, weights: Artifact
    ) -> dict[str, Artifact]:
        """The yardstick's artifact at the cell's precision, at fp32, and at others to tell apart.

        An output as exact as the yardstick at fp32, or with the error of another precision, was not
        computed at the cell's lower precision.
        """
        yardsticks = {}
        wanted = {"fp32", cell.precision, *TOLD_APART.get(cell.precision, ())}
        if cell.stored_precisions:  # the file has no other precision to compare with
            wanted = {cell.precision}
        for precision in sorted(wanted) if golden.yardstick else ():
            twin = registry.golden_cell(cell, golden.yardstick, precision)
            if not registry.find(golden.yardstick).supports(twin):
                yardsticks[precision] = self.artifact(twin, inputs, weights)
        return yardsticks

    def make(self, kind: str, parts: Mapping[str, Any], job: Job, cell: Cell) -> Artifact:
        """The store's entry for `parts`; a worker makes a missing entry.

        An entry built from other sources than those on the current import path is not used.
        """

        def is_current(facts: Mapping[str, Any]) -> bool:
            return build_sources.unchanged(facts.get("code", {}), cell.model)

        def find_or_make() -> Artifact:
            entry = artifact_store.find(kind, parts, is_current)
            return entry or self._make_new(kind, lambda _: parts, job, cell)

        memo = f"{kind} {artifact_store.key_of(parts)} {_places(cell)}"
        return self._remember(memo, find_or_make)

    def _remember(self, memo: str, make: Callable[[], Artifact]) -> Artifact:
        """The entry of an earlier call in this run; a refusal is remembered too.

        Of several threads, the first makes the entry, and the others wait.
        """
        with self._locks.setdefault(memo, threading.Lock()):
            if memo not in self._made:
                try:
                    self._made[memo] = make()
                except Refusal as refusal:
                    self._made[memo] = refusal.reply
        entry = self._made[memo]
        if isinstance(entry, Reply):
            raise Refusal(entry)
        return entry

    def _make_new(self, kind: str, parts: Parts, job: Job, cell: Cell) -> Artifact:
        self.tell(kind, cell.id)
        return make_entry(kind, parts, lambda folder: self.work(replace(job, folder=str(folder))))


def _committee_key(golden: Golden, cell: Cell, inputs: Artifact) -> dict[str, Any]:
    """Facts about judges beside the golden's own backend; empty without a committee."""
    judges, expected = golden.judges_key(cell), inputs.facts.get(expected_outputs.FACT)
    return {
        **({"judges": judges} if judges else {}),
        **({"expected": expected} if judges and expected else {}),
    }


def _golden_backend(cell: Cell) -> Golden:
    """The golden backend of a cell. Raises Refusal if none fits or packages are missing."""
    try:
        golden = registry.golden_for(cell)
    except Unsupported as error:
        raise Refusal(Reply(None, "unsupported", "parity", str(error))) from None
    missing = golden.missing()
    if missing:
        hint = registry.row(golden.name).hint
        names = ", ".join(missing)
        reason = f"the golden {golden.name} needs {names}, which is not installed; {hint}"
        raise Refusal(Reply(None, "unavailable", "parity", reason))
    return golden


def job_on(
    task: str,
    cell: Cell,
    inputs: Artifact,
    weights: Artifact | None,
    calibration: Artifact | None,
    trials: int = 0,
) -> Job:
    """A job that reads the cell's inputs, weights and calibration samples, if present."""
    entries = {"inputs": inputs, "weights": weights, "calibration": calibration}
    folders = {name: entry.path for name, entry in entries.items() if entry}
    digests = SourceDigests(
        str(weights.facts["sha256"]) if weights else "",
        str(calibration.facts["sha256"]) if calibration else "",
        trials,
    )
    return Job(task, cell, digests, folders=folders)


def _places(cell: Cell) -> str:
    """The folders of the model's files: keys have the names only, equal in two folders."""
    return " ".join(str(folder) for folder in build_sources.folders_of(cell.model))


def _own_key(facts: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"own": facts["sha256"], "code": build_sources.digest_of(facts.get("code", {}))}


def code_of(weights: Artifact | None) -> str:
    """The digest of the source files of the built model; empty without source files."""
    code = weights.facts.get("code") if weights else None
    return build_sources.digest_of(code) if code else ""


def model_key(model: Model, weights: Artifact | None) -> list[Any]:
    """The build function, arguments and structure, to distinguish models of equal weights."""
    structure = weights.facts.get("structure", "") if weights else ""
    return [import_strings.portable(model.build), dict(model.arguments), structure]
