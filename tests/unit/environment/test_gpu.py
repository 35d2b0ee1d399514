"""What NVML tells, against a driver that is played: which device is meant, what it is, and when its
laps are throttled.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import jsonschema
import pynvml
import pytest

from evenbench.harness import Cell, Session
from evenbench.harness.collection import availability
from evenbench.harness.core import artifact_store
from evenbench.harness.core.cases import Entry
from evenbench.harness.environment import gpu, machine_findings, system_info
from evenbench.harness.results import quality_warnings, records
from evenbench.harness.runner.schedule import Run
from tests.unit.builders import (
    Product,
    ProductSession,
    attestation,
    cell,
    plan,
    register,
    work_here,
)


class Driver(ModuleType):
    """A played `pynvml` with two devices, of which the second tells little. `readings` are its
    clock-event reasons, in turn.
    """

    def __init__(self, readings: tuple[int, ...] = (0,)) -> None:
        super().__init__("pynvml")
        self.NVMLError = pynvml.NVMLError
        self.NVML_CLOCK_SM, self.NVML_CLOCK_MEM, self.NVML_TEMPERATURE_GPU = 1, 2, 0
        for name in gpu.SLOWED:
            setattr(
                self,
                f"nvmlClocksThrottleReason{name}",
                getattr(pynvml, f"nvmlClocksThrottleReason{name}"),
            )
        self.readings, self.asked, self.open, self.old = readings, 0, 0, False

    def nvmlInit(self) -> None:
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:
        return 2

    def nvmlDeviceGetHandleByIndex(self, number: int) -> int:
        return number

    def nvmlDeviceGetHandleByUUID(self, identity: str) -> int:
        return self._only_the_first(identity != "MIG-cc33", 1)

    def nvmlDeviceGetName(self, handle: int) -> str:
        return ("First", "Second")[handle]

    def nvmlDeviceGetUUID(self, handle: int) -> str:
        return ("GPU-aa11", "GPU-ab22")[handle]

    def nvmlDeviceGetCudaComputeCapability(self, handle: int) -> tuple[int, int]:
        return ((8, 9), (12, 0))[handle]

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:
        return SimpleNamespace(total=24 * 2**30, free=9 * 2**30)

    def nvmlSystemGetDriverVersion(self) -> str:
        return "580.1"

    def nvmlSystemGetCudaDriverVersion(self) -> int:
        return 13020

    def nvmlDeviceGetMaxClockInfo(self, handle: int, kind: int) -> int:
        return {1: 2040, 2: 6251}[kind]

    def nvmlDeviceGetClockInfo(self, handle: int, kind: int) -> int:
        return {1: 1500, 2: 6251}[kind]

    def nvmlDeviceGetTemperature(self, handle: int, sensor: int) -> int:
        return 61

    def nvmlDeviceGetPersistenceMode(self, handle: int) -> int:
        return 0

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: int) -> int:
        return self._only_the_first(handle, 72_000)

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:
        return self._only_the_first(handle, 70_500)

    def _only_the_first(self, handle: int, value: int) -> int:
        if handle:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return value

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: int) -> int:
        if self.old:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)
        return self.nvmlDeviceGetCurrentClocksThrottleReasons(handle)

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: int) -> int:
        self.asked += 1
        return self.readings[min(self.asked, len(self.readings)) - 1]


POWER, HEAT, IDLE = (
    getattr(pynvml, f"nvmlClocksThrottleReason{name}")
    for name in ("SwPowerCap", "SwThermalSlowdown", "GpuIdle")
)


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Driver]:
    """The played driver in place of the real one; it must be closed as often as it was opened."""
    played = Driver()
    monkeypatch.setitem(sys.modules, "pynvml", played)
    monkeypatch.delenv(gpu.VISIBLE, raising=False)
    system_info.describe.cache_clear()
    yield played
    system_info.describe.cache_clear()
    assert played.open == 0


def test_a_device_is_there_or_it_is_said_how_many_are(driver: Driver) -> None:
    assert (gpu.count(), gpu.lacks("cpu"), gpu.lacks("cuda"), gpu.lacks("cuda:1")) == (
        2,
        "",
        "",
        "",
    )
    assert gpu.lacks("cuda:2").startswith(
        "cuda:2: the NVIDIA driver shows 2 devices here; run this cell on a machine"
    )


def test_without_bindings_or_driver_it_is_said_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert "nvidia-ml-py is not installed" in gpu.lacks("cuda")
    assert (gpu.count(), gpu.devices(), gpu.describe("cuda")) == (0, [], {})
    without = Driver()
    monkeypatch.setattr(without, "nvmlInit", lambda: without._only_the_first(1, 0))
    monkeypatch.setitem(sys.modules, "pynvml", without)
    assert "no NVIDIA driver answers" in gpu.lacks("cuda")
    assert gpu.devices() == []


@pytest.mark.parametrize(
    ("visible", "names"),
    [
        ("1", ["Second"]),
        ("1,0", ["Second", "First"]),
        ("", []),
        ("-1", []),
        ("0,9,1", ["First"]),
        ("GPU-ab22", ["Second"]),
        ("GPU-ab", ["Second"]),
        ("GPU-a", []),
        ("MIG-cc33", ["Second"]),
        ("MIG-none,0", []),
    ],
)
def test_devices_are_counted_among_those_that_cuda_sees(
    visible: str, names: list[str], driver: Driver, monkeypatch: Any
) -> None:
    monkeypatch.setenv(gpu.VISIBLE, visible)
    assert [found["name"] for found in gpu.devices()] == names
    assert gpu.count() == len(names)


def test_a_device_that_may_not_be_used_is_not_counted(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        driver, "nvmlDeviceGetHandleByIndex", lambda number: driver._only_the_first(number, number)
    )
    assert [found["name"] for found in gpu.devices()] == ["First"]


def test_cuda_is_made_to_count_as_nvml_does() -> None:
    assert gpu.variables("cuda:1") == {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert gpu.variables("cpu") == {}


def test_what_a_device_is(driver: Driver) -> None:
    assert gpu.describe("cuda") == {
        **{
            "name": "First",
            "uuid": "GPU-aa11",
            "capability": "8.9",
            "driver": "580.1",
            "cuda": "13.2",
            "persistence": "off",
        },
        **{
            "memory_bytes": 24 * 2**30,
            "power_limit_watts": 72.0,
            "max_sm_clock_mhz": 2040,
            "max_memory_clock_mhz": 6251,
        },
    }
    assert gpu.describe("cuda:1")["power_limit_watts"] is None, (
        "what it does not tell is not made up"
    )
    assert gpu.describe("cuda:7") == {}


@pytest.mark.parametrize("old", [False, True])
def test_a_block_is_throttled_where_its_beginning_or_its_end_was(old: bool, driver: Driver) -> None:
    driver.old, driver.readings = old, (IDLE, 0, POWER, POWER | HEAT, 0, IDLE)
    with gpu.watch("cuda") as seen:
        for boundary in ("compute", "host_to_host", "compute", "host_to_host", "compute"):
            seen.observe(boundary)
        found = seen.facts()
    assert found is not None
    slowed = {
        boundary: [reading["slowed"] for reading in readings]
        for boundary, readings in found["blocks"].items()
    }
    both = ["power cap", "temperature"]
    assert slowed == {"compute": [[], both, []], "host_to_host": [["power cap"], both]}
    assert found["blocks"]["compute"][0] == {
        **{
            "sm_clock_mhz": 1500,
            "memory_clock_mhz": 6251,
            "temperature_celsius": 61,
            "power_watts": 70.5,
        },
        "slowed": [],
    }


def test_nothing_is_watched_on_the_cpu(driver: Driver) -> None:
    driver.open = -1000  # whoever opens the driver is seen below
    with gpu.watch("cpu") as seen:
        seen.observe("compute")
    assert seen.facts() is None
    assert driver.open == -1000
    driver.open = 0


class OnTheDevice(Product):
    """The numpy runtime, which claims to run on a GPU."""

    name = "claimant"
    devices = ("cuda",)

    def session(self, weights: Any, cell: Cell) -> Session:
        return ProductSession(weights, attestation(device=cell.device, threads=cell.threads))


def measured(device: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv(artifact_store.VARIABLE, str(folder / "cache"))
    register(monkeypatch, "claimant=tests.unit.environment.test_gpu:OnTheDevice")
    work_here(monkeypatch)
    entries = [Entry(cell("claimant", device=device))]
    (line,) = Run(entries, plan(processes=2), folder / "results", fresh=True).measure(entries)
    jsonschema.validate(line, records.schema())
    return dict(line)


def test_the_record_of_a_gpu_cell_has_a_reading_for_every_block(
    driver: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver.readings = (0, 0, POWER, 0)
    line = measured("cuda:1", tmp_path, monkeypatch)
    assert line["outcome"] == "ok", line["reason"]
    for process, watched in enumerate(line["gpu"]):
        assert watched["device"]["name"] == "Second"
        for boundary, blocks in line["blocks"].items():
            assert len(watched["blocks"][boundary]) == len(blocks[process])
    assert [found["name"] for found in line["environment"]["gpus"]] == ["First", "Second"]
    (warning,) = [found for found in line["warnings"] if "throttled" in found]
    assert "in 2 of" in warning, "the block that ended slowed, and the one after it"
    assert "(power cap)" in warning


def test_a_device_that_is_not_here_is_unavailable_and_one_that_nobody_has_unsupported(
    driver: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = measured("cuda:5", tmp_path, monkeypatch)
    assert (line["outcome"], line["gpu"]) == ("unavailable", [])
    assert "cuda:5: the NVIDIA driver shows 2 devices" in line["reason"]
    assert measured("cuda:x", tmp_path, monkeypatch)["outcome"] == "unsupported"


def test_the_listing_says_that_a_device_is_not_here(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch, "claimant=tests.unit.environment.test_gpu:OnTheDevice")
    entries = [Entry(cell("claimant", device=device)) for device in ("cpu", "cuda:5", "cuda:1")]
    elsewhere, absent, here = (
        availability.prospect_note(prospect) for prospect in availability.prospects(entries)
    )
    assert elsewhere.startswith("unsupported: ")
    assert absent.startswith("unavailable: cuda:5: the NVIDIA driver shows 2 devices here")
    assert here == ""


def test_a_quiet_device_deserves_no_warning() -> None:
    line = {
        "outcome": "failed",
        "stability": {},
        "blocks": {},
        "process_seconds": [],
        "warm_up": [],
    }
    reading = {"slowed": []}
    assert quality_warnings.about({**line, "gpu": [{"blocks": {"compute": [reading]}}]}) == []


def test_the_doctor_shows_each_device(driver: Driver) -> None:
    driver.readings = (HEAT, 0)
    first, second = machine_findings.gpu_findings()
    assert (first.what, first.severity) == ("GPU cuda:0", "warning")
    assert (
        first.seen
        == "First, compute 8.9, driver 580.1, 24.0 GiB, SM 1500 of 2040 MHz, 61 °C, 70.5 of 72 W"
    )
    assert "temperature" in first.advice
    assert (second.seen.partition(",")[0], second.severity) == ("Second", "note")
    assert "nvidia-smi -pm 1" in second.advice


def test_the_doctor_says_why_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    (finding,) = machine_findings.gpu_findings()
    assert (finding.what, finding.seen, finding.severity) == (
        "GPU",
        "none: nvidia-ml-py is not installed",
        "fine",
    )


def test_free_memory_is_the_driver_s(driver: Driver) -> None:
    assert gpu.memory_bytes("cuda:1") == (9 * 2**30, 24 * 2**30)
    assert gpu.memory_bytes("cuda:7") is None
    assert gpu.memory_bytes("cpu") is None
