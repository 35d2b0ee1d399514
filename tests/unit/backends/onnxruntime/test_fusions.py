"""Fusions are found by comparing the graph before and after optimisation."""

from __future__ import annotations

from evenbench.backends.onnx.protobuf_reader import Graph, Node
from evenbench.backends.onnxruntime import fusions


def node(
    kind: str, inputs: str, output: str, name: str = "", domain: str = "", activation: str = ""
) -> Node:
    return Node(
        kind, domain, name or f"node_{output}", tuple(inputs.split()), (output,), activation
    )


MS, NCHWC = "com.microsoft", "com.microsoft.nchwc"


def graph(*nodes: Node, constants: tuple[str, ...] = ()) -> Graph:
    return Graph(nodes, dict.fromkeys(constants, 1))


def test_a_fused_activation_is_matched_by_tensor() -> None:
    before = graph(node("Conv", "x w", "c"), node("Relu", "c", "r"), node("Gemm", "r v", "y"))
    after = graph(
        node("FusedConv", "x w", "r", domain=MS, activation="Relu"), node("Gemm", "r v", "y")
    )
    comparison = fusions.compare_graphs(before, after)
    assert comparison["fused"] == {"Conv + Relu → com.microsoft.FusedConv(Relu)": 1}
    assert (comparison["added"], comparison["removed"], comparison["nodes_before"]) == ({}, {}, 3)


def test_blocked_layouts_are_matched_by_name_and_reorders_are_added() -> None:
    before = graph(
        node("Conv", "x w", "a"),
        node("Relu", "a", "b"),
        node("Conv", "b u", "c"),
        node("Add", "c a", "d"),
        node("Relu", "d", "y"),
    )
    after = graph(
        node("Conv", "x w", "token_0", "a_nchwc", NCHWC),
        node("ReorderOutput", "token_0", "a", "ReorderOutput", NCHWC),
        node("Relu", "a", "b"),
        Node("Conv", NCHWC, "c_nchwc", ("b", "u", "bias", "token_0"), ("token_1",), "Relu"),
        node("ReorderOutput", "token_1", "y", "ReorderOutput_token_9", NCHWC),
    )
    comparison = fusions.compare_graphs(before, after)
    assert comparison["fused"] == {
        "Conv → com.microsoft.nchwc.Conv": 1,
        "Conv + Add + Relu → com.microsoft.nchwc.Conv(Relu)": 1,
    }
    assert comparison["added"] == {"com.microsoft.nchwc.ReorderOutput": 2}


def test_a_quantised_layer_takes_its_neighbours_with_it() -> None:
    before = graph(
        node("QuantizeLinear", "x s", "xq"),
        node("DequantizeLinear", "xq s", "xd"),
        node("DequantizeLinear", "wq t", "wd"),
        node("Conv", "xd wd", "c", "first"),
        node("QuantizeLinear", "c s", "cq"),
        node("DequantizeLinear", "cq s", "y"),
    )
    after = graph(
        node("QuantizeLinear", "x s", "xq"),
        node("QLinearConv", "xq s wq t", "cq_token_3", "first_token_2", MS),
        node("DequantizeLinear", "cq_token_3 s", "y"),
    )
    comparison = fusions.compare_graphs(before, after)
    assert comparison["fused"] == {
        "DequantizeLinear ×2 + Conv + QuantizeLinear → com.microsoft.QLinearConv": 1
    }
    assert comparison["removed"] == {}


def test_constants_and_nodes_without_effect_are_removed() -> None:
    before = graph(node("Mul", "k m", "w"), node("Identity", "x", "i"), node("MatMul", "i w", "y"))
    comparison = fusions.compare_graphs(before, graph(node("MatMul", "x w", "y"), constants=("w",)))
    assert comparison["removed"] == {"Mul": 1}
    assert comparison["fused"] == {"Identity + MatMul → MatMul": 1}
    assert fusions.compare_graphs(before, before)["fused"] == {}
