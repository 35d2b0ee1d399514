"""Floating-point operations per inference, by the rule of torch's counter for all formats."""

from __future__ import annotations

import importlib.util
import sys
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from math import prod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

RULE = (
    "convolutions, matrix products and attention; a multiply-add counts as two; "
    "biases, elementwise steps and products of constants do not count"
)
"""The rule of torch.utils.flop_counter. Other counters disagree about biases and elementwise
functions.
"""

Shape = Sequence[int]


def missing() -> str:
    """The reason why counting is impossible here, or an empty string."""
    return (
        ""
        if importlib.util.find_spec("torch")
        else "counting needs torch, which is not installed; pip install 'evenbench[torch]'"
    )


def not_counted(why: str) -> dict[str, Any]:
    """The facts of a missing count, with the reason."""
    return {"total": None, "rule": RULE, "by_operator": {}, "uncounted": {}, "why_not": why}


def counted(by_operator: Mapping[str, int], uncounted: Mapping[str, int]) -> dict[str, Any]:
    """The facts of a count.

    `uncounted` maps matrix-multiplying operators without known shapes or formula to their number.
    """
    total = sum(by_operator.values())
    return {
        "total": total,
        "rule": RULE,
        "by_operator": dict(by_operator),
        "uncounted": dict(uncounted),
        "why_not": "",
    }


def work(count: Mapping[str, Any], weights: int, weight_bytes: int | None) -> dict[str, Any]:
    """The result of `harness.Golden.work`: a count, and the weights read by every step."""
    facts = {name: count[name] for name in ("rule", "by_operator", "uncounted", "why_not")}
    return {"flops": count["total"], **facts, "weights": weights, "weight_bytes": weight_bytes}


