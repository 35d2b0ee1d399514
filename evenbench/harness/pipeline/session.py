"""A pipeline run: a video through several runtimes, measured in sweeps and written as lines.

A cell with wrong outputs gets no times. The line has the reason, and the frames are drawn for
inspection.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evenbench.harness.core import source_digests
from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.plans import Plan
from evenbench.harness.core.types import Cell, Model
from evenbench.harness.inputs import batches, preprocessors
from evenbench.harness.pipeline import postprocess, video
from evenbench.harness.pipeline.film import Film, value_of
from evenbench.harness.pipeline.video import Footage, PipelineRequest
from evenbench.harness.results import records
from evenbench.harness.results.records import Record
from evenbench.harness.results.run_file import RunFile
from evenbench.harness.runner import record_parts
from evenbench.harness.runner.job import Job, Reply
from evenbench.harness.runner.journal import Journal
from evenbench.harness.runner.preparation import Preparer
from evenbench.harness.runner.prepared import Prepared
from evenbench.harness.runner.sweep import Part, Sweep

LINES, PICTURES, FRAMES, PAGE = "pipeline.jsonl", "pictures.json", "frames", "index.html"
"""The files and the folder that a run leaves."""

DRAWN = "drawn"
"""The folder of drawn frames in an unfinished run's folder, for the final page."""

JUDGED = 6
"""The number of judged and displayed frames."""


def unfinished(folder: Path) -> str | None:
    """The command of the interrupted run in this folder, or None.

    The command is empty if the run had not begun to measure.
    """
    runs = sorted((folder / records.UNFINISHED).glob("*/"))
    if not runs:
        return None
    try:
        return str(json.loads((runs[-1] / "manifest.json").read_text())["command"])
    except (OSError, ValueError, KeyError, TypeError):
        # The run was killed before writing the manifest, or while removing the folder at the end.
        return None if (folder / LINES).exists() else ""


def begin(folder: Path, wanted: Mapping[str, Any], film: Film, fresh: bool) -> Journal:
    """Resume the interrupted run in `folder`, or begin a run; `fresh` removes interrupted runs.

    Raises UsageError if the folder is not writable, or an interrupted run has another manifest.
    """
    left = unfinished(folder)
    if left and not fresh and RunFile.resumable(folder, wanted, records.PIPELINE) is None:
        raise UsageError(
            f"{folder} holds an interrupted run of another command, video, installation or source: "
            f"`{left}`; name another folder with -o, or replace the run with --fresh"
        )
    if left is not None and (fresh or not left):
        _forget(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be created ({error.strerror}); name another folder with -o"
        ) from error
    if film.source == "camera" and film.file.parent != folder:
        shutil.copyfile(film.file, folder / video.RECORDING)
    return Journal.open(folder, wanted, records.PIPELINE, fresh, folder / LINES)


def _forget(folder: Path) -> None:
    """Remove the files of an interrupted run; other files stay."""
    for name in (records.UNFINISHED, FRAMES):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in (LINES, PICTURES, PAGE, video.RECORDING):
        (folder / name).unlink(missing_ok=True)


