"""Two prepared cells, and tensors fetched by worker processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evenbench.harness.accuracy.tensor_capture import EXPOSE, WATCH, Watch
from evenbench.harness.core import registry
from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.types import Cell
from evenbench.harness.runner.job import Job
from evenbench.harness.runner.preparation import Preparer
from evenbench.harness.runner.prepared import Prepared, Refusal


@dataclass
class CellPair:
    """Two cells with their artifacts and shared inputs. `folder` holds all fetched files."""

    first: Cell
    second: Cell
    preparer: Preparer
    folder: Path

    def __post_init__(self) -> None:
        prepared = self._prepare(self.first)
        # A golden that runs the first cell's model on the same terms reuses the same artifact.
        is_golden = registry.row(self.second.backend).role == "golden" and self.second == replace(
            self.first, backend=self.second.backend
        )
        self.prepared = [prepared, prepared if is_golden else self._prepare(self.second)]
        self.inputs = self.prepared[0].inputs.path  # the same bytes for both
        self.runs = 0
        self.unchanged: dict[int, tuple[Path, Mapping[str, Any]]] = {}

    def _prepare(self, cell: Cell) -> Prepared:
        try:
            return self.preparer.prepare(cell)
        except Refusal as refusal:
            raise UsageError(f"{cell.id} cannot run here: {refusal.reply.reason}") from None

    def _work(self, job: Job) -> Mapping[str, Any]:
        reply = self.preparer.work(job)
        if reply.value is None:
            raise UsageError(f"cannot fetch tensors of {job.cell.id}: {reply.reason}")
        return reply.value

    def expose(
        self, side: int, batch: int, only: tuple[str, ...] | None
    ) -> tuple[Path, Mapping[str, Any]]:
        """Make an artifact of one side with fetchable tensors, and describe the tensors.

        `only` limits the tensors; None exposes all. The backend's description is `unchanged` if
        fetching a tensor changes no other tensor; the same artifact then serves all later calls.
        """
        if side in self.unchanged:
            return self.unchanged[side]
        cell, into = (self.first, self.second)[side], self._new_folder()
        folders = {"artifact": self.prepared[side].artifact.path, "inputs": self.inputs}
        description = self._work(
            Job(EXPOSE, cell, Watch(only, (batch,)), folder=str(into), folders=folders)
        )
        if description["unchanged"]:
            self.unchanged[side] = (into, description)
        return into, description

    @contextmanager
    def fetched(
        self, side: int, artifact: Path | None, watch: Watch
    ) -> Iterator[dict[int, dict[str, Path]]]:
        """Fetch tensors of one side into .npy files, by batch and name; deleted after the block."""
        cell, out = (self.first, self.second)[side], self._new_folder()
        folders = {
            "artifact": str(artifact or self.prepared[side].artifact.path),
            "inputs": self.inputs,
        }
        by_batch = self._work(Job(WATCH, cell, watch, folder=str(out), folders=folders))["names"]
        try:
            yield {
                int(batch): {
                    name: out / f"{batch}-{number}.npy" for number, name in enumerate(names)
                }
                for batch, names in by_batch.items()
            }
        finally:
            for file in out.iterdir():
                file.unlink()

    def _new_folder(self) -> Path:
        self.runs += 1
        folder = self.folder / str(self.runs)
        folder.mkdir()
        return folder
