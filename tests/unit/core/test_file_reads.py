"""Reads of files by the kernel's account: the formats of events, and the folders under watch."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from evenbench.harness.core.file_reads import kernel, recorder

KINDS = [kernel.Fanotify, kernel.Inotify]
OVERFLOWS = {
    kernel.Fanotify: struct.pack("=IBBHQii", 24, 3, 0, 24, kernel.OVERFLOW, -1, 0),
    kernel.Inotify: struct.pack("=iIII", -1, kernel.OVERFLOW, 0, 0),
}


def read(kind: type[kernel.Watch], folder: Path, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names of the files under `folder` in a recording of three reads and two writes."""
    monkeypatch.setattr(kernel, "KINDS", (kind,))
    recording = recorder.Recorder.start([folder], lambda place: place.name == "left_out")
    assert recording is not None
    for name in ("top", "inner/deep", "left_out/hidden"):
        os.close(os.open(folder / name, os.O_RDONLY))
    os.close(os.open(folder / "written", os.O_WRONLY | os.O_CREAT))
    os.close(os.open(folder / "both", os.O_RDWR | os.O_CREAT))
    held = os.open(folder / "held", os.O_RDONLY)
    files, lost = recording.stop()
    os.close(held)
    assert not lost
    return {file.relative_to(folder).as_posix() for file in files if file.is_relative_to(folder)}


@pytest.mark.parametrize("kind", KINDS)
def test_files_that_were_open_for_reading_only(
    kind: type[kernel.Watch], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        os.close(kind().descriptor)
    except OSError as error:
        pytest.skip(f"this machine forbids it: {error}")
    for name in ("top", "held", "inner/deep", "left_out/hidden"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert read(kind, tmp_path.resolve(), monkeypatch) == {"top", "held", "inner/deep"}


@pytest.mark.parametrize("kind", KINDS)
def test_lost_events_are_reported(kind: type[kernel.Watch]) -> None:
    watch = kind.__new__(kind)
    assert list(watch.files(OVERFLOWS[kind])) == [kernel.LOST]


def test_without_a_watch_nothing_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> kernel.Watch:
        raise OSError("no such function")

    monkeypatch.setattr(kernel, "KINDS", (absent,))
    assert recorder.Recorder.start([Path.cwd()], lambda place: False) is None


def test_folders_are_watched_breadth_first_up_to_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a/deep/deeper", "b", "c"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "c" / "up").symlink_to(tmp_path, target_is_directory=True)
    top = tmp_path.resolve()

    def listed() -> list[str]:
        found = recorder.folders([top, top / "b"], lambda place: False)
        return [folder.relative_to(top).as_posix() for folder in found]

    assert listed() == [".", "b", "a", "c", "a/deep", "a/deep/deeper"]
    monkeypatch.setattr(recorder, "MOST_FOLDERS", 4)
    assert listed() == [".", "b", "a", "c"]
    monkeypatch.setattr(recorder, "MOST_FOLDERS", 100)
    monkeypatch.setattr(recorder, "MOST_ENTRIES", 3)
    assert listed() == ["."]
