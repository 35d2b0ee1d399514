"""ONNX Runtime's execution providers: devices, wheels, availability and options.

Imports no ONNX Runtime: availability is read from the package's folder and the installed wheels.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from evenbench.harness import Cell
from evenbench.harness.environment import gpu, system_info

CPU = "CPUExecutionProvider"

CONV_SEARCHES = ("exhaustive", "heuristic", "default")
"""cuDNN's searches for a convolution algorithm, run for each new shape."""


@dataclass(frozen=True)
class Provider:
    """One execution provider.

    `device` is the kind of device in a cell, and `memory` the location of the tensors. `library` is
    the stem of the provider's shared library in a wheel, and empty for a provider linked into ONNX
    Runtime. `wheels` contain the provider, on `platform` if given; `environment` is the evenbench
    environment with the first wheel.
    """

    name: str
    device: str = "cpu"
    memory: str = "cpu"
    library: str = ""
    wheels: tuple[str, ...] = ()
    platform: str = ""
    environment: str = ""
    compiles: bool = False
    """True if the provider compiles subgraphs into its own nodes: the graph cannot be saved then.
    """


PROVIDERS: Mapping[str, Provider] = {
    "cpu": Provider(CPU),
    "openvino": Provider(
        "OpenVINOExecutionProvider",
        library="openvino",
        wheels=("onnxruntime-openvino",),
        environment="openvino",
        compiles=True,
    ),
    "xnnpack": Provider("XnnpackExecutionProvider"),
    "dnnl": Provider("DnnlExecutionProvider", library="dnnl", compiles=True),
    "acl": Provider("ACLExecutionProvider", platform="linux"),
    "cuda": Provider(
        "CUDAExecutionProvider", "cuda", "cuda", "cuda", ("onnxruntime-gpu",), environment="gpu"
    ),
    "tensorrt": Provider(
        "TensorrtExecutionProvider",
        "cuda",
        "cuda",
        "tensorrt",
        ("onnxruntime-gpu",),
        environment="gpu",
        compiles=True,
    ),
    "coreml": Provider(
        "CoreMLExecutionProvider",
        "coreml",
        wheels=("onnxruntime",),
        platform="darwin",
        compiles=True,
    ),
    "dml": Provider(
        "DmlExecutionProvider", "dml", "dml", wheels=("onnxruntime-directml",), platform="win32"
    ),
    "qnn": Provider(
        "QNNExecutionProvider", "qnn", library="qnn", wheels=("onnxruntime-qnn",), compiles=True
    ),
    "migraphx": Provider(
        "MIGraphXExecutionProvider",
        "migraphx",
        library="migraphx",
        wheels=("onnxruntime-migraphx",),
        compiles=True,
    ),
    "vitisai": Provider(
        "VitisAIExecutionProvider",
        "vitisai",
        library="vitisai",
        wheels=("onnxruntime-vitisai",),
        compiles=True,
    ),
    "webgpu": Provider("WebGpuExecutionProvider", "webgpu"),
}
"""Providers by the value of the option `provider`; the first for a device is the default."""

DEVICES = tuple(dict.fromkeys(provider.device for provider in PROVIDERS.values()))


def default_provider(device: str) -> str:
    """Return the default provider of a device."""
    kind = device.partition(":")[0]
    return next(name for name, provider in PROVIDERS.items() if provider.device == kind)


def refuses(cell: Cell, name: str) -> str:
    """Explain why the provider `name` cannot run the cell, or return an empty string."""
    if name not in PROVIDERS:
        return f"provider is one of {', '.join(PROVIDERS)}, not {name!r}"
    provider, kind = PROVIDERS[name], cell.device.partition(":")[0]
    if provider.device != kind:
        return f"provider {name} runs on device {provider.device}, not {cell.device}"
    if cell.precision == "tf32" and kind != gpu.KIND:
        return "tf32 is arithmetic of NVIDIA GPUs; use device cuda"
    if name == "openvino" and cell.precision != "fp32":
        return (
            "the OpenVINO provider doesn't report the precision of its subgraphs, so "
            f"{cell.precision} cannot be attested; use backend openvino"
        )
    search = cell.option.get("conv_search", CONV_SEARCHES[0])
    if search not in CONV_SEARCHES:
        return f"conv_search is {', '.join(map(repr, CONV_SEARCHES))}, not {search!r}"
    if "conv_search" in cell.option and name != "cuda":
        return f"conv_search is an option of provider cuda, not of {name}"
    return ""


