"""Capture of the tensors inside an ONNX file: a copy of the file has inner tensors as outputs.

Runtimes do not fuse across outputs, so capturing changes the executed graph. A copy may therefore
expose only a few tensors.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.backends import module_scopes
from evenbench.backends.onnx.graph import inferred
from evenbench.harness import Cell, TensorSpec
from evenbench.harness.core.intermediate_tensors import Within

if TYPE_CHECKING:
    import onnx

SCOPES = "pkg.torch.onnx.name_scopes"
"""The metadata key of PyTorch's newer exporter for the modules around a node and the name of the
node, as a Python list. The older exporter puts modules into the name of the node."""


def expose(file: Path, into: Path, only: Collection[str] | None, wrappers: int = 0) -> list[Within]:
    """Write a copy of `file` into `into`, with the tensors in `only`, or all, as further outputs.

    Returns the exposed tensors in the order of computation, including declared outputs. Left out
    are constants and values computed from constants alone, non-tensors, and values inside branches
    or loop bodies. `wrappers` is the number of modules around the model's module in the export.
    """
    import onnx

    model = onnx.load(str(file))
    known = _types(model)
    outputs = {value.name for value in model.graph.output}
    places = module_scopes.places(_nodes(model.graph, wrappers), outputs)
    tensors: list[Within] = []
    for computed in _computed(model.graph):
        tensor = replace(computed, places=places.get(computed.name, ()))
        name = tensor.fetched or tensor.name
        if name in known and not known[name].type.HasField("tensor_type"):
            continue
        if name not in outputs:
            if only is not None and name not in only:
                continue
            model.graph.output.append(known.get(name) or onnx.ValueInfoProto(name=name))
        tensors.append(tensor)
    onnx.save(model, str(into))
    return tensors


def further_outputs(file: Path, cell: Cell) -> list[str]:
    """The undeclared outputs of a file written by `expose`, in the order of the file."""
    import onnx

    declared = {spec.name for spec in cell.model.outputs}
    return [value.name for value in onnx.load(str(file)).graph.output if value.name not in declared]


def _nodes(graph: Any, wrappers: int) -> Iterator[module_scopes.Node]:
    """The operators of a graph with the scope recorded by the exporter, if any."""
    for node in graph.node:
        scopes = {entry.key: entry.value for entry in node.metadata_props}.get(SCOPES)
        scope = (
            module_scopes.of_names(ast.literal_eval(scopes)[:-1], wrappers)
            if scopes
            else module_scopes.of_path(node.name, wrappers)
        )
        yield module_scopes.Node(
            node.op_type, tuple(filter(None, _read(node))), tuple(filter(None, node.output)), scope
        )


def _read(node: Any) -> list[str]:
    """The inputs of an operator, including outer tensors read by branches or a loop body."""
    names = list(node.input)
    for attribute in node.attribute:
        for body in (attribute.g, *attribute.graphs):
            local = {value.name for value in (*body.input, *body.initializer)} | {
                name for inner in body.node for name in inner.output
            }
            names += [name for inner in body.node for name in _read(inner) if name not in local]
    return list(dict.fromkeys(names))


def _types(model: Any) -> Mapping[str, onnx.ValueInfoProto]:
    """The types of tensors by name, if known to onnx. The runtime determines other types."""
    graph = inferred(model)
    return {value.name: value for value in (*graph.value_info, *graph.output)}


def _rounded(graph: Any) -> dict[str, str]:
    """The dequantised tensor for each tensor quantised and dequantised again.

    All readers of such a tensor get the dequantised values. The quantised tensor itself may differ
    from the tensor of the same name before the conversion: a conversion drops operators implied by
    the rounding, such as a Relu before an unsigned type, and moves the name of the output to the
    input.
    """
    narrowed = {
        node.output[0]: node.input[0] for node in graph.node if node.op_type == "QuantizeLinear"
    }
    wide = [
        node
        for node in graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in narrowed
    ]
    return {narrowed[node.input[0]]: node.output[0] for node in wide}


def _computed(graph: Any) -> list[Within]:
    """Every input-dependent tensor of the graph, with its operator and inputs."""
    rounded, outputs = _rounded(graph), {value.name for value in graph.output}
    named = {wide: name for name, wide in rounded.items()}
    constant = {initializer.name for initializer in graph.initializer}
    tensors = []
    for node in graph.node:
        read = [name for name in _read(node) if name]
        bodies = any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute)
        if all(name in constant for name in read) and not bodies:
            constant.update(node.output)
            continue
        operator = (
            f"{node.domain}.{node.op_type}" if node.domain not in ("", "ai.onnx") else node.op_type
        )
        inputs = tuple(named.get(name, name) for name in read if name not in constant)
        for name in filter(None, node.output):
            if name in named and name not in outputs:
                continue  # part of the tensor before quantisation
            fetched = rounded.get(name, "") if name not in outputs else ""
            label = f"{operator}, rounded to int8" if fetched else operator
            tensors.append(Within(name, label, inputs, fetched))
    return tensors


def with_outputs(cell: Cell, names: Collection[str]) -> Cell:
    """The cell with further outputs in the model, of sizes and types unknown before a run."""
    declared = {spec.name for spec in cell.model.outputs}
    further = tuple(TensorSpec(name, ()) for name in names if name not in declared)
    return replace(cell, model=replace(cell.model, outputs=(*cell.model.outputs, *further)))
