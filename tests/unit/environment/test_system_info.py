"""Facts about the machine are read, not guessed, and a worker's variables are explicit."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from evenbench.harness.environment import cpu, system_info


def test_a_workers_threads_and_waiting_are_explicit_and_the_rest_is_the_callers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    monkeypatch.setenv("MY_OWN", "kept")
    made = system_info.for_worker(3, {})
    assert {name: made[name] for name in system_info.THREAD_VARIABLES} == dict.fromkeys(
        system_info.THREAD_VARIABLES, "3"
    )
    assert not system_info.PASSIVE.keys() & made.keys(), (
        "the waiting policy is the runtime's own, whatever the caller's shell has"
    )
    assert made["MY_OWN"] == "kept"
    assert os.environ["OMP_NUM_THREADS"] == "64", "the parent's own environment was changed"


def test_a_shell_cannot_overrule_the_cells_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(system_info.TF32_OVERRIDE, "1")
    assert system_info.TF32_OVERRIDE not in system_info.for_worker(1, {})
    assert (
        system_info.for_worker(1, {system_info.TF32_OVERRIDE: "0"})[system_info.TF32_OVERRIDE]
        == "0"
    ), "a backend may set it"


def test_a_backends_variables_come_last() -> None:
    made = system_info.for_worker(3, {"OMP_NUM_THREADS": "1", "RUNTIME_FLAG": "x"})
    assert (made["OMP_NUM_THREADS"], made["MKL_NUM_THREADS"], made["RUNTIME_FLAG"]) == (
        "1",
        "3",
        "x",
    )


def test_relevant_variables_are_those_that_change_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_SCHEDULE", "CUDA_VISIBLE_DEVICES", "SECRET_TOKEN"):
        monkeypatch.setenv(name, "value")
    found = system_info.relevant_variables()
    assert {"OMP_SCHEDULE", "CUDA_VISIBLE_DEVICES"} <= set(found)
    assert not {"SECRET_TOKEN", "PATH", "HOME"} & set(found)
    assert list(found) == sorted(found)


def test_the_description_holds_what_comparability_needs() -> None:
    found = system_info.describe()
    assert found["python"] == platform.python_version()
    assert found["cores"] == cpu.cores() >= 1
    assert found["cpu"]
    assert set(found["cpu_flags"]) <= set(system_info.FLAGS)
    assert found["memory_bytes"] > 2**28
    assert found["packages"]["numpy"] == metadata.version("numpy")


def test_packages_are_versions_and_absent_ones_are_left_out() -> None:
    found = system_info.packages(("pytest", "no-such-distribution"))
    assert found["pytest"] == metadata.version("pytest")
    assert "no-such-distribution" not in found
    assert list(found) == sorted(found)


def test_the_commit_is_that_of_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert system_info._commit() == ""
    said = {"cwd": tmp_path, "check": True, "capture_output": True, "text": True}
    subprocess.run(["git", "init", "-q"], **said)  # type: ignore[call-overload]
    identity = ["-c", "user.name=x", "-c", "user.email=x@x"]
    subprocess.run(["git", *identity, "commit", "-q", "--allow-empty", "-m", "x"], **said)  # type: ignore[call-overload]
    wanted = subprocess.run(["git", "rev-parse", "HEAD"], **said).stdout.strip()  # type: ignore[call-overload]
    assert system_info._commit() == wanted
    assert len(wanted) == 40


def test_under_asv_the_commit_is_the_one_that_asv_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """asv runs benchmarks in a scratch folder, where git knows nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.setenv("ASV_COMMIT", "c" * 40)
    monkeypatch.delenv("ASV", raising=False)
    assert system_info._commit() == "", "somebody else's variable"
    monkeypatch.setenv("ASV", "true")
    assert system_info._commit() == "c" * 40
    monkeypatch.delenv("ASV_COMMIT")
    monkeypatch.setenv("ASV_CONF_DIR", str(Path(__file__).parent))
    told = subprocess.run(
        ["git", "rev-parse", "HEAD"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert system_info._commit() == told.stdout.strip(), (
        "an environment that was there already, of the project's folder"
    )


def test_peak_memory_is_a_peak_in_bytes() -> None:
    code = """
from harness.environment import system_info
before = system_info.peak_rss_bytes()
filled = bytearray(b"x" * 60_000_000)
del filled
print(before, system_info.peak_rss_bytes())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert 50_000_000 < after - before < 200_000_000


def test_peak_memory_without_proc_is_getrusages(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = system_info.peak_rss_bytes()
    monkeypatch.setattr(system_info, "_read", lambda path: "")
    assert system_info.peak_rss_bytes() == pytest.approx(wanted, rel=0.2)


def test_load_reads_the_pressure_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        "some avg10=3.25 avg60=1.00 avg300=0.00 total=1\n"
        "full avg10=9.00 avg60=0.00 avg300=0.00 total=0"
    )
    monkeypatch.setattr(system_info, "_read", lambda path: text)
    assert system_info.load()["cpu_pressure_percent"] == 3.25
    monkeypatch.setattr(system_info, "_read", lambda path: "")
    assert system_info.load()["cpu_pressure_percent"] is None
    assert system_info.load()["load_average"] >= 0
