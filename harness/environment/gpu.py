"""NVIDIA devices as their driver tells of them: what they are, and how they fare while laps are
timed.

All of it is asked of NVML through `nvidia-ml-py`, which imports no runtime and takes nothing from
the device. A device is called as a cell calls it: `cuda` or `cuda:1`, counted in the order of the
PCI bus among those that `CUDA_VISIBLE_DEVICES` leaves.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

KIND = "cuda"

VISIBLE = "CUDA_VISIBLE_DEVICES"

ORDER: Mapping[str, str] = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
"""Makes CUDA count devices as NVML does; CUDA's own default is the fastest one first."""

SLOWED: Mapping[str, str] = {
    "SwPowerCap": "power cap",
    "SwThermalSlowdown": "temperature",
    "HwThermalSlowdown": "temperature, by hardware",
    "HwPowerBrakeSlowdown": "power brake, by hardware",
    "HwSlowdown": "slowed by hardware",
    "SyncBoost": "another device of its group",
}
"""NVML's reasons for a lower clock that disturb a measurement, and their words. An idle device, or
a clock that somebody set, does not.
"""


def is_cuda(device: str) -> bool:
    """Whether a cell's device is an NVIDIA one: `cuda` and `cuda:1` are, `cpu` is not."""
    return device.partition(":")[0] == KIND


def index(device: str) -> int:
    """The number in `cuda:1`; 0 for `cuda`."""
    return int(device.partition(":")[2] or 0)


def variables(device: str) -> Mapping[str, str]:
    """The environment that a process on `device` needs, so that its numbers mean the same to CUDA
    and to NVML.
    """
    return ORDER if is_cuda(device) else {}


def count() -> int:
    """How many NVIDIA devices are visible; 0 without a driver, or without the bindings."""
    with _driver() as nvml:
        return len(_handles(nvml)) if nvml else 0


def lacks(device: str) -> str:
    """In words, why `device` is not here; an empty string for the CPU and for a device that is."""
    if not is_cuda(device):
        return ""
    found = count()
    if index(device) < found:
        return ""
    why = absence() or f"the NVIDIA driver shows {found} devices here"
    return f"{device}: {why}; run this cell on a machine that has the device, with nvidia-ml-py installed"


def absence() -> str:
    """In words, why there is no NVIDIA device at all; an empty string where there is one."""
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
    """What `device` is; None stands for what it does not tell, and an empty dict for a device that
    is not here.
    """
    with _driver() as nvml:
        handles = _handles(nvml) if nvml else []
        return _facts(nvml, handles[index(device)]) if index(device) < len(handles) else {}


def devices() -> list[dict[str, Any]]:
    """What every visible device is."""
    with _driver() as nvml:
        return [_facts(nvml, handle) for handle in (_handles(nvml) if nvml else [])]


def readings() -> list[dict[str, Any]]:
    """How every visible device fares now."""
    with _driver() as nvml:
        return [_reading(nvml, handle) for handle in (_handles(nvml) if nvml else [])]


def total_joules(device: str) -> float | None:
    """The energy that `device` has used since its driver was loaded; None for the CPU, and for a
    device that does not tell.
    """
    if not is_cuda(device):
        return None
    with _driver() as nvml:
        handles = _handles(nvml) if nvml else []
        if index(device) >= len(handles):
            return None
        try:
            return float(nvml.nvmlDeviceGetTotalEnergyConsumption(handles[index(device)])) / 1e3
        except (
            nvml.NVMLError,
            AttributeError,
        ):  # the device does not tell, or the bindings cannot ask
            return None


class Watch:
    """Readings of a device after each block of laps. A block counts as slowed where its beginning
    or its end was.
    """

    def __init__(self, nvml: Any = None, handle: Any = None) -> None:
        self.nvml, self.handle = nvml, handle
        self.blocks: dict[str, list[dict[str, Any]]] = {}
        self.before: list[str] = _slowed(nvml, handle) if nvml else []

    def observe(self, boundary: str) -> None:
        """One reading, booked under the boundary whose block has just ended. Does nothing where
        there is no device.
        """
        if self.nvml is None:
            return
        seen = _reading(self.nvml, self.handle)
        now = seen["slowed"]
        self.blocks.setdefault(boundary, []).append(
            {**seen, "slowed": list(dict.fromkeys([*self.before, *now]))}
        )
        self.before = now

    def facts(self) -> dict[str, Any] | None:
        """The device, and its readings by boundary, one per block; None where none was watched."""
        return (
            {"device": _facts(self.nvml, self.handle), "blocks": self.blocks} if self.nvml else None
        )


