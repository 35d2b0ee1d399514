"""Executed nodes and precision of ONNX Runtime, read from a profile."""

from __future__ import annotations

from typing import Any

import pytest

from evenbench.backends.onnxruntime import executed_graph
from evenbench.backends.onnxruntime.executed_graph import ExecutedNode

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
EMULATED = (
    "weights are stored as fp16; the arithmetic runs in fp32, between casts inserted by ONNX "
    "Runtime"
)


def ran(operator: str, *types: str, provider: str = CPU, microseconds: int = 10) -> ExecutedNode:
    return ExecutedNode(operator.lower(), operator, provider, types or ("float",), microseconds)


@pytest.mark.parametrize(
    ("asked", "stored", "nodes", "precision", "emulated"),
    [
        ("fp32", "fp32", [ran("Conv"), ran("Relu")], "fp32", ""),
        ("fp32", "fp32", [ran("Conv"), ran("FusedGemm", "float16")], "fp16,fp32", ""),
        ("fp16", "fp16", [ran("Conv", "float16"), ran("Cast")], "fp16", ""),
        ("fp16", "fp16", [ran("Conv"), ran("Cast", "float16")], "fp16", EMULATED),
        ("fp16", "fp32", [ran("Conv")], "fp32", ""),
        ("bf16", "bf16", [ran("MatMul", "bfloat16")], "bf16", ""),
        (
            "int8-static",
            "fp32",
            [ran("QLinearConv", "uint8", "float", "uint8", "int8"), ran("QGemm", "int8")],
            "int8-static",
            "",
        ),
        ("int8-static", "fp32", [ran("Conv"), ran("QGemm", "uint8")], "int8-static", ""),
        ("int8-static", "fp32", [ran("Conv"), ran("DequantizeLinear", "int8")], "fp32", ""),
        (
            "int8-dynamic",
            "fp32",
            [ran("Conv"), ran("DynamicQuantizeMatMul", "float", "int8")],
            "int8-dynamic",
            "",
        ),
        (
            "int8-dynamic",
            "fp32",
            [ran("DynamicQuantizeLinear"), ran("MatMulIntegerToFloat", "uint8", "int8")],
            "int8-dynamic",
            "",
        ),
        ("int8-dynamic", "fp32", [ran("MatMulIntegerToFloat", "uint8", "int8")], "int8-static", ""),
        ("int8-dynamic", "fp32", [ran("MatMul")], "fp32", ""),
        ("fp32", "", [ran("ArgMax", "int64")], "fp32", ""),
        ("fp32", "", [], "fp32", ""),
        ("fp32", "", [ran("Relu"), ran("Shape", "int64")], "fp32", ""),
        ("fp32", "", [ran("Relu", "double")], "fp64", ""),
    ],
)
def test_compute_nodes_decide_the_precision(
    asked: str, stored: str, nodes: list[ExecutedNode], precision: str, emulated: str
) -> None:
    assert executed_graph.executed_precision(asked, nodes, stored) == (precision, emulated)


def test_fp32_nodes_with_tf32_allowed_are_tf32() -> None:
    nodes = [ran("Conv", provider=CUDA)]
    assert executed_graph.executed_precision("tf32", nodes, "fp32", tf32=True) == ("tf32", "")
    assert executed_graph.executed_precision("fp32", nodes, "fp32", tf32=True) == ("tf32", "")
    assert executed_graph.executed_precision("tf32", nodes, "fp32", tf32=False) == ("fp32", "")


def test_a_label_counts_narrow_layers() -> None:
    nodes = [ran("Conv"), ran("QGemm", "uint8"), ran("QGemm", "uint8"), ran("Relu")]
    assert executed_graph.precision_label("int8-static", nodes) == "int8 in 2 of 3 layers"
    assert (
        executed_graph.precision_label("int8-static", nodes[1:])
        == executed_graph.precision_label("fp32", nodes)
        == ""
    )


def test_work_on_another_provider_is_a_stray_and_a_shape_is_not() -> None:
    nodes = [ran("Conv", provider=CUDA), ran("Reshape"), ran("Gemm"), ran("FusedGemm")]
    assert executed_graph.misplaced_operators(nodes, CUDA) == {"Gemm": 1, "FusedGemm": 1}
    assert executed_graph.misplaced_operators(nodes[:2], CUDA) == {}
    assert executed_graph.misplaced_operators([ran("Relu")], CUDA) == {"Relu": 1}, (
        "a provider that ran nothing did not run"
    )
    assert executed_graph.misplaced_operators([], CUDA) == {}


def event(name: str, ts: int, dur: int, cat: str = "Node", **args: Any) -> dict[str, Any]:
    return {"cat": cat, "name": name, "ts": ts, "dur": dur, "args": args}


def test_a_profile_is_read_for_its_last_run() -> None:
    shapes = [{"float": [1, 2]}, {"int64": [2]}]
    events = [
        event("session_initialization", 0, 9, "Session"),
        event("model_run", 10, 50, "Session"),
        event("a_kernel_time", 11, 40, op_name="Conv", provider=CPU, input_type_shape=shapes),
        event("model_run", 100, 30, "Session"),
        event("a_fence_before", 101, 1, op_name="Conv"),
        event("a_kernel_time", 101, 15, op_name="Conv", provider=CPU, input_type_shape=shapes),
        event("if_kernel_time", 117, 9, op_name="If", provider=CPU),
        event("b_kernel_time", 118, 5, op_name="Relu", provider=CUDA),
    ]
    nodes = executed_graph.nodes_of_last_run(events)
    assert nodes[0] == ExecutedNode("a", "Conv", CPU, ("float", "int64"), 15)
    assert [(node.operator, node.microseconds) for node in nodes] == [
        ("Conv", 15),
        ("If", 0),
        ("Relu", 5),
    ]
    facts = executed_graph.summary(nodes)
    assert facts["time_share_by_provider"] == {CPU: 0.75, CUDA: 0.25}
    assert facts["time_share_by_operator"] == {"Conv": 0.75, "Relu": 0.25, "If": 0.0}
    assert facts["nodes_by_provider"] == {CPU: 2, CUDA: 1}
    with pytest.raises(ValueError, match="no model_run"):
        executed_graph.nodes_of_last_run(events[:1])
