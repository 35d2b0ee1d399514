"""What ONNX Runtime made of a graph: the nodes it executed, where, in which types and for how long,
and what was fused into what.

Reads a profile (its events, as JSON) and the optimised graph (`onnx_nodes`); imports no runtime.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

FLOATS = {"float": "fp32", "float16": "fp16", "bfloat16": "bf16", "double": "fp64"}
INTEGERS = ("int8", "uint8", "int4", "uint4")

FAMILIES = ("Conv", "Gemm", "MatMul", "Attention", "RNN", "GRU", "LSTM", "Einsum")
"""What the names of operators have in them in which nearly all the work of a network is done:
`FusedConv`, `QLinearConv`, `QGemm`.
"""

DYNAMIC_QUANTIZATION = "DynamicQuantize"
"""How operators that quantise activations as they run are called."""


CONTROL = ("If", "Loop", "Scan")
"""Their time is that of the nodes inside, which have events of their own."""


# -- what was executed -----------------------------------------------------------------------------


@dataclass(frozen=True)
class ExecutedNode:
    """One node of the optimised graph as one run executed it; `types` are the element types of its
    inputs.
    """

    name: str
    operator: str
    provider: str
    types: tuple[str, ...]
    microseconds: int

    @property
    def computes(self) -> bool:
        """Whether it is one of those in which the work is done."""
        return any(family in self.operator for family in FAMILIES)

    @property
    def precision(self) -> str:
        """What it computes in: `int8` or the name of a float type; empty for a node that has
        neither.
        """
        if (self.types and self.types[0] in INTEGERS) or (
            self.computes and self.operator.startswith(DYNAMIC_QUANTIZATION)
        ):
            return "int8"
        return next((FLOATS[kind] for kind in self.types if kind in FLOATS), "")


def nodes_of_last_run(events: Sequence[Mapping[str, Any]]) -> list[ExecutedNode]:
    """The nodes of the last run in a profile. Raises ValueError where it holds no run."""
    runs = [
        event for event in events if event.get("cat") == "Session" and event["name"] == "model_run"
    ]
    if not runs:
        raise ValueError(
            "the profile holds no model_run event; run the session before profiling ends"
        )
    last = max(runs, key=lambda event: event["ts"])
    begin, end = last["ts"], last["ts"] + last["dur"]
    nodes = [
        event
        for event in events
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time")
    ]
    return [_node_of_event(event) for event in nodes if begin <= event["ts"] <= end]


def _node_of_event(event: Mapping[str, Any]) -> ExecutedNode:
    told = event["args"]
    types = tuple(kind for each in told.get("input_type_shape", ()) for kind in each)
    operator = str(told.get("op_name", ""))
    microseconds = 0 if operator in CONTROL else int(event["dur"])
    return ExecutedNode(
        str(event["name"]).removesuffix("_kernel_time"),
        operator,
        str(told.get("provider", "")),
        types,
        microseconds,
    )


def time_shares(nodes: Sequence[ExecutedNode], by: str) -> dict[str, float]:
    """The share of a run's time in its nodes by `provider` or `operator`, largest first, to three
    digits.
    """
    spent: Counter[str] = Counter()
    for node in nodes:
        spent[getattr(node, by)] += node.microseconds
    whole = sum(spent.values())
    return {name: round(many / whole, 3) for name, many in spent.most_common()} if whole else {}


def compute_nodes(nodes: Iterable[ExecutedNode]) -> Counter[str]:
    """The nodes that do the work by the precision that they ran in; all nodes where there are none
    of that kind.
    """
    nodes = list(nodes)
    work = Counter(node.precision for node in nodes if node.computes and node.precision)
    return work or Counter(node.precision for node in nodes if node.precision)


def executed_precision(
    asked: str, nodes: Sequence[ExecutedNode], stored: str = "", tf32: bool = False
) -> tuple[str, str]:
    """The precision that was executed, and in words where only the weights are stored in it.

    `stored` is the float type of most of the file's weights, `tf32` whether fp32 nodes may use it.
    A narrow node among fp32 ones is never fp32; int8 is int8 where at least one layer worked on
    integers, and labels tell how many did. A graph without floats counts as fp32.
    """
    counts = compute_nodes(nodes)
    if counts["int8"] and asked.startswith("int8"):
        return (
            "int8-dynamic"
            if any(node.operator.startswith(DYNAMIC_QUANTIZATION) for node in nodes)
            else "int8-static"
        ), ""
    ran = {"tf32" if tf32 and kind == "fp32" else kind for kind in counts} or {"fp32"}
    if asked != "fp32" and asked in ran:
        return asked, ""
    if asked != "fp32" and asked == stored and ran == {"fp32"}:
        return (
            asked,
            f"weights are stored as {asked}; the arithmetic runs in fp32, between casts that ONNX Runtime put in or folded",
        )
    return ",".join(sorted(ran)), ""


def precision_label(asked: str, nodes: Sequence[ExecutedNode]) -> str:
    """How many layers ran in the narrow type that was asked for, where not all of them did; empty
    otherwise.
    """
    kind, counts = asked.partition("-")[0], compute_nodes(nodes)
    done, whole = counts[kind], sum(counts.values())
    return f"{kind} in {done} of {whole} layers" if kind != "fp32" and 0 < done < whole else ""


def misplaced_operators(nodes: Sequence[ExecutedNode], provider: str) -> Counter[str]:
    """Operators that do the work and yet ran on another provider than the one that was asked for;
    all, where it ran none.
    """
    idle = all(node.provider != provider for node in nodes)
    return Counter(
        node.operator for node in nodes if node.provider != provider and (node.computes or idle)
    )


def summary(nodes: Sequence[ExecutedNode]) -> dict[str, Any]:
    """The facts of a profile for the record."""
    return {
        "nodes_after": len(nodes),
        "operators_after": dict(Counter(node.operator for node in nodes).most_common()),
        "nodes_by_provider": dict(Counter(node.provider for node in nodes).most_common()),
        "compute_nodes": dict(compute_nodes(nodes)),
        "time_share_by_provider": time_shares(nodes, "provider"),
        "time_share_by_operator": time_shares(nodes, "operator"),
    }


# -- what was fused into what ----------------------------------------------------------------------