@contextmanager
def watch(device: str) -> Iterator[Watch]:
    """A `Watch` over `device`; one that does nothing for the CPU, and where the driver does not
    answer.
    """
    if not is_cuda(device):
        yield Watch()
        return
    with _driver() as nvml:
        handles = _handles(nvml) if nvml else []
        yield Watch(nvml, handles[index(device)]) if index(device) < len(handles) else Watch()


@contextmanager
def _driver() -> Iterator[Any]:
    """NVML while it is open, or None where its bindings or the driver are absent."""
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
    found = (
        _asked(nvml, nvml.nvmlDeviceGetHandleByIndex, number)
        for number in range(nvml.nvmlDeviceGetCount())
    )
    everything = [
        handle for handle in found if handle is not None
    ]  # a container may know of devices that it must not use
    listed = os.environ.get(VISIBLE)
    return everything if listed is None else _listed(nvml, everything, listed)


def _listed(nvml: Any, everything: list[Any], listed: str) -> list[Any]:
    """Those of `everything`, and of its partitions, that the list names by number, by `GPU-` and
    the beginning of a UUID, or by `MIG-`.
    """
    named = {str(number): handle for number, handle in enumerate(everything)}
    identities = {
        _asked(nvml, nvml.nvmlDeviceGetUUID, handle) or "": handle for handle in everything
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
            handle = _asked(nvml, nvml.nvmlDeviceGetHandleByUUID, entry)
        if handle is None:
            break  # as CUDA does: what follows an entry that names no device is not looked at
        visible.append(handle)
    return visible


def _asked(nvml: Any, question: Callable[..., Any], *arguments: Any) -> Any:
    """NVML's answer, or None where this device or driver has none."""
    try:
        return question(*arguments)
    except nvml.NVMLError:
        return None


def _facts(nvml: Any, handle: Any) -> dict[str, Any]:
    capability = _asked(nvml, nvml.nvmlDeviceGetCudaComputeCapability, handle)
    memory = _asked(nvml, nvml.nvmlDeviceGetMemoryInfo, handle)
    limit = _asked(nvml, nvml.nvmlDeviceGetEnforcedPowerLimit, handle)
    cuda = _asked(nvml, nvml.nvmlSystemGetCudaDriverVersion)
    return {
        "name": _asked(nvml, nvml.nvmlDeviceGetName, handle),
        "uuid": _asked(nvml, nvml.nvmlDeviceGetUUID, handle),
        "capability": ".".join(map(str, capability)) if capability else None,
        "driver": _asked(nvml, nvml.nvmlSystemGetDriverVersion),
        "cuda": f"{cuda // 1000}.{cuda % 1000 // 10}" if cuda else None,
        "memory_bytes": memory.total if memory else None,
        "power_limit_watts": limit / 1000 if limit is not None else None,
        "max_sm_clock_mhz": _asked(
            nvml, nvml.nvmlDeviceGetMaxClockInfo, handle, nvml.NVML_CLOCK_SM
        ),
        "max_memory_clock_mhz": _asked(
            nvml, nvml.nvmlDeviceGetMaxClockInfo, handle, nvml.NVML_CLOCK_MEM
        ),
        "persistence": {0: "off", 1: "on"}.get(
            _asked(nvml, nvml.nvmlDeviceGetPersistenceMode, handle)
        ),
    }


def _reading(nvml: Any, handle: Any) -> dict[str, Any]:
    power = _asked(nvml, nvml.nvmlDeviceGetPowerUsage, handle)
    return {
        "sm_clock_mhz": _asked(nvml, nvml.nvmlDeviceGetClockInfo, handle, nvml.NVML_CLOCK_SM),
        "memory_clock_mhz": _asked(nvml, nvml.nvmlDeviceGetClockInfo, handle, nvml.NVML_CLOCK_MEM),
        "temperature_celsius": _asked(
            nvml, nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU
        ),
        "power_watts": power / 1000 if power is not None else None,
        "slowed": _slowed(nvml, handle),
    }


def _slowed(nvml: Any, handle: Any) -> list[str]:
    """Why the device's clock is lower than it could be, in words; empty where nothing slows it, or
    it does not tell.
    """
    bits = _asked(nvml, nvml.nvmlDeviceGetCurrentClocksEventReasons, handle)
    if bits is None:  # drivers before 535 have it under its older name only
        bits = _asked(nvml, nvml.nvmlDeviceGetCurrentClocksThrottleReasons, handle) or 0
    return [
        words
        for name, words in SLOWED.items()
        if bits & getattr(nvml, f"nvmlClocksThrottleReason{name}")
    ]
