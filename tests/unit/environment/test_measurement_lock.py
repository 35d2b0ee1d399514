"""One measurement at a time on a machine, whatever the temporary folders of two runs are."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from evenbench.harness import UsageError
from evenbench.harness.environment import measurement_lock

HOLDER = """
import sys
from evenbench.harness.environment import measurement_lock
with measurement_lock.alone():
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder(**variables: str) -> Iterator[int]:
    """A process with the lock, and its number."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **variables},
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process.pid
        process.stdin.close()


def test_two_measurements_at_a_time_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(measurement_lock.VARIABLE, str(tmp_path / "lock"))
    with (
        holder() as number,
        pytest.raises(UsageError, match=f"process {number}.*wait for its end"),
        measurement_lock.alone(),
    ):
        pass
    with measurement_lock.alone():
        pass


def test_the_lock_is_the_same_with_another_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(measurement_lock.VARIABLE)
    before = measurement_lock.file()
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    assert measurement_lock.file() == before
    assert before.name == f"evenbench-{os.getuid()}.lock"
    assert tmp_path not in before.parents


def test_a_lock_that_cannot_be_opened_is_named_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    monkeypatch.setenv(measurement_lock.VARIABLE, str(tmp_path / "lock"))
    with (
        pytest.raises(UsageError, match=r"cannot be opened.*EVENBENCH_LOCK"),
        measurement_lock.alone(),
    ):
        pass
    assert not (tmp_path / "elsewhere").exists()