def lacks(name: str) -> str:
    """Explain why the installed wheel lacks the provider, or return an empty string.

    A linked-in provider leaves no file in the folder; only loading shows whether it exists.
    """
    provider, folder = PROVIDERS[name], _library_folder()
    # A missing package is reported elsewhere.
    if provider.name == CPU or folder is None:
        return ""
    if provider.platform and provider.platform != sys.platform:
        return f"{provider.name} exists on {provider.platform} only, and this is {sys.platform}"
    present = (
        any(folder.glob(f"*onnxruntime_providers_{provider.library}.*"))
        if provider.library
        else None
    )
    known = not provider.library and provider.wheels
    if present is False or (known and not any(map(_installed, provider.wheels))):
        return missing_provider(name)
    return ""


def missing_provider(name: str) -> str:
    """Say that the installed wheel lacks the provider, and how to get it."""
    provider = PROVIDERS[name]
    installed = ", ".join(_installed_wheels()) or "onnxruntime"
    if not provider.wheels:
        return (
            f"{installed} has no {provider.name}, and no known wheel has; build ONNX Runtime "
            "with it"
        )
    environment = (
        f"; or use backend ort@{provider.environment}, in a separate environment"
        if provider.environment
        else ""
    )
    return (
        f"{installed} has no {provider.name}; install {' or '.join(provider.wheels)} in an "
        f"environment without {installed}{environment}"
    )


def _library_folder() -> Path | None:
    """Return the package's folder of libraries, or None if not installed. Imports nothing."""
    spec = importlib.util.find_spec("onnxruntime")
    return (
        Path(next(iter(spec.submodule_search_locations))) / "capi"
        if spec and spec.submodule_search_locations
        else None
    )


def _installed_wheels() -> list[str]:
    """Return the installed distributions of ONNX Runtime."""
    flavours = dict.fromkeys(
        ["onnxruntime", *(wheel for provider in PROVIDERS.values() for wheel in provider.wheels)]
    )
    return [wheel for wheel in flavours if _installed(wheel)]


def _installed(wheel: str) -> bool:
    try:
        return bool(metadata.version(wheel))
    except metadata.PackageNotFoundError:
        return False


def provider_options(cell: Cell, name: str) -> dict[str, str]:
    """Return the provider's options for a cell, with all that change a number or a precision."""
    return _OPTIONS[name](cell) if name in _OPTIONS else {}


def _openvino_options(cell: Cell) -> dict[str, str]:
    """The same properties as in the backend `openvino`: the CPU plugin has the same defaults."""
    properties = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": str(cell.threads),
        "INFERENCE_PRECISION_HINT": "f32",
        "CPU_DENORMALS_OPTIMIZATION": "NO",
        "ENABLE_CPU_PINNING": "NO",
    }
    return {"device_type": "CPU", "load_config": json.dumps({"CPU": properties})}


def _xnnpack_options(cell: Cell) -> dict[str, str]:
    return {"intra_op_num_threads": str(cell.threads)}


def _cuda_options(cell: Cell) -> dict[str, str]:
    return {
        "device_id": str(gpu.index(cell.device)),
        "use_tf32": "1" if cell.precision == "tf32" else "0",
        "cudnn_conv_algo_search": str(cell.option.get("conv_search", CONV_SEARCHES[0])).upper(),
        "cudnn_conv_use_max_workspace": "1",
        "arena_extend_strategy": "kSameAsRequested",
        "do_copy_in_default_stream": "1",
    }


def _tensorrt_options(cell: Cell) -> dict[str, str]:
    """Engines are built at load, without caches. Releases before 11 need a switch per precision."""
    allowed = {
        "fp16": "trt_fp16_enable",
        "bf16": "trt_bf16_enable",
        "int8-static": "trt_int8_enable",
    }
    switches = {switch: "1" for precision, switch in allowed.items() if precision == cell.precision}
    return {
        "device_id": str(gpu.index(cell.device)),
        "trt_engine_cache_enable": "0",
        "trt_timing_cache_enable": "0",
        **switches,
    }


_OPTIONS = {
    "openvino": _openvino_options,
    "xnnpack": _xnnpack_options,
    "cuda": _cuda_options,
    "tensorrt": _tensorrt_options,
}


def variables(cell: Cell, name: str) -> dict[str, str]:
    """Return the provider's environment variables: TensorRT's only switch for TF32 is one."""
    return (
        {system_info.TF32_OVERRIDE: "0"} if name == "tensorrt" and cell.precision != "tf32" else {}
    )


def device_used(cell: Cell, name: str, options: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the device that the session's options name, as a cell names devices."""
    provider = PROVIDERS[name]
    if provider.device != gpu.KIND:
        return provider.device
    used = int(options.get(provider.name, {}).get("device_id", 0))
    return cell.device if gpu.index(cell.device) == used else f"{gpu.KIND}:{used}"
