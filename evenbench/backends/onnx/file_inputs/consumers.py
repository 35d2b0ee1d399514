"""The nodes that use an input's values, also behind nodes that only move the values."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from evenbench.backends.onnx.graph import subgraphs
from evenbench.harness import BATCH

if TYPE_CHECKING:
    import numpy as np
    import onnx

FIRST = (
    *("Identity", "Cast", "Squeeze", "Unsqueeze", "Reshape", "Transpose", "Flatten", "Expand"),
    *("Tile", "Slice", "Gather", "Split", "Clip", "Optional", "OptionalGetElement", "Pad"),
    *("SequenceConstruct", "SplitToSequence", "SequenceAt", "ConcatFromSequence", "Relu"),
)
"""Operators whose first input keeps its values."""

EVERY = ("Concat", "Max", "Min", "SequenceConstruct")
"""Operators with outputs made of values of any input."""


class Consumers:
    """The graph of a file with sizes of inputs, for questions about the uses of an input."""

    def __init__(self, model: onnx.ModelProto, shapes: dict[str, Sequence[int]]) -> None:
        import onnx

        with_sizes = _with_shapes(model, shapes)
        try:
            self.model = onnx.inliner.inline_local_functions(with_sizes)
        except Exception:  # a function that onnx cannot inline; nodes inside stay unknown
            self.model = with_sizes
        # An operator unknown to onnx, or a damaged declaration, leaves shapes unknown.
        with contextlib.suppress(Exception):
            self.model = onnx.shape_inference.infer_shapes(self.model, data_prop=True)
        self.graphs = list(subgraphs(self.model.graph))
        self.declared = {value.name: value.type for value in model.graph.output}

    @cached_property
    def opset(self) -> int:
        versions = [e.version for e in self.model.opset_import if e.domain in ("", "ai.onnx")]
        return int(max(versions, default=1))

    @cached_property
    def _by_tensor(self) -> dict[str, list[tuple[Any, int]]]:
        table: dict[str, list[tuple[Any, int]]] = {}
        for graph in self.graphs:
            for node in graph.node:
                for place, name in enumerate(node.input):
                    if name:
                        table.setdefault(name, []).append((node, place))
        return table

    def of(self, name: str) -> Iterator[tuple[Any, int, str]]:
        """Yield the nodes that use an input's values: node, place, and the name of the tensor."""
        waiting, known = [name], {name}
        while waiting:
            tensor = waiting.pop(0)
            for node, place in self._by_tensor.get(tensor, []):
                yield node, place, tensor
                for further in _passed_on(node, place):
                    if further not in known:
                        known.add(further)
                        waiting.append(further)

    @cached_property
    def _types(self) -> dict[str, Any]:
        return {
            value.name: value.type.tensor_type
            for graph in self.graphs
            for value in (*graph.input, *graph.value_info, *graph.output)
        }

    def shape(self, name: str) -> list[int] | None:
        """The shape of a tensor; None if a size is unknown."""
        sizes = self.partial_shape(name)
        return None if sizes is None or -1 in sizes else sizes

    def partial_shape(self, name: str) -> list[int] | None:
        """The shape of a tensor, with -1 for unknown sizes; None for an unknown rank."""
        if name in self._constants:
            return list(self._constants[name].dims)
        kind = self._types.get(name)
        if kind is None or not kind.HasField("shape"):
            return None
        return [size.dim_value if size.HasField("dim_value") else -1 for size in kind.shape.dim]

    @cached_property
    def _constants(self) -> dict[str, Any]:
        table = {tensor.name: tensor for graph in self.graphs for tensor in graph.initializer}
        for graph in self.graphs:
            for node in graph.node:
                if node.op_type == "Constant" and node.attribute[0].HasField("t"):
                    table[node.output[0]] = node.attribute[0].t
        return table

    def constant(self, name: str) -> np.ndarray[Any, Any] | None:
        """The value of a constant in the file; None for other tensors and external weights."""
        from onnx import numpy_helper

        tensor = self._constants.get(name)
        if tensor is None or tensor.data_location == tensor.EXTERNAL:
            return None
        value: np.ndarray[Any, Any] = numpy_helper.to_array(tensor)
        return value


def _passed_on(node: Any, place: int) -> list[str]:
    """The outputs, or inputs of a loop's body, that hold the values of a node's input."""
    if (node.op_type in FIRST and place == 0) or node.op_type in EVERY:
        return list(node.output)
    if node.op_type == "Where" and place > 0:
        return list(node.output)
    if node.op_type in ("Loop", "Scan"):
        body = next(attribute.g for attribute in node.attribute if attribute.name == "body")
        at = place if node.op_type == "Loop" or len(node.input) == len(body.input) else place - 1
        return [body.input[at].name] if 0 <= at < len(body.input) else []
    return []


def _with_shapes(model: onnx.ModelProto, shapes: dict[str, Sequence[int]]) -> onnx.ModelProto:
    """A copy with the given shapes of inputs, and without recorded shapes of other tensors."""
    import onnx

    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    for value in copied.graph.input:
        if value.name in shapes and value.type.HasField("tensor_type"):
            set_shape(value, shapes[value.name])
    del copied.graph.value_info[:]
    for value in copied.graph.output:
        tensor = value.type.tensor_type
        if any(not size.HasField("dim_value") for size in tensor.shape.dim):
            tensor.ClearField("shape")
    return copied


def set_shape(value: onnx.ValueInfoProto, shape: Sequence[int | str]) -> None:
    """Set an input's shape; `BATCH` is a named dimension."""
    tensor = value.type.tensor_type
    del tensor.shape.dim[:]
    tensor.shape.SetInParent()
    for size in shape:
        if size == BATCH:
            tensor.shape.dim.add().dim_param = BATCH
        else:
            tensor.shape.dim.add().dim_value = int(size)
