"""One use of an input by a node: shapes, constants and attributes around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evenbench.backends.onnx.file_inputs.consumers import Consumers
from evenbench.backends.onnx.file_inputs.declared import Declared


@dataclass(frozen=True)
class Usage:
    """The node, the place among the node's inputs, and the name of the tensor at that place.

    `declared` and `size` are the input of the graph, behind nodes that only move its values.
    """

    graph: Consumers
    node: Any
    place: int
    tensor: str
    declared: Declared
    size: Sequence[int]

    @property
    def words(self) -> str:
        return f"used by {self.node.op_type}"

    @property
    def count(self) -> int:
        """The number of elements of the graph's input."""
        count = 1
        for size in self.size:
            count *= size
        return count

    def shape(self, place: int) -> list[int] | None:
        """The shape of another input of the node; None if unknown or absent."""
        name = self.name(place)
        return self.graph.shape(name) if name else None

    def name(self, place: int) -> str:
        """The name of an input of the node; empty for an absent optional input."""
        return self.node.input[place] if place < len(self.node.input) else ""

    def constant(self, place: int) -> Any:
        """The constant at an input of the node; None for another tensor."""
        return self.graph.constant(self.name(place)) if self.name(place) else None

    def result(self, place: int = 0) -> list[int] | None:
        """The shape of an output of the node; None if unknown."""
        name = self.node.output[place] if place < len(self.node.output) else ""
        return self.graph.shape(name) if name else None

    def attribute(self, name: str, default: Any = None) -> Any:
        """The value of an attribute of the node."""
        from onnx import helper

        for attribute in self.node.attribute:
            if attribute.name == name:
                return helper.get_attribute_value(attribute)
        return default


def whole(values: Sequence[Any]) -> dict[str, Any]:
    """The rule for fixed values, as plain JSON."""
    return {"values": [value.item() if hasattr(value, "item") else value for value in values]}


def between(low: float, high: float) -> dict[str, Any]:
    """The rule for a range, both ends included."""
    return {"low": low, "high": high}
