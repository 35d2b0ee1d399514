"""NVIDIA devices of this machine, as its driver tells of them; nothing here imports a runtime."""

from __future__ import annotations


def count() -> int:
    """How many NVIDIA devices the driver shows; 0 without a driver, or without the bindings (`nvidia-ml-py`)."""
    try:
        import pynvml
    except ModuleNotFoundError:
        return 0
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return 0
    try:
        return int(pynvml.nvmlDeviceGetCount())
    finally:
        pynvml.nvmlShutdown()


def index(device: str) -> int:
    """The number in `cuda:1`; 0 for `cuda`."""
    return int(device.partition(":")[2] or 0)


def lacks(device: str) -> str:
    """In words, why `device` is not here; an empty string for the CPU and for a device that is."""
    if device.partition(":")[0] != "cuda":
        return ""
    found = count()
    if index(device) < found:
        return ""
    return f"{device}: the NVIDIA driver shows {found} devices here; run this cell on a machine that has one, with nvidia-ml-py installed"