def of_call(call: Callable[[], Any], inputs: Sequence[Any] = ()) -> dict[str, Any]:
    """Count the operations of a call into torch.

    With the `inputs` of the call, products of constants are left out: a compiler computes such
    products once, before the first inference.

    An error of the counter becomes a missing count, so that no golden fails because of the counter.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    _count_without_dynamo()
    counter = FlopCounterMode(display=False)
    constants = _constant_products(inputs) if inputs else nullcontext()
    try:
        # The counter decomposes operators; the outer mode sees the parts.
        with torch.no_grad(), constants, counter:
            call()
    except Exception as error:  # operators without dispatch support raise errors of any type
        return not_counted(
            f"torch's counter cannot follow this model ({type(error).__name__}: {error})"
        )
    totals = counter.get_flop_counts().get("Global", {})
    counts = Counter({str(operator): int(count) for operator, count in totals.items()})
    counts -= Counter(getattr(constants, "counts", {}))
    return counted(dict(counts), {})


def _count_without_dynamo() -> None:
    """Take the guard against compilation off torch's counter, in a process that compiles nothing.

    The guard imports Dynamo, which takes longer than the golden of a small network.
    """
    from torch.utils import flop_counter

    mode = getattr(flop_counter, "_FlopCounterMode", None)
    unguarded = getattr(getattr(mode, "__torch_dispatch__", None), "__wrapped__", None)
    if unguarded and "torch._dynamo" not in sys.modules:
        mode.__torch_dispatch__ = unguarded


def _constant_products(inputs: Sequence[Any]) -> Any:
    """A dispatch mode that counts the operations on tensors without a dependence on `inputs`.

    Dependence follows the storages: an operator with a dependent argument makes its outputs
    dependent. A storage that is freed and allocated again stays dependent, so that too few
    operations count as constant, never too many.
    """
    import torch
    from torch.utils import flop_counter
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    def storages(values: Any) -> set[int]:
        tensors = (value for value in tree_leaves(values) if isinstance(value, torch.Tensor))
        return {tensor.untyped_storage().data_ptr() for tensor in tensors}

    class ConstantProducts(TorchDispatchMode):
        @classmethod
        def _should_skip_dynamo(cls) -> bool:
            return False  # as in `_count_without_dynamo`

        def __init__(self) -> None:
            super().__init__()
            self.counts: Counter[str] = Counter()
            self.dependent = storages(list(inputs))

        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            kwargs = kwargs or {}
            read = storages((args, kwargs))
            result = func(*args, **kwargs)
            operator = func._overloadpacket
            if self.dependent & read:
                # An operator in place writes to one of its arguments.
                self.dependent |= storages(result)
            elif operator in flop_counter.flop_registry:
                formula = flop_counter.flop_registry[operator]
                self.counts[str(operator)] += int(formula(*args, **kwargs, out_val=result))
            return result

    return ConstantProducts()


CONVOLUTIONS = ("Conv", "ConvInteger", "QLinearConv", "ConvTranspose")
PRODUCTS = ("MatMul", "MatMulInteger", "QLinearMatMul", "Gemm", "QGemm", "Attention")
UNKNOWN = (
    "RNN",
    "GRU",
    "LSTM",
    "Einsum",
    "DeformConv",
    "Loop",
    "Scan",
    "If",
    "QAttention",
    "MultiHeadAttention",
    "DynamicQuantizeLSTM",
)
"""ONNX operators that multiply matrices. Results name operators in UNKNOWN without counting."""


def of_onnx(
    nodes: Sequence[Any], shapes: Mapping[str, Shape], inputs: Collection[str] = ()
) -> dict[str, Any]:
    """Count the nodes of an ONNX graph by the known shapes of tensors.

    With the names of the graph's `inputs`, nodes on constants alone are left out.
    """
    reason = missing()
    if reason:
        return not_counted(reason)
    counts: Counter[str] = Counter()
    nodes = _dependent(nodes, inputs) if inputs else nodes
    unknown = Counter(node.op_type for node in nodes if node.op_type in UNKNOWN)
    for node in nodes:
        if node.op_type in (*CONVOLUTIONS, *PRODUCTS):
            count = _of_node(node, shapes)
            if count is None:
                unknown[node.op_type] += 1
            else:
                counts[node.op_type] += count
    return counted(dict(counts.most_common()), unknown)


def _dependent(nodes: Sequence[Any], inputs: Collection[str]) -> list[Any]:
    """The nodes with a path from an input, of nodes in topological order.

    A node with a graph of its own may read outer tensors, and counts.
    """
    reached, dependent = set(inputs), []
    for node in nodes:
        has_graph = any(attribute.HasField("g") for attribute in node.attribute)
        if has_graph or reached.intersection(node.input):
            reached.update(node.output)
            dependent.append(node)
    return dependent


WEIGHT_AT = {"QLinearConv": 3, "QLinearMatMul": 3, "QGemm": 3}
"""The position of the second factor among a node's inputs, if not 1: quantised operators have a
scale and a zero point between the factors.
"""


def _of_node(node: Any, shapes: Mapping[str, Shape]) -> int | None:
    from torch.utils import flop_counter

    second = WEIGHT_AT.get(node.op_type, 1)
    if len(node.input) <= second:
        return None
    left, right, product = (
        shapes.get(node.input[0]),
        shapes.get(node.input[second]),
        shapes.get(node.output[0]),
    )
    if left is None or right is None or product is None:
        return None
    if node.op_type in CONVOLUTIONS:
        return int(
            flop_counter.conv_flop_count(
                list(left), list(right), list(product), transposed=node.op_type == "ConvTranspose"
            )
        )
    if "Gemm" in node.op_type:
        transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
        return _product(prod(product), left[0] if transposed else left[-1])
    if node.op_type == "Attention":
        return _of_attention(node, shapes)
    return _product(prod(product), left[-1])


def _product(elements: int, inner: int) -> int:
    """The operations of a product with `elements` results, each a sum of `inner` products."""
    from torch.utils import flop_counter

    return int(flop_counter.mm_flop((elements, inner), (inner, 1)))


def _of_attention(node: Any, shapes: Mapping[str, Shape]) -> int | None:
    """The operations of ONNX's Attention on [batch, heads, length, size]; None for packed heads."""
    from torch.utils import flop_counter

    query, key, value = (shapes.get(name) for name in list(node.input)[:3])
    if any(shape is None or len(shape) != 4 for shape in (query, key, value)):
        return None
    return int(flop_counter.sdpa_flop_count(query, key, value))
