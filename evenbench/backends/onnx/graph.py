"""The graph of an ONNX model: nodes, types, shapes, weights, work and precision changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.backends import flops

if TYPE_CHECKING:
    import onnx


QUANTISERS = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")


SHAPES_AND_FLAGS = ("int64", "bool", "string")
"""The element types of constants other than weights."""


def bytes_of(tensor: onnx.TensorProto) -> int:
    return (prod(tensor.dims) * _bits(dtype_name(tensor.data_type)) + 7) // 8


def _bits(dtype: str) -> int:
    """The bits of a stored element; 0 for strings."""
    if dtype == "bool":
        return 8
    digits = "".join(character for character in dtype.partition("e")[0] if character.isdigit())
    return {"bfloat16": 16, "double": 64, "complex64": 64, "complex128": 128}.get(
        dtype, int(digits or 0)
    )


def dtype_name(number: int) -> str:
    """The name of an element type, such as `float32` for ONNX's FLOAT."""
    import onnx

    name = onnx.TensorProto.DataType.Name(number).lower()
    return {"float": "float32", "double": "float64", "undefined": ""}.get(name, name)


def described_value(value: Any) -> dict[str, Any]:
    kind = value.type.tensor_type
    shape = [
        size.dim_value if size.HasField("dim_value") else size.dim_param or "?"
        for size in kind.shape.dim
    ]
    return {"name": value.name, "dtype": dtype_name(kind.elem_type), "shape": shape}


@dataclass(frozen=True)
class Graph:
    """The nodes of a model, including branches, loop bodies and functions, and derived facts."""

    model: onnx.ModelProto = field(repr=False)
    open_size: int = 1
    """The value of open sizes of inputs."""

    @cached_property
    def graphs(self) -> list[Any]:
        return list(subgraphs(self.model.graph))

    @cached_property
    def nodes(self) -> list[onnx.NodeProto]:
        functions = (node for function in self.model.functions for node in function.node)
        return [*nodes(self.model.graph), *functions]

    @property
    def initializers(self) -> list[onnx.TensorProto]:
        return [tensor for graph in self.graphs for tensor in graph.initializer]

    @property
    def inputs(self) -> list[onnx.ValueInfoProto]:
        """The inputs given by a caller, without weights listed as inputs."""
        names = {tensor.name for tensor in self.initializers}
        return [value for value in self.model.graph.input if value.name not in names]

    @cached_property
    def operators(self) -> dict[str, int]:
        """The number of nodes by operator, with the domain of custom operators."""
        plain = ("", "ai.onnx")
        return dict(
            Counter(
                node.op_type if node.domain in plain else f"{node.domain}.{node.op_type}"
                for node in self.nodes
            ).most_common()
        )

    @cached_property
    def values(self) -> dict[str, onnx.TypeProto.Tensor]:
        """The inferred type and shape by tensor name, with open sizes set to `open_size`."""
        model = _closed(self.model, self.open_size)
        known = (
            value
            for graph in subgraphs(model.graph)
            for value in (*graph.input, *graph.output, *graph.value_info)
        )
        return {value.name: value.type.tensor_type for value in known}

    @cached_property
    def types(self) -> dict[str, str]:
        """The element type by tensor name."""
        types = {name: dtype_name(kind.elem_type) for name, kind in self.values.items()}
        return {
            **types,
            **{tensor.name: dtype_name(tensor.data_type) for tensor in self.initializers},
        }

    @cached_property
    def shapes(self) -> dict[str, Sequence[int]]:
        """The completely known shapes by tensor name."""
        shapes = {
            name: [size.dim_value for size in kind.shape.dim]
            for name, kind in self.values.items()
            if kind.HasField("shape")
        }
        known = {name: shape for name, shape in shapes.items() if all(size > 0 for size in shape)}
        return {**known, **{tensor.name: list(tensor.dims) for tensor in self.initializers}}

    @property
    def weights(self) -> list[onnx.TensorProto]:
        """The initializers without shapes, flags, scales and zero points."""
        scales = {
            name
            for node in self.nodes
            if node.op_type in QUANTISERS
            for name in list(node.input)[1:]
        }
        return [
            tensor
            for tensor in self.initializers
            if dtype_name(tensor.data_type) not in SHAPES_AND_FLAGS and tensor.name not in scales
        ]

    @property
    def weights_read(self) -> dict[str, int]:
        """The count and bytes of weights read by every step.

        Tables used only by Gather are left out, because a step reads only a few rows.
        """
        read = {
            name
            for node in self.nodes
            for place, name in enumerate(node.input)
            if node.op_type != "Gather" or place != 0
        }
        needed = [tensor for tensor in self.weights if tensor.name in read]
        return {
            "count": sum(prod(tensor.dims) for tensor in needed),
            "bytes": sum(map(bytes_of, needed)),
        }

    @property
    def parameters(self) -> dict[str, Any]:
        """The count and bytes of the weights, in total and by type."""
        by_dtype: dict[str, dict[str, int]] = {}
        for tensor in self.weights:
            entry = by_dtype.setdefault(dtype_name(tensor.data_type), {"count": 0, "bytes": 0})
            entry["count"] += prod(tensor.dims)
            entry["bytes"] += bytes_of(tensor)
        total = {key: sum(entry[key] for entry in by_dtype.values()) for key in ("count", "bytes")}
        return {**total, "by_dtype": dict(sorted(by_dtype.items()))}

    @property
    def flops(self) -> dict[str, Any]:
        # Names of functions and inner graphs are local, and say nothing about dependence.
        plain = not self.model.functions and len(self.graphs) == 1
        inputs = [value.name for value in self.inputs] if plain else []
        return flops.of_onnx(self.nodes, self.shapes, inputs)

    @property
    def precision_changes(self) -> list[dict[str, Any]]:
        """The nodes with different input and output types: name, operator and both types.

        `of` distinguishes weights from activations. Casts of other numbers, such as shapes, are
        left out.
        """
        stored = {tensor.name for tensor in self.initializers}
        makers = {name: node.op_type for node in self.nodes for name in node.output}
        return [
            change for node in self.nodes if (change := _change(node, self.types, stored, makers))
        ]

    def notes(self, file: Path) -> list[str]:
        """The errors of onnx's checker, and the open sizes set to 1."""
        import onnx

        open_sizes = {
            str(size)
            for value in self.inputs
            for size in described_value(value)["shape"]
            if not isinstance(size, int)
        }
        notes = [f"work is counted with {', '.join(sorted(open_sizes))} = 1"] if open_sizes else []
        try:
            onnx.checker.check_model(str(file))
        except Exception as error:  # ValidationError, or an error of protobuf beyond 2 GiB
            notes.append(f"onnx.checker: {str(error).strip().splitlines()[0]}")
        return notes


