"""Nodes executed by ONNX Runtime, with their types, providers and times, read from a profile.

Reads the profile's events (JSON) and imports no runtime.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evenbench.backends.onnx import file_precision

FLOATS = {"float": "fp32", "float16": "fp16", "bfloat16": "bf16", "double": "fp64"}
INTEGERS = ("int8", "uint8", "int4", "uint4")

FAMILIES = ("Conv", "Gemm", "MatMul", "Attention", "RNN", "GRU", "LSTM", "Einsum")
"""Substrings of the names of compute-heavy operators, such as `FusedConv`, `QLinearConv`, `QGemm`.
"""

QUANTIZED = "QLinear"
"""Prefix of operators between quantised tensors."""

DYNAMIC_QUANTIZATION = "DynamicQuantize"
"""Prefix of operators with activations quantised at run time."""


CONTROL = ("If", "Loop", "Scan")
"""Control flow. The nodes inside have events with their own times, so these count as 0."""

KERNEL_TIME = "_kernel_time"
"""Suffix of a node's name in events with the time of the kernel."""


# -- what was executed -----------------------------------------------------------------------------


@dataclass(frozen=True)
class ExecutedNode:
    """An executed node of the optimised graph; `types` are the element types of the inputs."""

    name: str
    operator: str
    provider: str
    types: tuple[str, ...]
    microseconds: int

    @property
    def computes(self) -> bool:
        """True for compute-heavy operators."""
        return any(family in self.operator for family in FAMILIES)

    @property
    def precision(self) -> str:
        """The precision of the arithmetic: `int8`, a float type, or empty.

        A plain operator on bytes, such as a cast of pixels, is no quantised arithmetic.
        """
        is_narrow = bool(self.types) and self.types[0] in INTEGERS
        if self.operator.startswith(QUANTIZED) or (
            self.computes and (is_narrow or self.operator.startswith(DYNAMIC_QUANTIZATION))
        ):
            return "int8"
        return next((FLOATS[kind] for kind in self.types if kind in FLOATS), "")


def nodes_of_last_run(events: Sequence[Mapping[str, Any]]) -> list[ExecutedNode]:
    """Return the nodes of a profile's last run. Raises ValueError without a run."""
    return [_node_of_event(event) for event in events_of_run(events)]


def events_of_run(
    events: Sequence[Mapping[str, Any]], from_end: int = 0
) -> list[Mapping[str, Any]]:
    """Return the nodes' kernel events in a profile's run, by default the last.

    Raises ValueError for a profile with fewer runs.
    """
    runs = [
        event for event in events if event.get("cat") == "Session" and event["name"] == "model_run"
    ]
    if len(runs) <= from_end:
        raise ValueError(
            "the profile holds no model_run event; run the session before profiling ends"
        )
    run = sorted(runs, key=lambda event: event["ts"])[-1 - from_end]
    begin, end = run["ts"], run["ts"] + run["dur"]
    nodes = [
        event
        for event in events
        if event.get("cat") == "Node" and event["name"].endswith(KERNEL_TIME)
    ]
    return [event for event in nodes if begin <= event["ts"] <= end]


def _node_of_event(event: Mapping[str, Any]) -> ExecutedNode:
    details = event["args"]
    types = tuple(kind for tensor in details.get("input_type_shape", ()) for kind in tensor)
    operator = str(details.get("op_name", ""))
    microseconds = 0 if operator in CONTROL else int(event["dur"])
    return ExecutedNode(
        str(event["name"]).removesuffix(KERNEL_TIME),
        operator,
        str(details.get("provider", "")),
        types,
        microseconds,
    )


def time_shares(nodes: Sequence[ExecutedNode], by: str) -> dict[str, float]:
    """Return shares of a run's time by `provider` or `operator`, largest first, to 3 decimals."""
    spent: Counter[str] = Counter()
    for node in nodes:
        spent[getattr(node, by)] += node.microseconds
    total = sum(spent.values())
    return (
        {name: round(microseconds / total, 3) for name, microseconds in spent.most_common()}
        if total
        else {}
    )


def compute_nodes(nodes: Iterable[ExecutedNode]) -> Counter[str]:
    """Count compute-heavy nodes by executed precision; all nodes if no node is compute-heavy."""
    nodes = list(nodes)
    work = Counter(node.precision for node in nodes if node.computes and node.precision)
    return work or Counter(node.precision for node in nodes if node.precision)


def executed_precision(
    requested: str,
    nodes: Sequence[ExecutedNode],
    stored: str = "",
    tf32: bool = False,
    in_file: Collection[str] = (),
) -> tuple[str, str]:
    """Return the executed precision, and a note if only the weights are stored in that precision.

    `requested` is the cell's precision, `stored` the float type of most weights, and `tf32` whether
    fp32 nodes may use TF32. A narrow node among fp32 nodes is never fp32. A graph counts as int8 if
    any layer computed on integers; `precision_label` counts the layers. A graph without
    floats counts as fp32. `in_file` are the precisions of an unconverted file.
    """
    counts = compute_nodes(nodes)
    if in_file:
        return file_precision.executed(requested, set(counts), in_file)
    if counts["int8"] and requested.startswith("int8"):
        return (
            "int8-dynamic"
            if any(node.operator.startswith(DYNAMIC_QUANTIZATION) for node in nodes)
            else "int8-static"
        ), ""
    ran = {"tf32" if tf32 and kind == "fp32" else kind for kind in counts} or {"fp32"}
    if requested != "fp32" and requested in ran:
        return requested, ""
    if requested != "fp32" and requested == stored and ran == {"fp32"}:
        return (
            requested,
            (
                f"weights are stored as {requested}; the arithmetic runs in fp32, between casts "
                "inserted by ONNX Runtime"
            ),
        )
    return ",".join(sorted(ran)), ""


def precision_label(requested: str, nodes: Sequence[ExecutedNode]) -> str:
    """Return a label like `int8 in 2 of 3 layers`; empty if all layers ran in the narrow type."""
    kind, counts = requested.partition("-")[0], compute_nodes(nodes)
    narrow, total = counts[kind], sum(counts.values())
    return f"{kind} in {narrow} of {total} layers" if kind != "fp32" and 0 < narrow < total else ""


def misplaced_operators(nodes: Sequence[ExecutedNode], provider: str) -> Counter[str]:
    """Count compute-heavy operators outside `provider`; all operators if `provider` ran none."""
    idle = all(node.provider != provider for node in nodes)
    return Counter(
        node.operator for node in nodes if node.provider != provider and (node.computes or idle)
    )


def summary(nodes: Sequence[ExecutedNode]) -> dict[str, Any]:
    """Return the facts of a profile for the record."""
    return {
        "nodes_after": len(nodes),
        "operators_after": dict(Counter(node.operator for node in nodes).most_common()),
        "nodes_by_provider": dict(Counter(node.provider for node in nodes).most_common()),
        "compute_nodes": dict(compute_nodes(nodes)),
        "time_share_by_provider": time_shares(nodes, "provider"),
        "time_share_by_operator": time_shares(nodes, "operator"),
    }


# -- what was fused into what ----------------------------------------------------------------------
