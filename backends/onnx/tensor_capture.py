"""The tensors within an ONNX file, made outputs of a copy of it, so that any runtime that reads
ONNX can be asked for them.

A runtime does not fuse across an output, so looking changes what is looked at: a copy may name a
few tensors only.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backends import module_scopes
from backends.onnx.graph import inferred
from harness import Cell, TensorSpec
from harness.core.intermediate_tensors import Within

if TYPE_CHECKING:
    import onnx

SCOPES = "pkg.torch.onnx.name_scopes"
"""Where PyTorch's newer exporter writes the modules around a node, and last the node's own name, as
a Python list. The older one writes them into the node's name."""


def expose(file: Path, into: Path, only: Collection[str] | None, wrappers: int = 0) -> list[Within]:
    """Write `file` as `into` with tensors of its graph as further outputs: those named in `only`,
    or all. Returns those that it names.

    They are in the order in which the file computes them, declared outputs included. Left out are
    constants and what is computed of nothing else, what is no tensor, and what lies in a branch or
    a loop body, which is no tensor of the graph itself. So many `wrappers` were around the module
    when it was exported.
    """
    import onnx

    model = onnx.load(str(file))
    known = _types(model)
    outputs = {value.name for value in model.graph.output}
    places = module_scopes.places(_nodes(model.graph, wrappers), outputs)
    found: list[Within] = []
    for computed in _computed(model.graph):
        each = replace(computed, places=places.get(computed.name, ()))
        name = each.fetched or each.name
        if name in known and not known[name].type.HasField("tensor_type"):
            continue
        if name not in outputs:
            if only is not None and name not in only:
                continue
            model.graph.output.append(known.get(name) or onnx.ValueInfoProto(name=name))
        found.append(each)
    onnx.save(model, str(into))
    return found


def further_outputs(file: Path, cell: Cell) -> list[str]:
    """The outputs of a file that `expose` wrote beside those that the model declares, in the order
    of the file.
    """
    import onnx

    declared = {spec.name for spec in cell.model.outputs}
    return [value.name for value in onnx.load(str(file)).graph.output if value.name not in declared]


def _nodes(graph: Any, wrappers: int) -> Iterator[module_scopes.Node]:
    """The operators of a graph with the module that each was made in, as far as the exporter told."""
    for node in graph.node:
        told = {entry.key: entry.value for entry in node.metadata_props}.get(SCOPES)
        scope = (
            module_scopes.of_names(ast.literal_eval(told)[:-1], wrappers)
            if told
            else module_scopes.of_path(node.name, wrappers)
        )
        yield module_scopes.Node(
            node.op_type, tuple(filter(None, _read(node))), tuple(filter(None, node.output)), scope
        )


def _read(node: Any) -> list[str]:
    """What an operator reads: its inputs, and what its branches or its loop body take from around
    it.
    """
    found = list(node.input)
    for attribute in node.attribute:
        for body in (attribute.g, *attribute.graphs):
            own = {value.name for value in (*body.input, *body.initializer)} | {
                name for each in body.node for name in each.output
            }
            found += [name for each in body.node for name in _read(each) if name not in own]
    return list(dict.fromkeys(found))


def _types(model: Any) -> Mapping[str, onnx.ValueInfoProto]:
    """What onnx can tell of the tensors' types, by name; what it cannot tell, the runtime will."""
    graph = inferred(model)
    return {value.name: value for value in (*graph.value_info, *graph.output)}


def _rounded(graph: Any) -> dict[str, str]:
    """By the name of a tensor that is quantised and dequantised, the tensor that comes out: what
    all that read it get.

    Its own name stands for something else in such a graph: a conversion drops the operators that
    the rounding does as well, as it does with a Relu before an unsigned type, and gives their
    output's name to what they read.
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
    """Every tensor of the graph that depends on an input, with the operator that makes it and the
    tensors that it is made of.
    """
    rounded, outputs = _rounded(graph), {value.name for value in graph.output}
    named = {wide: name for name, wide in rounded.items()}
    constant = {initializer.name for initializer in graph.initializer}
    found = []
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
                continue  # it is told with the tensor that it stands for
            told = rounded.get(name, "") if name not in outputs else ""
            found.append(
                Within(name, f"{operator}, rounded to int8" if told else operator, inputs, told)
            )
    return found


def with_outputs(cell: Cell, names: Collection[str]) -> Cell:
    """The cell as one whose model has further outputs; of what size and type they are only the
    answer tells.
    """
    declared = {spec.name for spec in cell.model.outputs}
    more = tuple(TensorSpec(name, ()) for name in names if name not in declared)
    return replace(cell, model=replace(cell.model, outputs=(*cell.model.outputs, *more)))
