"""Descriptions of ONNX files: tensors, parameters, operators, work, precision changes.

The values of weights are not read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.backends import flops
from evenbench.backends.onnx import precision
from evenbench.backends.onnx.graph import Graph, bytes_of, described_value
from evenbench.harness import UsageError

if TYPE_CHECKING:
    import onnx

FORMAT = "ONNX"


def describe(file: Path) -> dict[str, Any]:
    """All facts about a file. Raises UsageError for incomplete models or missing external data."""
    graph = Graph(read(file))
    external = external_files(graph.model, file)
    model = graph.model
    return {
        "format": FORMAT,
        "bytes": file.stat().st_size + sum(external.values()),
        "external_data": sorted(external),
        "made_by": f"{model.producer_name} {model.producer_version}".strip(),
        "opset": {entry.domain or "ai.onnx": entry.version for entry in model.opset_import},
        "metadata": {entry.key: entry.value for entry in model.metadata_props},
        "inputs": [described_value(value) for value in graph.inputs],
        "outputs": [described_value(value) for value in model.graph.output],
        "parameters": graph.parameters,
        "flops": graph.flops,
        "operators": graph.operators,
        "computes_in": precision.precision_of_graph(model),
        "precision_changes": graph.precision_changes,
        "details": {
            "ir_version": model.ir_version,
            "functions": [function.name for function in model.functions],
        },
        "notes": graph.notes(file),
    }


def recorded(model: onnx.ModelProto) -> dict[str, Any]:
    """The facts for the record of an artifact."""
    graph = Graph(model)
    changes = Counter(f"{change['from']} -> {change['to']}" for change in graph.precision_changes)
    return {
        "parameters": graph.parameters["count"],
        "parameter_bytes": {
            dtype: entry["bytes"] for dtype, entry in graph.parameters["by_dtype"].items()
        },
        "flops": graph.flops["total"],
        "flops_uncounted": graph.flops["uncounted"],
        "operators": graph.operators,
        "computes_in": precision.precision_of_graph(model),
        "precision_changes": dict(changes),
    }


def work(model: onnx.ModelProto, batch: int) -> dict[str, Any]:
    """The work of a step for `harness.Golden.work`, with open sizes set to `batch`."""
    graph = Graph(model, batch)
    weights = graph.weights_read
    return flops.work(graph.flops, weights["count"], weights["bytes"])


def read(file: Path) -> onnx.ModelProto:
    """The model in a file, without external weights. Raises UsageError for incomplete models."""
    try:
        import onnx
    except ImportError as error:
        raise UsageError(
            f"{file}: reading it needs the onnx package; pip install 'evenbench[onnx]'"
        ) from error
    try:
        model = onnx.load(str(file), load_external_data=False)
    except Exception as error:  # the error types of protobuf differ between versions
        raise UsageError(
            f"{file} is not a complete ONNX model ({type(error).__name__}: {error}); "
            "export or copy it again"
        ) from error
    if not model.ir_version or not model.graph.output:
        raise UsageError(
            f"{file} is not an ONNX model: no graph with an output; export or copy it again"
        )
    return model


def external_files(model: onnx.ModelProto, file: Path) -> dict[str, int]:
    """The bytes of each file with external weights, by name.

    Raises UsageError if a file is missing or too short.
    """
    ends: dict[str, int] = {}
    for tensor in Graph(model).initializers:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        if tensor.data_location == tensor.EXTERNAL and "location" in entries:
            length = _size(file, entries, "length") or bytes_of(tensor)
            name = entries["location"]
            ends[name] = max(ends.get(name, 0), _size(file, entries, "offset") + length)
    return {name: _external_size(file, name, end) for name, end in ends.items()}


def _size(file: Path, entries: Mapping[str, str], name: str) -> int:
    text = entries.get(name, "0")
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise UsageError(
            f"{file}: the {name} of external weights is {text[:40]!r}; export it again"
        )
    return int(text)


def _external_size(file: Path, name: str, needed: int) -> int:
    beside = (file.parent / name).resolve()
    if not beside.is_relative_to(file.parent.resolve()):
        raise UsageError(
            f"{file}: the weights lie in {name}, outside the folder, where no runtime reads; "
            "export it again"
        )
    if not beside.is_file():
        raise UsageError(
            f"{file}: the weights lie in {name}, which is missing; put it beside the model"
        )
    size = beside.stat().st_size
    if size < needed:
        raise UsageError(
            f"{file}: {name} is truncated: it has {size} bytes, and the weights need {needed}; "
            "copy it again"
        )
    return size
