"""OpenVINO's other devices: absent here, present where the kernel shows them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from evenbench.backends.openvino.properties import device_of
from evenbench.harness.collection import availability
from evenbench.harness.core import registry
from evenbench.harness.core.cases import Entry
from evenbench.harness.environment import gpu, intel_devices
from tests.unit.builders import cell


def machine(folder: Path, *devices: str) -> Path:
    for device in devices:
        file = folder / "class" / device / "device" / "vendor"
        file.parent.mkdir(parents=True)
        file.write_text("0x8086\n")
    other = folder / "class" / "drm" / "renderD200" / "device" / "vendor"
    other.parent.mkdir(parents=True)
    other.write_text("0x10de\n")
    return folder


def test_devices_are_counted_by_kind_and_vendor(tmp_path: Path) -> None:
    system = machine(tmp_path, "drm/renderD128", "drm/renderD129", "accel/accel0")
    assert (intel_devices.count("gpu", system), intel_devices.count("npu", system)) == (2, 1)
    for device in ("gpu", "gpu:1", "npu", "auto", "cpu"):
        assert intel_devices.lacks(device, system) == ""
    assert "gpu:2: the kernel shows 2 Intel GPUs here" in intel_devices.lacks("gpu:2", system)


def test_without_a_device_the_reason_says_what_is_missing(tmp_path: Path) -> None:
    system = machine(tmp_path)
    assert "gpu: the kernel shows 0 Intel GPUs here" in intel_devices.lacks("gpu", system)
    assert "npu: the kernel shows 0 Intel NPUs here" in intel_devices.lacks("npu", system)
    assert "this machine has only the CPU to choose" in intel_devices.lacks("auto", system)


@pytest.mark.parametrize("device", ["gpu", "npu", "auto"])
def test_an_absent_device_is_unavailable_and_not_unsupported(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intel_devices, "count", lambda kind, system=None: 0)
    part = replace(cell("openvino"), device=device)
    assert registry.find("openvino").supports(part) == ""
    (prospect,) = availability.prospects([Entry(part)])
    assert prospect["unsupported"] == ""
    assert availability.prospect_note(prospect).startswith("unavailable: ")
    assert gpu.lacks(device).startswith(device)


@pytest.mark.parametrize(
    ("requested", "executed", "used"),
    [
        ("cpu", ["CPU"], "cpu"),
        ("gpu", ["GPU.0"], "gpu"),
        ("gpu:1", ["GPU.1"], "gpu:1"),
        ("gpu", ["CPU"], "cpu"),
        ("auto", ["(CPU)"], "cpu"),
        ("auto", ["GPU.0"], "auto"),
    ],
)
def test_the_executing_device_is_named_as_in_a_cell(
    requested: str, executed: list[str], used: str
) -> None:
    assert device_of(requested, executed) == used
