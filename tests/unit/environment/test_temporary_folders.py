"""Folders of a killed process are removed later; folders in use, or of others, stay."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from evenbench.harness.core.paths import PROJECT
from evenbench.harness.environment import temporary_folders
from evenbench.harness.environment.temporary_folders import (
    YOUNG_SECONDS,
    held,
    is_abandoned,
    remove_abandoned,
)

HOLDER = """
import sys, time
from harness.environment.temporary_folders import held
with held("side") as folder:
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    remove_abandoned.cache_clear()
    return tmp_path


def age(folder: Path) -> None:
    then = folder.stat().st_mtime - 2 * YOUNG_SECONDS
    os.utime(folder, (then, then))


def test_a_folder_is_removed_at_the_end_with_its_files() -> None:
    with held("process") as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "file").touch()
    assert not folder.exists()


def test_the_next_command_removes_what_a_killed_process_left(scratch: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(scratch), "PYTHONPATH": str(PROJECT)},
    ) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        age(folder)
        with held("other"):
            assert folder.is_dir(), "the process is alive"
        assert not is_abandoned(folder)
        process.send_signal(signal.SIGKILL)
        process.wait()
    remove_abandoned.cache_clear()
    with held("other"):
        assert not folder.exists()


@pytest.mark.parametrize("name", ["evenbench-mine", "other-1.held", "evenbench.held"])
def test_folders_of_another_name_stay(name: str, scratch: Path) -> None:
    (scratch / name).mkdir()
    age(scratch / name)
    with held("process"):
        assert (scratch / name).is_dir()


def test_a_young_folder_and_a_link_stay(scratch: Path) -> None:
    young, linked, target = (scratch / f"evenbench-{n}.held" for n in ("a", "b", "c"))
    young.mkdir()
    target.mkdir()
    linked.symlink_to(target)
    assert not is_abandoned(young)
    age(target)
    assert not is_abandoned(linked)
    assert is_abandoned(target)
    assert is_abandoned(scratch / "evenbench-gone.held")


def test_a_file_system_without_locks_keeps_everything(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError("no locks available")

    folder = scratch / "evenbench-old.held"
    folder.mkdir()
    age(folder)
    monkeypatch.setattr(temporary_folders.fcntl, "flock", refuse)
    assert not is_abandoned(folder)
    with held("process") as own:
        assert own.is_dir()
