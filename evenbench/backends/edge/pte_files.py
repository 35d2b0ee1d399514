"""Facts in an ExecuTorch program file: delegated subgraphs, kernels, and types of arithmetic.

The file is read with the schemas and the `flatc` of the installed package, without torch. Sources:
`executorch/exir/_serialize/_program.py` for the extended header, and
`executorch/backends/xnnpack/serialization/xnnpack_graph_serialize.py` for XNNPACK's header.
"""

from __future__ import annotations

import importlib.util
import json
import re
import struct
import subprocess
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

IDENTIFIERS = (b"ET12",)
"""File identifiers of the schemas that the reader knows, at byte 4."""

HEADER = "4s I Q Q"
"""The extended header at byte 8: magic, length, bytes of the program, start of the segments."""

DELEGATE_HEADER = "<4s 4s H I I"
"""XNNPACK's header: zeros, magic, length, start and bytes of its graph."""

LAYERS = ("XNNConv2d", "XNNDepthwiseConv2d", "XNNFullyConnected", "XNNConvTranspose2d")
"""XNNPACK's nodes with weights; `filter_id` is the number of the weights' value."""

PRECISIONS = {
    "xnn_datatype_fp32": "fp32",
    "xnn_datatype_fp16": "fp16",
    "xnn_datatype_bf16": "bf16",
    "xnn_datatype_qint8": "int8",
    "xnn_datatype_qcint8": "int8",
}
"""Precisions by the type of a layer's weights."""

NUMBERS = re.compile(r"(?<=: )(?:-?inf|-?nan)(?=[,\s])")
NAMES = {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN", "-nan": "NaN"}


@dataclass(frozen=True)
class Program:
    """The execution plan of the first method."""

    delegates: tuple[str, ...]
    """The backends of the delegated subgraphs, in order."""
    operators: tuple[str, ...]
    """The kernels of the operators outside of the delegates, in order of their calls."""
    nodes: Counter[str]
    """XNNPACK's nodes within its delegates, by type."""
    weights: Counter[str]
    """Types of the weights of the delegated layers, as precisions."""
    has_dynamic_ranges: bool
    """Whether a delegate computes quantisation ranges at run time."""

    def facts(self) -> dict[str, Any]:
        """The facts for the record."""
        return {
            "delegates": dict(Counter(self.delegates)),
            "delegated_nodes": dict(self.nodes),
            "kernels_outside_delegates": dict(Counter(self.operators)),
        }


def read(file: Path) -> Program:
    """Return the facts in a program file.

    Raises ValueError for a truncated file, another format, or a newer schema.
    """
    data = file.read_bytes()
    if data[4:8] not in IDENTIFIERS:
        raise ValueError(
            f"{file.name} is no ExecuTorch program of a known schema: its identifier is "
            f"{data[4:8]!r}, expected {' or '.join(map(repr, IDENTIFIERS))}"
        )
    program = _as_json(_schema("exir/_serialize/program.fbs"), data, file.name)
    plan = program["execution_plan"][0]
    names = [f"{entry['name']}.{entry['overload']}" for entry in plan["operators"]]
    calls = [
        names[step["instr_args"]["op_index"]]
        for chain in plan["chains"]
        for step in chain["instructions"]
        if step["instr_args_type"] == "KernelCall"
    ]
    graphs = [
        _graph(_payload(data, program, entry))
        for entry in plan["delegates"]
        if entry["id"] == "XnnpackBackend"
    ]
    nodes = [node for graph in graphs for node in graph["xnodes"]]
    return Program(
        tuple(entry["id"] for entry in plan["delegates"]),
        tuple(calls),
        Counter(node["xnode_union_type"].lstrip("_") for node in nodes),
        Counter(kind for graph in graphs for kind in _weights(graph)),
        any("_qdint8" in str(_type(value)) for graph in graphs for value in graph["xvalues"]),
    )


def _payload(data: bytes, program: Any, delegate: Any) -> bytes:
    """The bytes given to a delegate: inline in the program, or in a segment of the file."""
    place = delegate["processed"]
    if place["location"] == "INLINE":
        return bytes(program["backend_delegate_data"][place["index"]]["data"])
    _, _, _, base = struct.unpack_from(f"<{HEADER.replace(' ', '')}", data, 8)
    segment = program["segments"][place["index"]]
    start = base + segment["offset"]
    return data[start : start + segment["size"]]


def _graph(payload: bytes) -> Any:
    """XNNPACK's graph in a delegate's bytes."""
    _, magic, _, start, size = struct.unpack_from(DELEGATE_HEADER.replace(" ", ""), payload)
    if magic != b"XH00":
        raise ValueError(f"XNNPACK's graph has the header {magic!r}, expected b'XH00'")
    schema = _schema("backends/xnnpack/serialization/schema.fbs")
    return _as_json(schema, payload[start : start + size], "XNNPACK's graph")


def _weights(graph: Any) -> list[str]:
    kinds = {_value(value)["id_out"]: _type(value) for value in graph["xvalues"]}
    layers = [node["xnode_union"] for node in graph["xnodes"] if "filter_id" in node["xnode_union"]]
    return [PRECISIONS.get(kinds[layer["filter_id"]], "unknown") for layer in layers]


def _value(entry: Any) -> Any:
    union = entry["xvalue_union"]
    return union.get("tensor_value", union)


def _type(entry: Any) -> str:
    return str(_value(entry)["datatype"])


def _schema(path: str) -> Path:
    """A schema in the installed package, found without an import."""
    return _package() / path


def _package() -> Path:
    spec = importlib.util.find_spec("executorch")
    if spec is None or not spec.submodule_search_locations:
        raise ValueError("executorch is not installed; pip install 'evenbench[executorch]'")
    return Path(next(iter(spec.submodule_search_locations)))


def _as_json(schema: Path, data: bytes, name: str) -> Any:
    """`data` by `schema`, as JSON with all defaults. Raises ValueError for other data."""
    options = ["--json", "--strict-json", "--defaults-json", "--raw-binary"]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "data.bin").write_bytes(data)
        done = subprocess.run(
            [_package() / "data/bin/flatc", *options, "-o", folder, schema, "--", "data.bin"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        written = Path(folder, "data.json")
        if done.returncode or not written.exists():
            reason = (done.stderr or done.stdout).strip()[-200:]
            raise ValueError(f"{name} cannot be read as {schema.name}: {reason}")
        # flatc writes C's names of numbers: an open bound of a clamp is `inf`.
        return json.loads(NUMBERS.sub(lambda match: NAMES[match[0]], written.read_text()))
