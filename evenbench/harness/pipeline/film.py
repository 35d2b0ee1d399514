"""The input video of a pipeline run: packaged photographs, a file, or a camera."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evenbench.harness.core import artifact_store
from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.types import Cell
from evenbench.harness.pipeline import video
from evenbench.harness.pipeline.video import Footage, PipelineRequest
from evenbench.harness.runner.job import Job, Reply
from evenbench.harness.runner.preparation import Preparer
from evenbench.harness.runner.prepared import Refusal, make_entry


@dataclass(frozen=True)
class Film:
    """A video file with facts: `source` is `photographs`, `file` or `camera`."""

    file: Path
    source: str
    facts: Mapping[str, Any]


def packaged(preparer: Preparer, cell: Cell) -> Film:
    """Make or find the video of packaged photographs. Raises UsageError on failure."""
    parts = video.key()
    entry = artifact_store.find("videos", parts)
    if entry is None:
        job = Job("video", cell, PipelineRequest(Footage("", 0, ())))
        try:
            entry = make_entry(
                "videos",
                lambda _: parts,
                lambda folder: preparer.work(replace(job, folder=str(folder))),
            )
        except Refusal as refusal:
            raise UsageError(refusal.reply.message) from refusal
    return Film(Path(entry.path) / video.FILE, "photographs", entry.facts)


def of_file(preparer: Preparer, cell: Cell, file: Path, most: int) -> Film:
    """A video file, checked by decoding the first `most` frames.

    Raises UsageError if the file has no frames or a frame cannot be decoded.
    """
    if not file.is_file():
        raise UsageError(
            f"--video {file}: no such file; give a video file, or the number of a camera"
        )
    job = Job("look", cell, PipelineRequest(Footage(str(file), most, ())))
    return Film(file, "file", value_of(preparer.work(job)))


def of_camera(preparer: Preparer, cell: Cell, device: Path, most: int, folder: Path) -> Film:
    """A camera's video, recorded into `folder` first, so every runtime gets the same frames.

    Raises UsageError if the camera does not exist.
    """
    if not device.exists():
        cameras = ", ".join(map(str, sorted(device.parent.glob("video*")))) or "none"
        raise UsageError(
            f"--video: there is no camera {device}; cameras of this machine: {cameras}; "
            "give a camera or the path of a file"
        )
    job = Job("record", cell, PipelineRequest(Footage(str(device), most, ())), folder=str(folder))
    return Film(folder / video.RECORDING, "camera", value_of(preparer.work(job)))


def recorded(preparer: Preparer, cell: Cell, folder: Path, most: int) -> Film | None:
    """The camera recording in the folder of an interrupted run, used again, or None."""
    recording = folder / video.RECORDING
    if not recording.is_file():
        return None
    return replace(of_file(preparer, cell, recording, most), source="camera")


def value_of(reply: Reply) -> Mapping[str, Any]:
    """The value of a reply. A failed reply raises UsageError with the reason."""
    if reply.value is None:
        raise UsageError(reply.message)
    return reply.value
