"""The labelled data of a run, in its parent process: prepared for every model before anything is
timed, scored for every cell.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.core import artifact_store
from harness.core.errors import UsageError
from harness.core.measurements import Artifact
from harness.core.types import Cell
from harness.inputs import dataset_batches, dataset_classes
from harness.inputs.datasets import Dataset
from harness.runner import launcher
from harness.runner.job import Job, Reply
from harness.runner.prepared import Refusal, make_entry

SCORED = "scored"
"""The key of a process's record under which its scores lie."""


@dataclass
class LabelledData:
    """One dataset and what it became for each model."""

    dataset: Dataset
    timeout_seconds: float
    tell: Callable[[str], None] = lambda text: None
    unscored: dict[str, str] = field(default_factory=dict)
    """By cell id, why its accuracy is not known although its times are."""
    _ready: dict[str, tuple[Dataset, Artifact]] = field(default_factory=dict, init=False)

    def prepare(self, cells: Iterable[Cell]) -> None:
        """The dataset as inputs of every model, from the cache or made now. Raises UsageError for
        whatever is wrong with it.
        """
        for cell in {cell.model.fingerprint: cell for cell in cells}.values():
            fitted = dataset_classes.fit(self.dataset, cell.model)
            self._ready[cell.model.fingerprint] = fitted, self._make(fitted, cell)

    def _make(self, fitted: Dataset, cell: Cell) -> Artifact:
        parts = dataset_batches.key_parts(fitted, cell.model)
        found = artifact_store.find("datasets", parts)
        if found:
            return found
        dataset_batches.check_room(fitted, cell.model)
        self.tell(f"{len(fitted.images)} images as inputs of {cell.model.name}")
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
        return launcher.run_here(job, self.timeout_seconds)

    @property
    def key(self) -> list[str]:
        """What tells this dataset, as it was prepared, from another."""
        return sorted(made.sha256 for _, made in self._ready.values())

    def measure(self, job: Job, run: Callable[[Job], Reply]) -> Reply:
        """Run a measuring job that scores its session as well; `scored` of its record is then what
        the results file has.

        What cannot be scored keeps its times, and is told in `unscored`.
        """
        fitted, made = self._ready[job.cell.model.fingerprint]
        with tempfile.TemporaryDirectory() as into:
            payload = replace(job.payload, dataset=replace(fitted, images=()))
            asked = replace(
                job, payload=payload, folder=into, folders={**job.folders, "dataset": made.path}
            )
            reply = run(asked)
            if reply.value is None or not reply.value.get(SCORED):
                return reply
            scored = dict(reply.value[SCORED])
            if "found" in scored:
                scored = self._score(asked, into)
            self.unscored.pop(job.cell.id, None)
            if "error" in scored:
                self.unscored[job.cell.id] = str(scored["error"])
            told = self._told(fitted, made, scored["scores"]) if "scores" in scored else None
            return replace(reply, value={**reply.value, SCORED: told})

    def _score(self, asked: Job, found: str) -> dict[str, Any]:
        """The metrics of what a detector found, by a process of this environment."""
        judged = self._work(
            replace(
                asked, task="score", folders={"dataset": asked.folders["dataset"], "found": found}
            )
        )
        return {"error": judged.reason} if judged.value is None else dict(judged.value)

    @staticmethod
    def _told(fitted: Dataset, made: Artifact, scores: Mapping[str, float]) -> dict[str, Any]:
        """What the results file says: `accuracy`, and the `dataset` with every metric."""
        metric, value = next(iter(scores.items()))
        count = int(made.facts["count"])
        return {
            "accuracy": {"metric": metric, "value": value, "count": count},
            "dataset": {
                "name": Path(fitted.folder).name,
                "layout": fitted.layout,
                "sha256": made.sha256,
                "classes": fitted.classes_from,
                "metrics": dict(scores),
                "notes": list(made.facts["notes"]),
            },
        }
