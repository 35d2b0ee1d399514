"""Describes a TensorRT plan by its engine's inspector, or by its header and recorded facts."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evenbench.backends import flops
from evenbench.backends.tensorrt import builder, layers
from evenbench.harness import UsageError

MODULES = {b"vtrt": "tensorrt_rtx", b"ftrt": "tensorrt", b"ptrt": "tensorrt"}
"""Magic bytes of plans, and the Python module that builds and loads these."""

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
    """Return facts about a plan. Raises UsageError for a truncated or damaged file."""
    plan = file.read_bytes()
    module = MODULES[plan[:4]]
    if len(plan) < 32:
        raise UsageError(
            f"{file} is a truncated TensorRT plan of {len(plan)} bytes; copy or build it again"
        )
    version = ".".join(map(str, plan[24:28]))
    engine, reason = _load_engine(file, module, plan)
    listed = builder.layers_of_plan(importlib.import_module(module), plan) if engine else []
    built = _recorded_build(file, plan)
    layer_facts = (layers.summary(listed) if listed else {}) or {
        name: built[name]
        for name in ("layers", "precisions", "reformats", "tf32_tactics")
        if name in built
    }
    notes = [f"the engine cannot be loaded here: {reason}"] if reason else []
    if not listed and layer_facts:
        notes.append(f"layers are taken from {builder.FACTS}, recorded when the plan was built")
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
            "a plan holds kernels chosen for a device; inspect the ONNX file of the plan instead"
        ),
        "operators": dict(Counter(layer.kind for layer in listed).most_common()),
        "computes_in": layers.engine_precision(
            {"tf32_tactics": 0, **layer_facts}, bool(built.get("tf32"))
        )
        if layer_facts
        else "",
        "precision_changes": [],
        "details": layer_facts,
        "notes": notes,
    }


def _load_engine(file: Path, module: str, plan: bytes) -> tuple[Any, str]:
    """Return the engine, or None and the reason.

    Raises UsageError for an incomplete plan, detected without a device.
    """
    if importlib.util.find_spec(module) is None:
        return (
            None,
            f"{module} is not installed; pip install 'evenbench[{module.replace('_', '-')}]'",
        )
    trt = importlib.import_module(module)
    log = builder.BuildLog()
    engine = trt.Runtime(builder.make_logger(trt, log)).deserialize_cuda_engine(plan)
    errors = [message for severity, message in log.said if severity in ("ERROR", "INTERNAL_ERROR")]
    if engine is None and any("Serialization" in message for message in errors):
        reason = next(message for message in errors if "Serialization" in message)
        raise UsageError(
            f"{file} is a truncated or damaged TensorRT plan, or of a release other than "
            f"{trt.__version__}: {reason}"
        )
    return engine, "" if engine else log.errors()


def _recorded_build(file: Path, plan: bytes) -> Mapping[str, Any]:
    """Return the recorded facts of this very plan, or an empty mapping."""
    try:
        facts = json.loads((file.parent / builder.FACTS).read_text())
    except (OSError, ValueError):
        return {}
    sha256 = hashlib.sha256(plan).hexdigest()
    return next((build for build in facts.get("builds", ()) if build.get("sha256") == sha256), {})


def _recorded_order(file: Path, built: Mapping[str, Any]) -> dict[str, Any]:
    """Return the recorded target, version and settings of the build."""
    if not built:
        return {}
    facts = json.loads((file.parent / builder.FACTS).read_text())
    return {
        name: facts[name]
        for name in ("runtime", "version", "target", "tf32", "timing_cache")
        if name in facts
    }


def _tensors(engine: Any, module: str, mode: str) -> list[dict[str, Any]]:
    trt = importlib.import_module(module)
    names: Sequence[str] = [
        engine.get_tensor_name(number) for number in range(engine.num_io_tensors)
    ]
    selected = [
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
        for name in selected
    ]
