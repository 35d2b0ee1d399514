"""The doctor's findings: faults are named with advice, and what is fine is shown without."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from evenbench.harness import cli
from evenbench.harness.commands import doctor
from evenbench.harness.core import registry


def test_every_registered_backend_is_listed_without_importing_a_runtime() -> None:
    script = (
        "import sys; from harness.commands import doctor; found = doctor.backends(); "
        "print(*sorted({'torch', 'onnx', 'onnxruntime', 'openvino', 'numpy'} & set(sys.modules)), "
        "file=sys.stderr); "
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


def test_the_verdict_comes_first() -> None:
    runtimes = [
        {"name": name, "role": role, "status": status, "runs": "networks"}
        for name, role, status in (
            ("ort", "runtime", "here"),
            ("tvm", "runtime", "missing"),
            ("null", "control", "here"),
        )
    ]
    calm = {"machine": [{"what": "turbo", "severity": "note"}], "backends": runtimes}
    assert doctor.verdict(calm) == [
        "Nothing disturbs measurements on this machine",
        "1 of 2\N{NO-BREAK SPACE}runtimes ready",
    ]
    busy = [{"what": what, "severity": "warning"} for what in ("load average", "busy")]
    assert doctor.verdict(calm | {"machine": busy})[0] == (
        "2\N{NO-BREAK SPACE}things disturb measurements on this machine: load average and busy"
    )


def test_a_runtime_without_its_device_or_environment_is_not_called_ready(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(doctor.env, "known", lambda: [])
    monkeypatch.setattr(type(registry.find("tensorrt-rtx")), "missing", lambda self: ())
    monkeypatch.setattr(doctor.gpu, "count", lambda: 0)
    states = {entry["name"]: entry for entry in doctor.backends()}
    assert states["tensorrt-rtx"]["status"] == "limited"
    assert "run this cell on a machine with the device" in states["tensorrt-rtx"]["lacks"]
    assert states["ort-openvino"]["status"] == "limited"
    assert "is not built" in states["ort-openvino"]["lacks"]
    assert states["torch-eager"]["lacks"] == ""


def test_steps_and_controls_are_apart_from_runtimes() -> None:
    parts = doctor._by_use(doctor.backends())
    assert "ort" in [entry["name"] for entry in parts["runtimes"]]
    steps = parts["libraries for the steps around a network"]
    assert {entry["name"].partition("-")[0] for entry in steps} == {"steps"}
    shown = [entry["name"] for part in parts.values() for entry in part]
    assert not [name for name in shown if name.startswith("negative-")]


def test_the_command_shows_all_of_it_and_exits_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor"]) == 0
    shown = capsys.readouterr().out
    for word in (
        "runtimes",
        "instructions",
        "torch-eager",
        "machine",
        "load average",
        "clock floor",
        "cache",
    ):
        assert word in shown
    assert cli.main(["doctor", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {
        "backends",
        "environments",
        "machine",
        "clock",
        "cache",
    }
