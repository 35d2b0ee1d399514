"""What a TensorRT plan says of itself: by its engine's inspector, or where it cannot be loaded by
its header and what lies beside it.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from backends import flops
from backends.tensorrt import builder
from harness import UsageError

MODULES = {b"vtrt": "tensorrt_rtx", b"ftrt": "tensorrt", b"ptrt": "tensorrt"}
"""What plans begin with, and the module that builds and loads them."""

DTYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "BF16": "bfloat16",
    "INT8": "int8",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
}


def describe(file: Path) -> dict[str, Any]:
    """Facts about a plan. Raises UsageError where it is truncated or damaged."""
    plan = file.read_bytes()
    module = MODULES[plan[:4]]
    if len(plan) < 32:
        raise UsageError(
            f"{file} is a truncated TensorRT plan of {len(plan)} bytes; copy or build it again"
        )
    version = ".".join(map(str, plan[24:28]))
    engine, why = _load_engine(file, module, plan)
    layers = builder.layers_of_plan(importlib.import_module(module), plan) if engine else []
    built = _recorded_build(file, plan)
    summary = layers.summary(layers) if layers else {}
    found = summary or {
        name: built[name]
        for name in ("layers", "precisions", "reformats", "tf32_tactics")
        if name in built
    }
    notes = [f"the engine is not loaded here: {why}"] if why else []
    if not layers and found:
        notes.append(f"layers are those that {builder.FACTS} beside it recorded when it was built")
    return {
        "format": f"TensorRT plan ({module})",
        "bytes": len(plan),
        "external_data": [],
        "made_by": f"{module} {version}",
        "opset": {},
        "metadata": {key: str(value) for key, value in _recorded_order(file, built).items()},
        "inputs": _tensors(engine, module, "INPUT") if engine else [],
        "outputs": _tensors(engine, module, "OUTPUT") if engine else [],
        "parameters": {"count": None, "bytes": None, "by_dtype": {}},
        "flops": flops.not_counted(
            "a plan holds kernels that were chosen for a device; count in the ONNX file that it was built from"
        ),
        "operators": dict(Counter(layer.kind for layer in layers).most_common()),
        "computes_in": layers.precision_used({"tf32_tactics": 0, **found}, bool(built.get("tf32")))
        if found
        else "",
        "precision_changes": [],
        "details": found,
        "notes": notes,
    }


def _load_engine(file: Path, module: str, plan: bytes) -> tuple[Any, str]:
    """The engine, or None and why not in words. Raises UsageError where the plan is not whole,
    which is known without a device.
    """
    if importlib.util.find_spec(module) is None:
        return (
            None,
            f"{module} is not installed; pip install 'evenbench[{module.replace('_', '-')}]'",
        )
    trt = importlib.import_module(module)
    log = builder.BuildLog()
    engine = trt.Runtime(builder.make_logger(trt, log)).deserialize_cuda_engine(plan)
    wrong = [message for severity, message in log.said if severity in ("ERROR", "INTERNAL_ERROR")]
    if engine is None and any("Serialization" in message for message in wrong):
        reason = next(message for message in wrong if "Serialization" in message)
        raise UsageError(
            f"{file} is a truncated or damaged TensorRT plan, or one of another release than {trt.__version__}: {reason}"
        )
    return engine, "" if engine else log.errors()


def _recorded_build(file: Path, plan: bytes) -> Mapping[str, Any]:
    """What was recorded of this very plan when evenbench built it, or nothing."""
    try:
        made = json.loads((file.parent / builder.FACTS).read_text())
    except (OSError, ValueError):
        return {}
    sha256 = hashlib.sha256(plan).hexdigest()
    return next((build for build in made.get("builds", ()) if build.get("sha256") == sha256), {})


def _recorded_order(file: Path, built: Mapping[str, Any]) -> dict[str, Any]:
    """For which device and with what it was built, as recorded beside it."""
    if not built:
        return {}
    made = json.loads((file.parent / builder.FACTS).read_text())
    return {
        name: made[name]
        for name in ("runtime", "version", "target", "tf32", "timing_cache")
        if name in made
    }


def _tensors(engine: Any, module: str, mode: str) -> list[dict[str, Any]]:
    trt = importlib.import_module(module)
    names: Sequence[str] = [
        engine.get_tensor_name(number) for number in range(engine.num_io_tensors)
    ]
    chosen = [
        name for name in names if engine.get_tensor_mode(name) == getattr(trt.TensorIOMode, mode)
    ]
    return [
        {
            "name": name,
            "dtype": DTYPES.get(
                str(engine.get_tensor_dtype(name)).rpartition(".")[2],
                str(engine.get_tensor_dtype(name)),
            ),
            "shape": list(engine.get_tensor_shape(name)),
        }
        for name in chosen
    ]
