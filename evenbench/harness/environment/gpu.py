"""NVIDIA devices: facts, and readings of clocks, temperature and power between laps.

All values come from NVML through `nvidia-ml-py`, without a runtime and without load on the device.
Cells name devices `cuda` or `cuda:1`, numbered in PCI bus order among the devices allowed by
`CUDA_VISIBLE_DEVICES`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from evenbench.harness.environment import intel_devices

KIND = "cuda"

VISIBLE = "CUDA_VISIBLE_DEVICES"

ORDER: Mapping[str, str] = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
"""Makes CUDA number devices as NVML does. CUDA's default puts the fastest device first."""

SLOWED: Mapping[str, str] = {
    "SwPowerCap": "power cap",
    "SwThermalSlowdown": "temperature",
    "HwThermalSlowdown": "temperature, by hardware",
    "HwPowerBrakeSlowdown": "power brake, by hardware",
    "HwSlowdown": "slowed by hardware",
    "SyncBoost": "another device of its group",
}
"""NVML's reasons for lower clocks that disturb a measurement, with labels.

An idle device and a clock set by the user are no disturbance.
"""


def is_cuda(device: str) -> bool:
    """Whether a cell's device is NVIDIA's: true for `cuda` and `cuda:1`, false for `cpu`."""
    return device.partition(":")[0] == KIND


def index(device: str) -> int:
    """The number in `cuda:1`; 0 for `cuda`."""
    return int(device.partition(":")[2] or 0)


def variables(device: str) -> Mapping[str, str]:
    """Environment variables of a process on `device`, for equal numbering in CUDA and NVML."""
    return ORDER if is_cuda(device) else {}


def count() -> int:
    """The number of visible NVIDIA devices; 0 without a driver, or without the bindings."""
    with _driver() as nvml:
        return len(_handles(nvml)) if nvml else 0


def lacks(device: str) -> str:
    """The reason `device` is absent, as text; empty for the CPU and for a present device."""
    if not is_cuda(device):
        return intel_devices.lacks(device)
    visible = count()
    if index(device) < visible:
        return ""
    why = absence() or f"the NVIDIA driver shows {visible} devices here"
    return f"{device}: {why}; run this cell on a machine with the device and nvidia-ml-py"


def absence() -> str:
    """The reason no NVIDIA device is present, as text; empty with at least one device."""
    try:
        import pynvml
    except ModuleNotFoundError:
        return "nvidia-ml-py is not installed"
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return f"no NVIDIA driver answers ({error})"
    try:
        return "" if _handles(pynvml) else "the NVIDIA driver shows 0 devices here"
    finally:
        pynvml.nvmlShutdown()


def describe(device: str) -> dict[str, Any]:
    """Facts about `device`, None for values unknown to the driver; empty for an absent device."""
    with _opened(device) as (nvml, handle):
        return _facts(nvml, handle) if nvml else {}


def devices() -> list[dict[str, Any]]:
    """Facts about every visible device."""
    with _driver() as nvml:
        return [_facts(nvml, handle) for handle in (_handles(nvml) if nvml else [])]


def readings() -> list[dict[str, Any]]:
    """The current state of every visible device."""
    with _driver() as nvml:
        return [_reading(nvml, handle) for handle in (_handles(nvml) if nvml else [])]


