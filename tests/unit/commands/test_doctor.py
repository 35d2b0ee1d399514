"""The doctor's findings: what is wrong is named with its advice, what is fine is shown without one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from harness import cli
from harness.commands import doctor
from harness.core import registry, thresholds


def test_every_registered_backend_is_listed_without_importing_a_runtime() -> None:
    script = (
        "import sys; from harness.commands import doctor; found = doctor.backends(); "
        "print(*sorted({'torch', 'onnx', 'onnxruntime', 'openvino', 'numpy'} & set(sys.modules)), file=sys.stderr); "
        "print(*[backend['name'] for backend in found])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stderr.split() == []
    assert done.stdout.split() == list(registry.rows())


def test_what_is_missing_comes_with_its_install_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(registry.find("ort")), "missing", lambda self: ("onnxruntime",))
    (found,) = [backend for backend in doctor.backends() if backend["name"] == "ort"]
    assert (found["status"], found["missing"], found["hint"]) == (
        "missing",
        ["onnxruntime"],
        "pip install 'evenbench[ort]'",
    )


@pytest.mark.parametrize(
    ("finding", "severity"),
    [
        (doctor._governor("performance"), "fine"),
        (doctor._governor("powersave"), "warning"),
        (doctor._governor(""), "fine"),
        (doctor._turbo("0", ""), "note"),
        (doctor._turbo("1", ""), "fine"),
        (doctor._turbo("", "1"), "note"),
        (doctor._turbo("", "0"), "fine"),
        (doctor._smt("1"), "note"),
        (doctor._smt("0"), "fine"),
        (doctor._steal(0.02, cores=2), "warning"),
        (doctor._steal(0.0, cores=2), "fine"),
        (doctor._steal(None, cores=2), "fine"),
        (doctor._quota(1.5), "warning"),
        (doctor._quota(0.0), "fine"),
    ],
)
def test_a_finding_has_advice_exactly_where_something_disturbs(
    finding: doctor.Finding, severity: str
) -> None:
    assert finding.severity == severity
    assert bool(finding.advice) == (severity != "fine")


def test_load_and_pressure() -> None:
    busy = list(doctor._pressure({"load_average": 3.0, "cpu_pressure_percent": 12.0}, cores=2))
    idle = list(doctor._pressure({"load_average": 0.1, "cpu_pressure_percent": None}, cores=2))
    assert [finding.severity for finding in busy] == ["warning", "warning"]
    assert [finding.severity for finding in idle] == ["fine"]


@pytest.mark.parametrize("cores", [1, 4, 64])
def test_steal_is_judged_in_cores_as_a_run_is(cores: int) -> None:
    """The mean over all cores hides a core's loss on a large machine."""
    limit = thresholds.STEAL_CORES / cores
    assert doctor._steal(0.9 * limit, cores).severity == "fine"
    assert doctor._steal(1.1 * limit, cores).severity == "warning"


def test_pressure_has_the_limit_of_a_run() -> None:
    def severity(percent: float) -> str:
        load = {"load_average": 0.0, "cpu_pressure_percent": percent}
        return list(doctor._pressure(load, cores=2))[1].severity

    assert severity(thresholds.PRESSURE_PERCENT) == "fine"
    assert severity(thresholds.PRESSURE_PERCENT + 0.1) == "warning"


def test_memory_and_swap(monkeypatch: pytest.MonkeyPatch) -> None:
    gib = 2**30
    total = SimpleNamespace(total=8 * gib, available=gib)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: total)
    monkeypatch.setattr(psutil, "swap_memory", lambda: SimpleNamespace(used=gib))
    assert [finding.severity for finding in doctor._memory()] == ["warning", "note"]


def test_a_busy_process_is_named() -> None:
    burning = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        assert f"pid {burning.pid}" in doctor._busy().seen
    finally:
        burning.kill()
        burning.wait()


def test_the_clock_floor_is_a_few_reads_of_the_clock() -> None:
    floor = doctor.clock_floor()
    assert 0 <= floor["minimum_ns"] <= floor["median_ns"] < 100_000


def test_the_cache_is_measured_and_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENBENCH_CACHE", str(tmp_path / "cache"))
    assert (doctor.cache()["bytes"], doctor.cache()["writable"]) == (0, True)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "file").write_bytes(b"12345")
    assert doctor.cache()["bytes"] == 5
    monkeypatch.setenv("EVENBENCH_CACHE", str(tmp_path / "cache" / "file" / "below"))
    assert doctor.cache()["writable"] is False
    assert "EVENBENCH_CACHE" in doctor.cache()["advice"]


def test_other_environments_are_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EVENBENCH_PYTHON_OLD", sys.executable)
    monkeypatch.setenv("EVENBENCH_PYTHON_GONE", "/no/such/python")
    states = {item["from"]: item["state"] for item in doctor.examine()["environments"]}
    assert states["EVENBENCH_PYTHON_OLD"] == "given"
    assert states["EVENBENCH_PYTHON_GONE"] == "has no such Python"
    assert cli.main(["doctor"]) == 0
    shown = capsys.readouterr().out
    assert "has no such Python (EVENBENCH_PYTHON_GONE): /no/such/python" in shown
    assert "correct EVENBENCH_PYTHON_GONE" in shown


def test_the_command_shows_all_of_it_and_exits_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor"]) == 0
    shown = capsys.readouterr().out
    for word in ("backends", "torch-eager", "machine", "load average", "clock floor", "cache"):
        assert word in shown
    assert cli.main(["doctor", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {
        "backends",
        "environments",
        "machine",
        "clock",
        "cache",
    }
