"""Intel GPUs and NPUs of this machine, as OpenVINO's devices, read from the kernel alone."""

from __future__ import annotations

from pathlib import Path

INTEL = "0x8086"
"""The PCI vendor of Intel."""

PLACES = {"gpu": "class/drm/renderD*/device/vendor", "npu": "class/accel/accel*/device/vendor"}
"""Below /sys: the vendor files of the render nodes and of the accelerators."""

AUTO = "auto"
KINDS = (*PLACES, AUTO)


def count(kind: str, system: Path = Path("/sys")) -> int:
    """The number of Intel devices of a kind, `gpu` or `npu`, with a driver of the kernel."""
    vendors = [file.read_text().strip() for file in sorted(system.glob(PLACES[kind]))]
    return vendors.count(INTEL)


def lacks(device: str, system: Path = Path("/sys")) -> str:
    """Why an OpenVINO device is absent; empty for a present device and for other devices.

    `auto` chooses between devices, so it needs one besides the CPU.
    """
    kind, _, number = device.partition(":")
    if kind == AUTO:
        others = sum(count(other, system) for other in PLACES)
        return "" if others else "auto: this machine has only the CPU to choose; give cpu"
    if kind not in PLACES:
        return ""
    present = count(kind, system)
    if int(number or 0) < present:
        return ""
    return (
        f"{device}: the kernel shows {present} Intel {kind.upper()}s here; run this cell on a "
        "machine with the device and its driver"
    )
