"""Labelled data in the parent process: prepared before timing, scored for every cell."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from evenbench.harness.core import artifact_store, quantities
from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.measurements import Artifact
from evenbench.harness.core.types import Cell
from evenbench.harness.inputs import dataset_batches, dataset_classes
from evenbench.harness.inputs.datasets import Dataset
from evenbench.harness.runner import launcher
from evenbench.harness.runner.job import Job, Reply
from evenbench.harness.runner.prepared import Refusal, make_entry

SCORED = "scored"
"""The key of the scores in a process's record."""


@dataclass
class LabelledData:
    """A labelled dataset, and the inputs made of it for each model."""

    dataset: Dataset
    timeout_seconds: float
    tell: Callable[[str], None] = lambda text: None
    unscored: dict[str, str] = field(default_factory=dict)
    """By cell id, why a timed cell has no accuracy."""
    _ready: dict[str, tuple[Dataset, Artifact]] = field(default_factory=dict, init=False)

    def prepare(self, cells: Iterable[Cell]) -> None:
        """Make or find the dataset's inputs for every model.

        Raises UsageError if the dataset is invalid.
        """
        for cell in {cell.model.fingerprint: cell for cell in cells}.values():
            fitted = dataset_classes.fit(self.dataset, cell.model)
            self._ready[cell.model.fingerprint] = fitted, self._make(fitted, cell)

    def _make(self, fitted: Dataset, cell: Cell) -> Artifact:
        parts = dataset_batches.key_parts(fitted, cell.model)
        entry = artifact_store.find("datasets", parts)
        if entry:
            return entry
        dataset_batches.check_room(fitted, cell.model)
        self.tell(f"{quantities.count(len(fitted.images), 'image')} as inputs of {cell.model.name}")
        job = Job("dataset", cell, fitted)
        try:
            return make_entry(
                "datasets",
                lambda _: parts,
                lambda folder: self._work(replace(job, folder=str(folder))),
            )
        except Refusal as refusal:
            reason = refusal.reply.message
            raise UsageError(
                f"--dataset {fitted.folder}: {reason}; nothing was measured"
            ) from refusal

    def _work(self, job: Job) -> Reply:
        """Do `job` under this Python instead of the cell's environment."""
        return launcher.run_here(job, self.timeout_seconds)

    @property
    def key(self) -> list[str]:
        """The digests of the prepared inputs, part of the run's manifest."""
        return sorted(entry.sha256 for _, entry in self._ready.values())

    def scoring(self, job: Job, folder: str) -> Job:
        """A measuring job that also scores the session; `folder` is empty, for detections."""
        fitted, entry = self._ready[job.cell.model.fingerprint]
        payload = replace(job.payload, dataset=replace(fitted, images=()))
        folders = {**job.folders, "dataset": entry.path}
        return replace(job, payload=payload, folder=folder, folders=folders)

    def scored(self, job: Job, reply: Reply) -> Reply:
        """The reply to a job of `scoring`, with `scored` in the results file's form.

        A cell without scores keeps its times; `unscored` has the reason.
        """
        if reply.value is None or not reply.value.get(SCORED):
            return reply
        fitted, entry = self._ready[job.cell.model.fingerprint]
        scored = dict(reply.value[SCORED])
        if "found" in scored:
            scored = self._score(job)
        self.unscored.pop(job.cell.id, None)
        if "error" in scored:
            self.unscored[job.cell.id] = str(scored["error"])
        scores = _record(fitted, entry, scored["scores"]) if "scores" in scored else None
        return replace(reply, value={**reply.value, SCORED: scores})

    def _score(self, job: Job) -> dict[str, Any]:
        """The metrics of the detections in the job's folder, by a process of this environment."""
        folders = {"dataset": job.folders["dataset"], "detections": job.folder}
        reply = self._work(replace(job, task="score", folders=folders))
        return {"error": reply.reason} if reply.value is None else dict(reply.value)


def _record(fitted: Dataset, entry: Artifact, scores: Mapping[str, float]) -> dict[str, Any]:
    """The `accuracy` of a result line, and the `dataset` with every metric."""
    metric, value = next(iter(scores.items()))
    count = int(entry.facts["count"])
    return {
        "accuracy": {"metric": metric, "value": value, "count": count},
        "dataset": {
            "name": Path(fitted.folder).name,
            "layout": fitted.layout,
            "sha256": entry.sha256,
            "classes": fitted.classes_from,
            "metrics": dict(scores),
            "notes": list(entry.facts["notes"]),
        },
    }
