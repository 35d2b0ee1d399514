"""What an ONNX file says of itself: tensors, parameters, operators, work, and where its precision
changes. Weights are not read.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backends import flops
from backends.onnx import precision
from backends.onnx.graph import Graph, bytes_of, described_value
from harness import UsageError

if TYPE_CHECKING:
    import onnx

FORMAT = "ONNX"


def describe(file: Path) -> dict[str, Any]:
    """Everything that the file says. Raises UsageError where it is no whole ONNX model, external
    data included.
    """
    found = Graph(read(file))
    external = external_files(found.model, file)
    model = found.model
    return {
        "format": FORMAT,
        "bytes": file.stat().st_size + sum(external.values()),
        "external_data": sorted(external),
        "made_by": f"{model.producer_name} {model.producer_version}".strip(),
        "opset": {entry.domain or "ai.onnx": entry.version for entry in model.opset_import},
        "metadata": {entry.key: entry.value for entry in model.metadata_props},
        "inputs": [described_value(value) for value in found.inputs],
        "outputs": [described_value(value) for value in model.graph.output],
        "parameters": found.parameters,
        "flops": found.flops,
        "operators": found.operators,
        "computes_in": precision.precision_of_graph(model),
        "precision_changes": found.precision_changes,
        "details": {
            "ir_version": model.ir_version,
            "functions": [function.name for function in model.functions],
        },
        "notes": found.notes(file),
    }


def recorded(model: onnx.ModelProto) -> dict[str, Any]:
    """The part of it that goes into the record of an artifact."""
    found = Graph(model)
    changes = Counter(f"{change['from']} -> {change['to']}" for change in found.precision_changes)
    return {
        "parameters": found.parameters["count"],
        "parameter_bytes": {
            dtype: entry["bytes"] for dtype, entry in found.parameters["by_dtype"].items()
        },
        "flops": found.flops["total"],
        "flops_uncounted": found.flops["uncounted"],
        "operators": found.operators,
        "computes_in": precision.precision_of_graph(model),
        "precision_changes": dict(changes),
    }


def work(model: onnx.ModelProto, batch: int) -> dict[str, Any]:
    """What one step computes and has to read (`harness.Golden.work`), with every open size of an
    input taken as `batch`.
    """
    found = Graph(model, batch)
    weights = found.weights_read
    return flops.work(found.flops, weights["count"], weights["bytes"])


def read(file: Path) -> onnx.ModelProto:
    """The file's model without its external weights. Raises UsageError where it is none, or only
    the beginning of one.
    """
    try:
        import onnx
    except ImportError as error:
        raise UsageError(
            f"{file}: reading it needs the onnx package; pip install 'evenbench[onnx]'"
        ) from error
    try:
        model = onnx.load(str(file), load_external_data=False)
    except Exception as error:  # protobuf's own error types differ between its versions
        raise UsageError(
            f"{file} is no whole ONNX model ({type(error).__name__}: {error}); export or copy it again"
        ) from error
    if not model.ir_version or not model.graph.output:
        raise UsageError(
            f"{file} is no ONNX model: it has no graph with an output; export or copy it again"
        )
    return model


def external_files(model: onnx.ModelProto, file: Path) -> dict[str, int]:
    """Size in bytes by the name of each file beside `file` that holds weights. Raises UsageError
    where one is absent or too short.
    """
    ends: dict[str, int] = {}
    for tensor in Graph(model).initializers:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        if tensor.data_location == tensor.EXTERNAL and "location" in entries:
            length = int(entries.get("length", 0)) or bytes_of(tensor)
            name = entries["location"]
            ends[name] = max(ends.get(name, 0), int(entries.get("offset", 0)) + length)
    return {name: _external_size(file, name, end) for name, end in ends.items()}


def _external_size(file: Path, name: str, needed: int) -> int:
    beside = (file.parent / name).resolve()
    if not beside.is_relative_to(file.parent.resolve()):
        raise UsageError(
            f"{file}: its weights lie in {name}, outside of its folder, where no runtime may read; export it again"
        )
    if not beside.is_file():
        raise UsageError(
            f"{file}: its weights lie in {name}, which is not there; put that file beside it"
        )
    size = beside.stat().st_size
    if size < needed:
        raise UsageError(
            f"{file}: {name} has {size} bytes, and its weights need {needed}; it is truncated, copy it again"
        )
    return size
