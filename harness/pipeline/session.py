"""A video through several runtimes, each in fresh processes, sweep by sweep: what becomes of every
cell, as one line each.

An answer that is wrong gets no times: its line says why, and its frames are drawn all the same, so
that a person can see it.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness import __version__
from harness.core import artifact_store, registry, source_digests
from harness.core.errors import UsageError
from harness.core.types import PHASES, Cell, Model, Plan
from harness.inputs import batches, preprocessors
from harness.pipeline import postprocess, video
from harness.pipeline.video import Footage, PipelineRequest
from harness.results import records
from harness.results.run_file import RunFile
from harness.runner import outcome
from harness.runner.job import Job, Reply
from harness.runner.preparation import Prepared, Preparer, Refusal
from harness.runner.resume import Ledger

LINES, PICTURES, FRAMES, PAGE = "pipeline.jsonl", "pictures.json", "frames", "index.html"
"""What a run leaves in its folder."""

DRAWN = "drawn"
"""In the folder of an unfinished run: what each runtime drew, for the page at the end."""

JUDGED = 6
"""How many frames are judged and shown."""


@dataclass(frozen=True)
class Film:
    """A video file and what is known of it: `source` is `photographs`, `file` or `camera`."""

    file: Path
    source: str
    facts: Mapping[str, Any]


def packaged(preparer: Preparer, cell: Cell) -> Film:
    """The video of packaged photographs, from the cache or made now. Raises UsageError where it
    cannot be made.
    """
    parts = video.key()
    found = artifact_store.find("videos", parts)
    if found is None:
        folder = artifact_store.stage("videos")
        try:
            reply = preparer.work(
                Job("video", cell, PipelineRequest(Footage("", 0, ())), folder=str(folder))
            )
            found = artifact_store.commit(
                folder, "videos", parts, reply.wall_seconds, _value(reply)
            )
        finally:
            artifact_store.discard(folder)
    return Film(Path(found.path) / video.FILE, "photographs", found.facts)


def of_file(preparer: Preparer, cell: Cell, file: Path, most: int) -> Film:
    """A video file. Raises UsageError where it has no frames, or one of the first `most` cannot be
    decoded.
    """
    if not file.is_file():
        raise UsageError(
            f"--video {file}: no such file; give a video file, or the number of a camera"
        )
    return Film(
        file,
        "file",
        _value(preparer.work(Job("look", cell, PipelineRequest(Footage(str(file), most, ()))))),
    )


def of_camera(preparer: Preparer, cell: Cell, device: Path, most: int, folder: Path) -> Film:
    """What a camera shows, recorded into `folder` first, so that every runtime sees the same.
    Raises UsageError where there is none.
    """
    if not device.exists():
        cameras = ", ".join(str(found) for found in sorted(device.parent.glob("video*"))) or "none"
        raise UsageError(
            f"--video: there is no camera {device}; this machine has {cameras}; give the path of a file instead"
        )
    job = Job("record", cell, PipelineRequest(Footage(str(device), most, ())), folder=str(folder))
    return Film(folder / video.RECORDING, "camera", _value(preparer.work(job)))


def recorded(preparer: Preparer, cell: Cell, folder: Path, most: int) -> Film | None:
    """What an interrupted run recorded from a camera into its folder, or None: what it measured, it
    measured on that.
    """
    recording = folder / video.RECORDING
    return (
        replace(of_file(preparer, cell, recording, most), source="camera")
        if recording.is_file()
        else None
    )


def unfinished(folder: Path) -> str | None:
    """The command of the run that was interrupted in this folder, empty where it had not begun to
    measure; None where there is none.
    """
    told = [work / "manifest.json" for work in sorted((folder / records.UNFINISHED).glob("*/"))]
    if not told:
        return None
    try:
        return str(json.loads(told[-1].read_text())["command"])
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
    ):  # killed before it was written, or at the very end, while all of it was removed
        return None if (folder / LINES).exists() else ""


def begin(folder: Path, wanted: Mapping[str, Any], film: Film, fresh: bool) -> Ledger:
    """Go on with the run that was interrupted in `folder`, or begin one there; `fresh` forgets what
    an interrupted one left.

    Raises UsageError where the folder cannot be made, or holds an interrupted run that a command
    with this manifest cannot go on with.
    """
    left = unfinished(folder)
    if left and not fresh and RunFile.resumable(folder, wanted, records.PIPELINE) is None:
        raise UsageError(
            f"{folder} holds an interrupted run that this command cannot go on with: it was `{left}`, of the video and the installation as "
            "they were then; name another folder with -o, or measure anew in this one with --fresh"
        )
    if left is not None and (fresh or not left):
        _forget(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be made ({error.strerror}); name another folder with -o"
        ) from error
    if film.source == "camera" and film.file.parent != folder:
        shutil.copyfile(film.file, folder / video.RECORDING)
    return Ledger.open(folder, wanted, records.PIPELINE, fresh, folder / LINES)


def _forget(folder: Path) -> None:
    """Remove what an interrupted run left; what is not ours stays."""
    for name in (records.UNFINISHED, FRAMES):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in (LINES, PICTURES, PAGE, video.RECORDING):
        (folder / name).unlink(missing_ok=True)


def _value(reply: Reply) -> Mapping[str, Any]:
    if reply.value is None:
        raise UsageError(reply.reason.removeprefix("UsageError: "))
    return reply.value


@dataclass
class Session:
    """One video through some cells of one model under one plan. `tell` gets a sentence before
    anything slow starts.
    """

    cells: Sequence[Cell]
    plan: Plan
    preparer: Preparer
    film: Film
    footage: Footage
    folder: Path
    ledger: Ledger
    seed: int = 0
    command: str = ""
    tell: Callable[[str], None] = lambda text: None
    _prepared: dict[str, Prepared] = field(default_factory=dict, init=False)
    _processes: dict[str, list[records.Record]] = field(default_factory=dict, init=False)

    def measure(self) -> list[records.Record]:
        """Every cell's line, in order; each is on the disk when it is known. What an interrupted
        run found is not measured again.
        """
        for cell in self.cells:
            if not self.ledger.was_refused(cell.key):
                self._prepare(cell)
        shuffle = random.Random(self.seed)
        for sweep in range(self.plan.processes):
            left = [cell for cell in self.cells if cell.key not in self.ledger.lines]
            order = [cell for cell in left if len(self._processes[cell.key]) <= sweep]
            shuffle.shuffle(order)
            for cell in order:
                self.tell(f"{cell.id} {sweep + 1}/{self.plan.processes}")
                self._once(cell)
        return [self.ledger.lines[cell.key] for cell in self.cells]

    def known(self) -> str:
        """How much is known, in words."""
        return self.ledger.words([cell.key for cell in self.cells], lambda key: [key])

    def _prepare(self, cell: Cell) -> None:
        self.tell(f"preparing {cell.id}")
        try:
            job = Job("frames", cell, PipelineRequest(self.footage))
            prepared = self.preparer.judged_on(cell, "frames", self._key(cell.model), job)
        except Refusal as refusal:
            if not self.ledger.stands(cell.key, [None]):
                self._settle(cell, refusal.reply)
            return
        self._prepared[cell.key] = prepared
        if not self.ledger.stands(cell.key, [prepared]):
            self._processes[cell.key] = self.ledger.processes(cell.key, prepared)
            if len(self._processes[cell.key]) >= self.plan.processes:
                self._settle(cell, Reply(None))

    def _drawn(self, key: str) -> Path:
        """Where the last process of a cell leaves what it drew."""
        return self.ledger.run.work / DRAWN / key

    def _once(self, cell: Cell) -> None:
        prepared, taken = self._prepared[cell.key], self._processes[cell.key]
        drawn = self._drawn(cell.key)
        drawn.mkdir(parents=True, exist_ok=True)
        job = Job(
            "pipeline",
            cell,
            PipelineRequest(self.footage, self.plan),
            folder=str(drawn),
            folders=prepared.folders(),
        )
        reply = self.preparer.work(job)
        if reply.value is None:
            self._settle(cell, reply)
            return
        other = prepared.difference(reply.value)
        wrong = Reply(None, "failed", "load", other) if other else outcome.verdict(reply.value)
        taken.append({**reply.value, "wall_seconds": reply.wall_seconds})
        if not wrong:
            self.ledger.keep(cell.key, prepared, taken[-1])
        if wrong or len(taken) == self.plan.processes:
            self._settle(cell, wrong or Reply(None))

    def _key(self, model: Model) -> dict[str, Any]:
        """What decides the judged frames as inputs."""
        recipe = postprocess.recipe_of(model)
        return {
            "video": self.film.facts["sha256"],
            "frames": self.footage.judged,
            "inputs": model.inputs,
            "recipe": recipe,
            "steps": source_digests.digest_of(
                source_digests.read(source_digests.of_types(preprocessors.defined_by(recipe)))
            ),
            "versions": {
                name: batches.version_of(name)
                for name in ("av", *preprocessors.distributions(recipe))
            },
        }

    def _settle(self, cell: Cell, reply: Reply) -> None:
        """The cell's one line. A wrong answer keeps its verdict and loses its times."""
        prepared, taken = self._prepared.get(cell.key), self._processes.get(cell.key, [])
        last = taken[-1] if taken else {}
        right = reply.outcome == "ok"
        phases = {
            phase: [
                each["phases_seconds"][phase] for each in taken if phase in each["phases_seconds"]
            ]
            for phase in PHASES
        }
        started = self.ledger.run.manifest["started"]
        line = {
            "schema": records.PIPELINE.newest,
            "boundary": records.PIPELINE.boundary,
            "run": {
                "started": started,
                "plan": self.plan.name,
                "processes": self.plan.processes,
                "evenbench": __version__,
            },
            "time": records.timestamp(),
            "cell": cell.described(),
            "role": registry.row(cell.backend).role,
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
            "outcome": reply.outcome,
            "phase": reply.phase,
            "reason": reply.reason,
            "traceback": reply.traceback,
            "signal": reply.signal,
            "covers": last.get("covers", ""),
            "alone_because": last.get("alone_because", ""),
            "not_held_because": last.get("not_held_because", ""),
            "clock": last.get("clock", "") if right else "",
            "passages": [each["passages"] for each in taken] if right else [],
            "warm_up": [each["warm_up"] for each in taken] if right else [],
            "phases_seconds": phases if right else {},
            "memory": {
                "peak_rss_bytes": [each["peak_rss_bytes"] for each in taken] if right else []
            },
            "gpu": [each["gpu"] for each in taken if each["gpu"]],
            "parity": max(
                (each["parity"] for each in taken),
                key=lambda found: float(found["needed"]),
                default=None,
            ),
            "attested": last.get("attested"),
            "artifact_sha256": prepared.artifact.sha256 if prepared else "",
            "input_sha256": prepared.inputs.facts["sha256"] if prepared else "",
            "weights": prepared.weights if prepared else None,
            "environment": outcome.environment_of(prepared, taken),
            "reproduce": self.command,
        }
        self.ledger.settle(line)

    def pictures(self) -> dict[str, Any] | None:
        """The judged frames by the golden and by each runtime, written into the folder; None where
        nothing was drawn.
        """
        drawn = {
            key: str(self._drawn(key))
            for key in self._prepared
            if any(self._drawn(key).glob("*.png"))
        }
        if not drawn:
            return None
        cell = next(cell for cell in self.cells if cell.key in drawn)
        prepared, place = self._prepared[cell.key], self.folder / FRAMES
        assert prepared.golden is not None
        shutil.rmtree(place, ignore_errors=True)  # of a run that was interrupted at this point
        place.mkdir()
        folders = {"inputs": prepared.inputs.path, "golden": prepared.golden.path, **drawn}
        reply = self.preparer.work(
            Job("pictures", cell, PipelineRequest(self.footage), folder=str(place), folders=folders)
        )
        return dict(_value(reply))
