"""ONNX Runtime's execution providers: which device each runs on, which wheel has it, whether it is
here, and what it is told.

Nothing here imports ONNX Runtime: what is installed is seen from the package's folder and the names
of the wheels.
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

from harness import Cell
from harness.environment import gpu, system_info

CPU = "CPUExecutionProvider"

CONV_SEARCHES = ("exhaustive", "heuristic", "default")
"""How cuDNN's algorithm for a convolution is found, at each new shape."""


@dataclass(frozen=True)
class Provider:
    """One execution provider.

    `device` is the kind in a cell's device that it runs on, `memory` where its tensors lie.
    `library` is the stem of the shared library that a wheel with it contains; it is empty where the
    provider is linked into ONNX Runtime itself. `wheels` have it, on `platform` where that is
    given, and `environment` is the one of ours that installs the first of them.
    """

    name: str
    device: str = "cpu"
    memory: str = "cpu"
    library: str = ""
    wheels: tuple[str, ...] = ()
    platform: str = ""
    environment: str = ""
    compiles: bool = False
    """Whether it turns its part of the graph into nodes of its own, so that the optimised graph
    cannot be written to a file.
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
"""By the name that the option `provider` takes. The first one on a device is that device's default.
"""

DEVICES = tuple(dict.fromkeys(provider.device for provider in PROVIDERS.values()))


def default_provider(device: str) -> str:
    """The provider of a cell's device that names none."""
    kind = device.partition(":")[0]
    return next(name for name, provider in PROVIDERS.items() if provider.device == kind)


def refuses(cell: Cell, name: str) -> str:
    """An empty string, or why the provider `name` cannot run the cell, in words."""
    if name not in PROVIDERS:
        return f"provider is one of {', '.join(PROVIDERS)}, not {name!r}"
    provider, kind = PROVIDERS[name], cell.device.partition(":")[0]
    if provider.device != kind:
        return f"provider {name} runs on device {provider.device}, not {cell.device}"
    if cell.precision == "tf32" and kind != gpu.KIND:
        return "tf32 is arithmetic of NVIDIA GPUs; ask for it on device cuda"
    if name == "openvino" and cell.precision != "fp32":
        return f"the OpenVINO provider does not tell what its subgraphs run in, so {cell.precision} is not attested; backend openvino does"
    search = cell.option.get("conv_search", CONV_SEARCHES[0])
    if search not in CONV_SEARCHES:
        return f"conv_search is {', '.join(map(repr, CONV_SEARCHES))}, not {search!r}"
    if "conv_search" in cell.option and name != "cuda":
        return f"conv_search is cuDNN's, of provider cuda, and means nothing to {name}"
    return ""


def lacks(name: str) -> str:
    """In words, why the wheel that is installed has no such provider and which one has; an empty
    string where it has, or may have.

    A provider that is linked in leaves no trace in the folder: loading tells.
    """
    provider, folder = PROVIDERS[name], _library_folder()
    if provider.name == CPU or folder is None:  # that nothing is installed at all is said elsewhere
        return ""
    if provider.platform and provider.platform != sys.platform:
        return f"{provider.name} exists on {provider.platform} only, and this is {sys.platform}"
    there = (
        any(folder.glob(f"*onnxruntime_providers_{provider.library}.*"))
        if provider.library
        else None
    )
    known = not provider.library and provider.wheels
    if there is False or (known and not any(map(_installed, provider.wheels))):
        return missing_provider(name)
    return ""


def missing_provider(name: str) -> str:
    """In words, that the wheel here has no such provider, and what to do about it."""
    provider = PROVIDERS[name]
    here = ", ".join(_installed_wheels()) or "onnxruntime"
    if not provider.wheels:
        return f"{here} has no {provider.name}, and no published wheel is known to; build ONNX Runtime with it"
    how = (
        f"; name the backend ort@{provider.environment}, which has it in an environment of its own"
        if provider.environment
        else ""
    )
    return f"{here} has no {provider.name}; {' or '.join(provider.wheels)} has, in an environment without {here}{how}"


def _library_folder() -> Path | None:
    """Where the package keeps its libraries, or None where it is not installed. Finding a package
    does not import it.
    """
    spec = importlib.util.find_spec("onnxruntime")
    return (
        Path(next(iter(spec.submodule_search_locations))) / "capi"
        if spec and spec.submodule_search_locations
        else None
    )


def _installed_wheels() -> list[str]:
    """The installed distributions that are ONNX Runtime in one of its flavours."""
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
    """The provider's options for a cell, all of those whose defaults change a number or a
    precision.
    """
    return _OPTIONS[name](cell) if name in _OPTIONS else {}


def _openvino_options(cell: Cell) -> dict[str, str]:
    """The CPU plugin is told what the backend `openvino` tells it, since its defaults are the same
    traps.
    """
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
    """Engines are built at load, and nothing is cached behind our back. Precision is the file's;
    releases before 11 want it allowed.
    """
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
    """What must be in the environment before the process starts: the TensorRT provider has no other
    switch for TF32.
    """
    return (
        {system_info.TF32_OVERRIDE: "0"} if name == "tensorrt" and cell.precision != "tf32" else {}
    )


def device_used(cell: Cell, name: str, options: Mapping[str, Mapping[str, Any]]) -> str:
    """The device in the words of the cell, from the options that a session gives back."""
    provider = PROVIDERS[name]
    if provider.device != gpu.KIND:
        return provider.device
    used = int(options.get(provider.name, {}).get("device_id", 0))
    return cell.device if gpu.index(cell.device) == used else f"{gpu.KIND}:{used}"
