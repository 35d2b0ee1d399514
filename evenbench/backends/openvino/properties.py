"""Properties of OpenVINO's compiled models: set explicitly for each cell, and read back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evenbench.harness import Cell
from evenbench.harness.core.types import FILE_PRECISIONS

GROUP_SIZE = 32
"""Activations per scale where linear layers quantise at run time: the plugin's default."""


READ_BACK = (
    "PERFORMANCE_HINT",
    "EXECUTION_MODE_HINT",
    "NUM_STREAMS",
    "OPTIMAL_NUMBER_OF_INFER_REQUESTS",
    "INFERENCE_PRECISION_HINT",
    "ENABLE_CPU_PINNING",
    "ENABLE_CPU_RESERVATION",
    "ENABLE_HYPER_THREADING",
    "SCHEDULING_CORE_TYPE",
    "DYNAMIC_QUANTIZATION_GROUP_SIZE",
    "KV_CACHE_PRECISION",
)


def requested_properties(cell: Cell) -> dict[str, Any]:
    """Return the cell's properties except for the precision (`precision_hint_of`)."""
    throughput = cell.option.get("hint", "latency") == "throughput"
    streams = cell.option.get("streams", "auto" if throughput else 1)
    # No other runtime here pins threads to cores.
    properties: dict[str, Any] = {
        "PERFORMANCE_HINT": "THROUGHPUT" if throughput else "LATENCY",
        "INFERENCE_NUM_THREADS": cell.threads,
        "CPU_DENORMALS_OPTIMIZATION": False,
        "ENABLE_CPU_PINNING": False,
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": GROUP_SIZE if cell.precision == "int8-dynamic" else 0,
        "KV_CACHE_PRECISION": "f32" if cell.precision in ("fp32", *FILE_PRECISIONS) else "f16",
    }
    return properties if streams == "auto" else {**properties, "NUM_STREAMS": int(streams)}


def device_of(requested: str, executed: Sequence[str]) -> str:
    """Return the device that executes, in the form of a cell's: `gpu.1` is `gpu:1`.

    `auto` is used if it chose a device other than the CPU.
    """
    names = [name.strip("()").lower().replace(".", ":") for name in executed]
    if requested == "auto":
        return "auto" if any(not name.startswith("cpu") for name in names) else "cpu"
    return ",".join(requested if name == f"{requested}:0" else name for name in names)


def precision_hint_of(precision: str) -> tuple[str, str]:
    """Return a precision's device capability, and the hint to select the precision."""
    return {"bf16": ("BF16", "bf16"), "fp16": ("FP16", "f16")}.get(precision, ("FP32", "f32"))


def supported_properties(cell: Cell, core: Any, device: str) -> dict[str, Any]:
    properties = requested_properties(cell)
    if cell.option.get("precision_hint", "asked") == "asked":
        properties["INFERENCE_PRECISION_HINT"] = precision_hint(
            cell.precision, core.get_property(device, "OPTIMIZATION_CAPABILITIES")
        )
    supported = set(core.get_property(device, "SUPPORTED_PROPERTIES"))
    return {
        name: value
        for name, value in properties.items()
        if name in supported or name == "CPU_DENORMALS_OPTIMIZATION"
    }


def precision_hint(precision: str, capabilities: Sequence[str]) -> str:
    """Return the plugin's hint; f32 without the capability, as fp16 would become bf16."""
    capability, hint = precision_hint_of(precision)
    return hint if capability in capabilities else "f32"


def as_json(value: Any) -> Any:
    """Return a property as JSON: types and enumerations by name."""
    if isinstance(value, (bool, int, float, str)):
        return value
    return value.to_string() if hasattr(value, "to_string") else str(value).rpartition(".")[2]