def _change(
    node: Any, types: Mapping[str, str], stored: set[str], makers: Mapping[str, str]
) -> dict[str, Any] | None:
    if node.op_type != "Cast" and node.op_type not in QUANTISERS:
        return None
    before, after = types.get(node.input[0], ""), types.get(node.output[0], "")
    integers = makers.get(node.input[0], "").endswith("Integer")  # integer sums, cast to floats
    of_numbers = ("float" in before and "float" in after) or integers or node.op_type in QUANTISERS
    if not of_numbers or before == after:
        return None
    of = "weights" if node.input[0] in stored else "activations"
    return {"node": node.name, "operator": node.op_type, "from": before, "to": after, "of": of}


def subgraphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """The graph itself, then every graph inside its control flow."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from subgraphs(inner)


def nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The nodes of the graph, of its branches and of its loop bodies."""
    for inner in subgraphs(graph):
        yield from inner.node


def inferred(model: onnx.ModelProto) -> onnx.GraphProto:
    """The main graph with inferred types and shapes; as written where inference fails."""
    import onnx

    try:
        return onnx.shape_inference.infer_shapes(model).graph
    except Exception:  # operators that onnx does not know, or a model beyond 2 GiB
        return model.graph


def _closed(model: onnx.ModelProto, open_size: int) -> onnx.ModelProto:
    """A copy with open sizes of inputs set to `open_size`, and all shapes inferred."""
    import onnx

    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    names = {tensor.name for tensor in model.graph.initializer}
    for value in copied.graph.input:
        if value.name not in names:
            for size in value.type.tensor_type.shape.dim:
                if not size.HasField("dim_value"):
                    size.dim_value = open_size
    open_shapes = any(
        size.dim_param for value in model.graph.input for size in value.type.tensor_type.shape.dim
    )
    if open_shapes:
        del copied.graph.value_info[:]  # recorded shapes contain the open sizes
        for value in copied.graph.output:
            value.type.tensor_type.ClearField("shape")
    try:
        return onnx.shape_inference.infer_shapes(copied, data_prop=True)
    except Exception:  # operators or types unknown to onnx, or a model beyond 2 GiB
        return copied