def total_joules(device: str) -> float | None:
    """Energy used by `device` since loading the driver; None for the CPU and without counters."""
    if not is_cuda(device):
        return None
    with _opened(device) as (nvml, handle):
        if not nvml:
            return None
        try:
            return float(nvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1e3
        except (nvml.NVMLError, AttributeError):  # unsupported by the device or by the bindings
            return None


def memory_bytes(device: str) -> tuple[int, int] | None:
    """Free and total memory of `device`; None for the CPU, and if unknown to the driver."""
    if not is_cuda(device):
        return None
    with _opened(device) as (nvml, handle):
        memory = _query(nvml, nvml.nvmlDeviceGetMemoryInfo, handle) if nvml else None
    return (int(memory.free), int(memory.total)) if memory else None


class Watch:
    """Readings of a device after each block of laps. A block is slowed if its start or end is."""

    def __init__(self, nvml: Any = None, handle: Any = None) -> None:
        self.nvml, self.handle = nvml, handle
        self.blocks: dict[str, list[dict[str, Any]]] = {}
        self.before: list[str] = _slowed(nvml, handle) if nvml else []

    def observe(self, boundary: str) -> None:
        """Take one reading for the boundary of the last block. Does nothing without a device."""
        if self.nvml is None:
            return
        reading = _reading(self.nvml, self.handle)
        now = reading["slowed"]
        self.blocks.setdefault(boundary, []).append(
            {**reading, "slowed": list(dict.fromkeys([*self.before, *now]))}
        )
        self.before = now

    def facts(self) -> dict[str, Any] | None:
        """The device, and its readings by boundary, one per block; None without a device."""
        return (
            {"device": _facts(self.nvml, self.handle), "blocks": self.blocks} if self.nvml else None
        )


@contextmanager
def watch(device: str) -> Iterator[Watch]:
    """A `Watch` over `device`; an inactive watch for the CPU, or without a driver."""
    if not is_cuda(device):
        yield Watch()
        return
    with _opened(device) as (nvml, handle):
        yield Watch(nvml, handle)


@contextmanager
def _opened(device: str) -> Iterator[tuple[Any, Any]]:
    """NVML while open and the handle of `device`; (None, None) without driver or device."""
    with _driver() as nvml:
        handles = _handles(nvml) if nvml else []
        present = index(device) < len(handles)
        yield (nvml, handles[index(device)]) if present else (None, None)


@contextmanager
def _driver() -> Iterator[Any]:
    """NVML while open, or None without bindings or driver."""
    try:
        import pynvml
    except ModuleNotFoundError:
        yield None
        return
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield None
        return
    try:
        yield pynvml
    finally:
        pynvml.nvmlShutdown()


def _handles(nvml: Any) -> list[Any]:
    """The visible devices."""
    handles = (
        _query(nvml, nvml.nvmlDeviceGetHandleByIndex, number)
        for number in range(nvml.nvmlDeviceGetCount())
    )
    # A container may list devices without permission to use them.
    everything = [handle for handle in handles if handle is not None]
    listed = os.environ.get(VISIBLE)
    return everything if listed is None else _listed(nvml, everything, listed)


def _listed(nvml: Any, everything: list[Any], listed: str) -> list[Any]:
    """Devices and partitions in the list: by number, by `GPU-` and a UUID prefix, or by `MIG-`."""
    named = {str(number): handle for number, handle in enumerate(everything)}
    identities = {
        _query(nvml, nvml.nvmlDeviceGetUUID, handle) or "": handle for handle in everything
    }
    visible = []
    for entry in (entry.strip() for entry in listed.split(",")):
        beginning = [
            handle
            for identity, handle in identities.items()
            if entry.startswith("GPU-") and identity.startswith(entry)
        ]
        handle = named.get(entry, beginning[0] if len(beginning) == 1 else None)
        if entry.startswith("MIG-"):
            handle = _query(nvml, nvml.nvmlDeviceGetHandleByUUID, entry)
        if handle is None:
            break  # like CUDA, which ignores the rest of the list after an invalid entry
        visible.append(handle)
    return visible


def _query(nvml: Any, question: Callable[..., Any], *arguments: Any) -> Any:
    """NVML's reply, or None if unsupported by device or driver."""
    try:
        return question(*arguments)
    except nvml.NVMLError:
        return None


def _facts(nvml: Any, handle: Any) -> dict[str, Any]:
    capability = _query(nvml, nvml.nvmlDeviceGetCudaComputeCapability, handle)
    memory = _query(nvml, nvml.nvmlDeviceGetMemoryInfo, handle)
    limit = _query(nvml, nvml.nvmlDeviceGetEnforcedPowerLimit, handle)
    cuda = _query(nvml, nvml.nvmlSystemGetCudaDriverVersion)
    return {
        "name": _query(nvml, nvml.nvmlDeviceGetName, handle),
        "uuid": _query(nvml, nvml.nvmlDeviceGetUUID, handle),
        "capability": ".".join(map(str, capability)) if capability else None,
        "driver": _query(nvml, nvml.nvmlSystemGetDriverVersion),
        "cuda": f"{cuda // 1000}.{cuda % 1000 // 10}" if cuda else None,
        "memory_bytes": memory.total if memory else None,
        "power_limit_watts": limit / 1000 if limit is not None else None,
        "max_sm_clock_mhz": _query(
            nvml, nvml.nvmlDeviceGetMaxClockInfo, handle, nvml.NVML_CLOCK_SM
        ),
        "max_memory_clock_mhz": _query(
            nvml, nvml.nvmlDeviceGetMaxClockInfo, handle, nvml.NVML_CLOCK_MEM
        ),
        "persistence": {0: "off", 1: "on"}.get(
            _query(nvml, nvml.nvmlDeviceGetPersistenceMode, handle)
        ),
    }


def _reading(nvml: Any, handle: Any) -> dict[str, Any]:
    power = _query(nvml, nvml.nvmlDeviceGetPowerUsage, handle)
    return {
        "sm_clock_mhz": _query(nvml, nvml.nvmlDeviceGetClockInfo, handle, nvml.NVML_CLOCK_SM),
        "memory_clock_mhz": _query(nvml, nvml.nvmlDeviceGetClockInfo, handle, nvml.NVML_CLOCK_MEM),
        "temperature_celsius": _query(
            nvml, nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU
        ),
        "power_watts": power / 1000 if power is not None else None,
        "slowed": _slowed(nvml, handle),
    }


def _slowed(nvml: Any, handle: Any) -> list[str]:
    """The reasons for lowered clocks; empty if none is known."""
    bits = _query(nvml, nvml.nvmlDeviceGetCurrentClocksEventReasons, handle)
    if bits is None:  # drivers before 535 have the older name only
        bits = _query(nvml, nvml.nvmlDeviceGetCurrentClocksThrottleReasons, handle) or 0
    return [
        words
        for name, words in SLOWED.items()
        if bits & getattr(nvml, f"nvmlClocksThrottleReason{name}")
    ]
