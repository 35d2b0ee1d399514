"""A pytest session that does not go straight through: reruns, a usage error, and a killed job."""

from __future__ import annotations

import fcntl
import signal
import subprocess
import sys
import time
from pathlib import Path

from conftest import Repository, variables

MIXED = 'latency = Case(models=(TINY,), backends=("tiny", "wrong", "absent"))'

PLAIN = 'latency = Case(models=(TINY,), backends=("tiny",))'

SLEEPS = """
from dataclasses import replace
LATE = replace(TINY, inputs_from="slow.py:samples")
latency = Case(models=(LATE,), backends=("tiny",))
"""

RERUN = """
from _pytest.runner import runtestprotocol


def pytest_runtest_protocol(item, nextitem):
    reports = runtestprotocol(item, nextitem=nextitem, log=False)
    if any(report.failed for report in reports):
        item._initrequest()
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    return True
"""
"""As pytest-rerunfailures with `--reruns 1`."""


def test_a_rerun_measures_again_and_a_skip_names_the_declaration(repository: Repository) -> None:
    file = repository.write("bench_tiny.py", MIXED)
    (repository.folder / "conftest.py").write_text(RERUN)
    home = repository.folder / "home"
    ran = repository.pytest("-rs", "--evenbench-results=~/mine", HOME=str(home))
    assert "1 failed, 1 passed, 1 skipped" in ran.text, ran.text
    assert repository.processes().count("tiny-wrong-fp32-cpu-b1") == 2
    assert repository.processes().count("tiny-tiny-fp32-cpu-b1") == 1
    (line,) = (n for n, text in enumerate(file.read_text().splitlines(), 1) if "latency" in text)
    assert f"SKIPPED [1] bench_tiny.py:{line}: unavailable: absent" in ran.text
    assert len(repository.lines("home/mine")) == 3


def test_a_usage_error_is_a_single_line_and_leaves_the_run_to_be_resumed(
    repository: Repository,
) -> None:
    repository.write("bench_tiny.py", PLAIN)
    name = repository.folder / "lock"
    with name.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ran = repository.pytest(EVENBENCH_LOCK=str(name))
    assert ran.code == 1
    assert ran.text.count("is measuring on this machine") == 1, ran.text
    assert "During handling" not in ran.text
    assert "no outcome was written" in ran.text
    assert "the same command resumes the run" in ran.text
    assert list((repository.folder / "results" / ".unfinished").iterdir())


def test_a_terminated_session_leaves_no_folder_and_says_how_to_go_on(
    repository: Repository,
) -> None:
    repository.write("bench_tiny.py", SLEEPS)
    begun, scratch = repository.folder / "begun", repository.folder / "tmp"
    scratch.mkdir()
    (repository.folder / "slow.py").write_text(
        f"import pathlib, time\npathlib.Path({str(begun)!r}).touch()\ntime.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"],
        cwd=repository.folder,
        env=variables(repository.folder) | {"TMPDIR": str(scratch)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        _wait_for(begun)
        process.send_signal(signal.SIGTERM)
        text, _ = process.communicate(timeout=60)
    assert process.returncode == 2, text
    assert "the same command resumes the run" in text
    assert "fixture was not used" not in text
    assert [folder.name for folder in scratch.iterdir() if folder.is_dir()] == []


def _wait_for(file: Path) -> None:
    deadline = time.monotonic() + 60
    while not file.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
