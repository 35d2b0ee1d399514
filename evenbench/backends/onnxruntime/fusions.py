"""Fusions of ONNX Runtime's graph optimisation, found by comparing the graph before and after."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from evenbench.backends.onnx.protobuf_reader import Graph, Node

LAYOUT = ("ReorderInput", "ReorderOutput", "Transpose", "Cast")
"""Operators that optimisers insert between layouts and types; each replaces only its own kind."""


def operator_counts(graph: Graph) -> Counter[str]:
    """Count nodes by operator, with the domain of operators outside ONNX."""
    return Counter(node.operator for node in graph.nodes)


def compare_graphs(before: Graph, after: Graph) -> dict[str, Any]:
    """Compare the main graph before and after optimisation: operator counts and replacements.

    Each node of `after` is located in `before` by its output tensor, or else by its name. The
    replaced nodes lie between this location and tensors that still exist. `fused` counts
    replacements, `added` nodes without a location, and `removed` nodes without a replacement
    (folded, or without effect).
    """
    origin = _Origins(before, after)
    fused: Counter[str] = Counter()
    added: Counter[str] = Counter()
    gone = set(range(len(before.nodes)))
    for node, anchor in zip(after.nodes, origin.anchors, strict=True):
        if anchor is None:
            added[node.operator] += 1
            continue
        replaced = origin.replaced(anchor)
        gone -= replaced
        names = [before.nodes[index].operator for index in sorted(replaced)]
        if names != [node.operator]:
            fused[
                f"{_join(names)} → {node.operator}{node.activation and f'({node.activation})'}"
            ] += 1
    removed = Counter(before.nodes[index].operator for index in gone)
    return {
        "nodes_before": len(before.nodes),
        "operators_before": dict(operator_counts(before).most_common()),
        "operators_written": dict(operator_counts(after).most_common()),
        "fused": dict(fused.most_common()),
        "added": dict(added.most_common()),
        "removed": dict(removed.most_common()),
    }


class _Origins:
    """Locations of optimised nodes in the original graph."""

    def __init__(self, before: Graph, after: Graph) -> None:
        self.nodes = before.nodes
        self.maker = {
            output: index
            for index, node in enumerate(self.nodes)
            for output in node.outputs
            if output
        }
        self.named = {node.name: index for index, node in enumerate(self.nodes) if node.name}
        self.users: dict[str, list[int]] = {}
        for index, node in enumerate(self.nodes):
            for name in node.inputs:
                self.users.setdefault(name, []).append(index)
        self.constant = set(after.constants)
        self.anchors = [self._anchor(node) for node in after.nodes]
        self.taken = {anchor for anchor in self.anchors if anchor is not None}

    def _anchor(self, node: Node) -> int | None:
        """Return the original node with the same output, or None."""
        tensors = (self.maker.get(_bare_name(name)) for name in (*node.outputs, node.name))
        origin = next((index for index in tensors if index is not None), None)
        if origin is None:
            origin = self.named.get(_bare_name(node.name))
        if origin is None or (node.kind in LAYOUT and self.nodes[origin].kind != node.kind):
            return None
        return self._forward(node, origin)

    def _forward(self, node: Node, index: int) -> int:
        """Move past operators fused from behind: sum, activation, quantisation of the output."""
        summed = "Conv" in node.kind and len([name for name in node.inputs if name]) > 3
        behind = (
            "Add" if summed else "",
            node.activation,
            "QuantizeLinear" if node.kind.startswith("Q") else "",
        )
        for kind in filter(None, behind):
            users = self.users.get(self.nodes[index].outputs[0], [])
            if len(users) == 1 and self.nodes[users[0]].kind == kind:
                index = users[0]
        return index

    def replaced(self, anchor: int) -> set[int]:
        """Return the anchor and all nodes before it, up to other nodes' outputs and constants."""
        nodes, waiting = {anchor}, [anchor]
        while waiting:
            for name in self.nodes[waiting.pop()].inputs:
                index = self.maker.get(name)
                if (
                    index is not None
                    and index not in nodes
                    and index not in self.taken
                    and name not in self.constant
                ):
                    nodes.add(index)
                    waiting.append(index)
        return nodes


def _bare_name(name: str) -> str:
    """Strip the affixes of ONNX Runtime's optimisers from the name of a tensor or node."""
    bare = (
        re.sub(r"_token_\d+$", "", name)
        .removeprefix("fused ")
        .removeprefix("InsertedPrecisionFreeCast_")
    )
    return bare.removesuffix("_nchwc").removesuffix("_nhwc")


def _join(names: Sequence[str]) -> str:
    """Join operators in order, each with the number of consecutive repetitions."""
    return " + ".join(f"{name} ×{count}" if count > 1 else name for name, count in _runs(names))


def _runs(names: Sequence[str]) -> Iterator[tuple[str, int]]:
    index = 0
    while index < len(names):
        stop = index
        while stop < len(names) and names[stop] == names[index]:
            stop += 1
        yield names[index], stop - index
        index = stop
