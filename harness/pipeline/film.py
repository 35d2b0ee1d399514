"""The video that a pipeline run passes through every runtime: packaged, a file, or a camera."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.core import artifact_store
from harness.core.errors import UsageError
from harness.core.types import Cell
from harness.pipeline import video
from harness.pipeline.video import Footage, PipelineRequest
from harness.runner.job import Job, Reply
from harness.runner.preparation import Preparer
from harness.runner.prepared import Refusal, make_entry


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
        job = Job("video", cell, PipelineRequest(Footage("", 0, ())))
        try:
            found = make_entry(
                "videos",
                lambda _: parts,
                lambda folder: preparer.work(replace(job, folder=str(folder))),
            )
        except Refusal as refusal:
            raise UsageError(refusal.reply.message) from refusal
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
        value_of(preparer.work(Job("look", cell, PipelineRequest(Footage(str(file), most, ()))))),
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
    return Film(folder / video.RECORDING, "camera", value_of(preparer.work(job)))


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


def value_of(reply: Reply) -> Mapping[str, Any]:
    """The value of a reply. Raises UsageError with the reason if there is none."""
    if reply.value is None:
        raise UsageError(reply.message)
    return reply.value
