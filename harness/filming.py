"""A video through several runtimes, each in fresh processes, sweep by sweep: what becomes of every cell, as one line each.

An answer that is wrong gets no times: its line says why, and its frames are drawn all the same, so that a person can see it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import __version__, drawing, implementations, inputs, outcome, registry, results, sources, store, videos
from harness.preparation import Prepared, Preparer, Refusal
from harness.types import PHASES, Cell, Model, Plan, UsageError
from harness.videos import Footage
from harness.worker import Job, Reply

SCHEMA = 1
"""Of a line; `pipeline.schema.json` describes it."""

BOUNDARY = "pipeline"
"""What is timed: decoding, preprocessing, binding, inference, fetching, postprocessing and drawing."""

LINES, PICTURES, FRAMES = "pipeline.jsonl", "pictures.json", "frames"
"""What a run leaves in its folder, beside the page."""

JUDGED = 6
"""How many frames are judged and shown."""


@dataclass(frozen=True)
class Film:
    """A video file and what is known of it: `source` is `photographs`, `file` or `camera`."""

    file: Path
    source: str
    facts: Mapping[str, Any]


def packaged(preparer: Preparer, cell: Cell) -> Film:
    """The video of packaged photographs, from the cache or made now. Raises UsageError where it cannot be made."""
    parts = videos.key()
    found = store.find("videos", parts)
    if found is None:
        folder = store.stage("videos")
        try:
            reply = preparer.work(Job("video", cell, folder=str(folder), footage=Footage("", 0, ())))
            found = store.commit(folder, "videos", parts, reply.wall_seconds, _value(reply))
        finally:
            store.discard(folder)
    return Film(Path(found.path) / videos.FILE, "photographs", found.facts)


def of_file(preparer: Preparer, cell: Cell, file: Path, most: int) -> Film:
    """A video file. Raises UsageError where it has no frames, or one of the first `most` cannot be decoded."""
    if not file.is_file():
        raise UsageError(f"--video {file}: no such file; give a video file, or the number of a camera")
    return Film(file, "file", _value(preparer.work(Job("look", cell, footage=Footage(str(file), most, ())))))


def of_camera(preparer: Preparer, cell: Cell, device: Path, most: int, folder: Path) -> Film:
    """What a camera shows, recorded into `folder` first, so that every runtime sees the same. Raises UsageError where there is none."""
    if not device.exists():
        cameras = ", ".join(str(found) for found in sorted(device.parent.glob("video*"))) or "none"
        raise UsageError(f"--video: there is no camera {device}; this machine has {cameras}; give the path of a file instead")
    job = Job("record", cell, folder=str(folder), footage=Footage(str(device), most, ()))
    return Film(folder / videos.RECORDING, "camera", _value(preparer.work(job)))


def _value(reply: Reply) -> Mapping[str, Any]:
    if reply.value is None:
        raise UsageError(reply.reason.removeprefix("UsageError: "))
    return reply.value


@dataclass
class Session:
    """One video through some cells of one model under one plan. `tell` gets a sentence before anything slow starts."""

    cells: Sequence[Cell]
    plan: Plan
    preparer: Preparer
    film: Film
    footage: Footage
    folder: Path
    work: Path
    seed: int = 0
    command: str = ""
    tell: Callable[[str], None] = lambda text: None
    lines: dict[str, dict[str, Any]] = field(default_factory=dict, init=False)
    _prepared: dict[str, Prepared] = field(default_factory=dict, init=False)
    _processes: dict[str, list[results.Record]] = field(default_factory=dict, init=False)

    def measure(self) -> list[dict[str, Any]]:
        """Every cell's line, in order; each is on the disk when it is known."""
        started = results.timestamp()
        for cell in self.cells:
            self.tell(f"preparing {cell.id}")
            try:
                job = Job("frames", cell, footage=self.footage)
                self._prepared[cell.key] = self.preparer.judged_on(cell, "frames", self._key(cell.model), job)
            except Refusal as refusal:
                self._settle(cell, started, refusal.reply)
        shuffle = random.Random(self.seed)
        for sweep in range(self.plan.processes):
            order = [cell for cell in self.cells if cell.key not in self.lines]
            shuffle.shuffle(order)
            for cell in order:
                self.tell(f"{cell.id} {sweep + 1}/{self.plan.processes}")
                self._once(cell, started)
        return [self.lines[cell.key] for cell in self.cells]

    def _once(self, cell: Cell, started: str) -> None:
        prepared, taken = self._prepared[cell.key], self._processes.setdefault(cell.key, [])
        drawn = self.work / cell.key
        drawn.mkdir(exist_ok=True)
        job = Job("pipeline", cell, folder=str(drawn), folders=prepared.folders(), plan=self.plan, footage=self.footage)
        reply = self.preparer.work(job)
        if reply.value is None:
            self._settle(cell, started, reply)
            return
        other = prepared.difference(reply.value)
        wrong = Reply(None, "failed", "load", other) if other else outcome.verdict(reply.value)
        taken.append({**reply.value, "wall_seconds": reply.wall_seconds})
        if wrong or len(taken) == self.plan.processes:
            self._settle(cell, started, wrong or Reply(None))

    def _key(self, model: Model) -> dict[str, Any]:
        """What decides the judged frames as inputs."""
        recipe = drawing.recipe_of(model)
        return {
            "video": self.film.facts["sha256"],
            "frames": self.footage.judged,
            "inputs": model.inputs,
            "recipe": recipe,
            "steps": sources.digest_of(sources.read(sources.of_types(implementations.defined_by(recipe)))),
            "versions": {name: inputs.version_of(name) for name in ("av", *implementations.distributions(recipe))},
        }

    def _settle(self, cell: Cell, started: str, reply: Reply) -> None:
        """The cell's one line. A wrong answer keeps its verdict and loses its times."""
        prepared, taken = self._prepared.get(cell.key), self._processes.get(cell.key, [])
        last = taken[-1] if taken else {}
        right = reply.outcome == "ok"
        phases = {phase: [each["phases_seconds"][phase] for each in taken if phase in each["phases_seconds"]] for phase in PHASES}
        line = {
            "schema": SCHEMA,
            "boundary": BOUNDARY,
            "run": {"started": started, "plan": self.plan.name, "processes": self.plan.processes, "evenbench": __version__},
            "time": results.timestamp(),
            "cell": cell.described(),
            "role": registry.row(cell.backend).role,
            "task": cell.model.task,
            "video": {**self.film.facts, "source": self.film.source, "name": self.film.file.name, "judged": self.footage.judged},
            "recipe": drawing.recipe_of(cell.model).name,
            "in_flight": self.footage.in_flight,
            "target_per_second": self.footage.target_per_second or None,
            "outcome": reply.outcome,
            "phase": reply.phase,
            "reason": reply.reason,
            "traceback": reply.traceback,
            "signal": reply.signal,
            "covers": last.get("covers", ""),
            "clock": last.get("clock", "") if right else "",
            "passages": [each["passages"] for each in taken] if right else [],
            "warm_up": [each["warm_up"] for each in taken] if right else [],
            "phases_seconds": phases if right else {},
            "memory": {"peak_rss_bytes": [each["peak_rss_bytes"] for each in taken] if right else []},
            "gpu": [each["gpu"] for each in taken if each["gpu"]],
            "parity": max((each["parity"] for each in taken), key=lambda found: float(found["needed"]), default=None),
            "attested": last.get("attested"),
            "artifact_sha256": prepared.artifact.sha256 if prepared else "",
            "input_sha256": prepared.inputs.facts["sha256"] if prepared else "",
            "weights": prepared.weights if prepared else None,
            "environment": outcome.environment_of(prepared, taken),
            "reproduce": self.command,
        }
        results.append(self.folder / LINES, line)
        self.lines[cell.key] = line

    def pictures(self) -> dict[str, Any] | None:
        """The judged frames by the golden and by each runtime, written into the folder; None where nothing was drawn."""
        drawn = {key: str(self.work / key) for key in self._prepared if any((self.work / key).glob("*.png"))}
        if not drawn:
            return None
        cell = next(cell for cell in self.cells if cell.key in drawn)
        prepared, place = self._prepared[cell.key], self.folder / FRAMES
        assert prepared.golden is not None
        place.mkdir()
        folders = {"inputs": prepared.inputs.path, "golden": prepared.golden.path, **drawn}
        reply = self.preparer.work(Job("pictures", cell, folder=str(place), folders=folders, footage=self.footage))
        return dict(_value(reply))