@dataclass
class PipelineSession:
    """A video through the cells of a model. `tell` gets a sentence before each slow step."""

    cells: Sequence[Cell]
    plan: Plan
    preparer: Preparer
    film: Film
    footage: Footage
    folder: Path
    journal: Journal
    seed: int = 0
    command: str = ""
    tell: Callable[[str], None] = lambda text: None
    _parts: dict[str, Part] = field(init=False)

    def __post_init__(self) -> None:
        self._parts = {cell.key: Part(cell) for cell in self.cells}

    def measure(self) -> list[Record]:
        """Every cell's line, in order; lines are written to disk at once."""
        sweep = Sweep(self.plan, self.journal, self.seed)
        for key, part in self._parts.items():
            if not self.journal.was_refused(key):
                self.tell(f"preparing {part.cell.id}")
                sweep.prepare(part, self._prepare)
                if not self.journal.stands(key, [part.prepared]):
                    self._settle(part)
        waiting = [part for key, part in self._parts.items() if key not in self.journal.lines]
        sweep.measure(waiting, self._work, self._begin, self._settle)
        return [self.journal.lines[cell.key] for cell in self.cells]

    def known(self) -> str:
        """How many outcomes and processes are known, as text."""
        return self.journal.known(list(self._parts))

    def _prepare(self, cell: Cell) -> Prepared:
        job = Job("frames", cell, PipelineRequest(self.footage))
        return self.preparer.judged_on(cell, "frames", self._key(cell.model), job)

    def _drawn(self, key: str) -> Path:
        """The folder of the drawn frames of a cell's last process."""
        return self.journal.run.work / DRAWN / key

    def _begin(self, part: Part, sweep: int) -> None:
        self.tell(f"{part.cell.id} {sweep + 1}/{self.plan.processes}")

    def _work(self, part: Part) -> Reply:
        assert part.prepared is not None
        drawn = self._drawn(part.cell.key)
        drawn.mkdir(parents=True, exist_ok=True)
        request = PipelineRequest(self.footage, self.plan)
        folders = part.prepared.folders()
        return self.preparer.work(
            Job("pipeline", part.cell, request, folder=str(drawn), folders=folders)
        )

    def _key(self, model: Model) -> dict[str, Any]:
        """The facts that decide the bytes of the judged frames as inputs."""
        recipe = postprocess.recipe_of(model)
        steps = source_digests.read(source_digests.of_types(preprocessors.defined_by(recipe)))
        distributions = ("av", *preprocessors.distributions(recipe))
        return {
            "video": self.film.facts["sha256"],
            "frames": self.footage.judged,
            "inputs": model.inputs,
            "recipe": recipe,
            "steps": source_digests.digest_of(steps),
            "versions": {name: batches.version_of(name) for name in distributions},
        }

    def _settle(self, part: Part) -> None:
        """Write the line of a cell that has ended. A wrong cell has a verdict and no times."""
        if part.ended is None:
            return
        cell, processes, last = part.cell, part.processes, record_parts.last(part.processes)
        timed = processes if part.ended.outcome == "ok" else []
        run = {"started": self.journal.run.manifest["started"]}
        line = {
            "schema": records.PIPELINE.newest,
            "boundary": records.PIPELINE.boundary,
            **record_parts.head(cell, run, self.plan),
            "task": cell.model.task,
            "video": {
                **self.film.facts,
                "source": self.film.source,
                "name": self.film.file.name,
                "judged": self.footage.judged,
            },
            "recipe": postprocess.recipe_of(cell.model).name,
            "in_flight": self.footage.in_flight,
            "target_per_second": self.footage.target_per_second or None,
            **record_parts.ending(part.ended),
            "covers": last.get("covers", ""),
            "alone_because": last.get("alone_because", ""),
            "not_held_because": last.get("not_held_because", ""),
            "clock": last.get("clock", "") if timed else "",
            "passages": [process["passages"] for process in timed],
            "warm_up": [process["warm_up"] for process in timed],
            "phases_seconds": record_parts.phases(timed) if timed else {},
            "memory": record_parts.peak_memory(timed),
            "gpu": record_parts.gpus(processes),
            "parity": record_parts.worst_parity(processes),
            "attested": last.get("attested"),
            **record_parts.sources(part.prepared),
            "environment": record_parts.environment(part.prepared, processes),
            "reproduce": self.command,
        }
        self.journal.settle(line)

    def pictures(self) -> dict[str, Any] | None:
        """Write the judged frames as drawn by the golden and by each runtime into the folder.

        Returns their descriptions, or None if nothing was drawn.
        """
        drawn = {
            key: str(self._drawn(key))
            for key, part in self._parts.items()
            if part.prepared and any(self._drawn(key).glob("*.png"))
        }
        if not drawn:
            return None
        part, place = self._parts[next(iter(drawn))], self.folder / FRAMES
        assert part.prepared is not None
        assert part.prepared.golden is not None
        shutil.rmtree(place, ignore_errors=True)  # of a run interrupted here
        place.mkdir()
        prepared = part.prepared
        folders = {"inputs": prepared.inputs.path, "golden": part.prepared.golden.path, **drawn}
        request = PipelineRequest(self.footage)
        reply = self.preparer.work(
            Job("pictures", part.cell, request, folder=str(place), folders=folders)
        )
        return dict(value_of(reply))
