"""How many floating-point operations one inference takes, by the one rule of torch's own counter,
for files of every format.
"""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

RULE = "convolutions, matrix products and attention; a multiply-add counts as two; biases and elementwise steps do not count"
"""What torch.utils.flop_counter counts. Other counters add biases and weigh elementwise functions,
each in its own way.
"""

Shape = Sequence[int]


def missing() -> str:
    """Why nothing can be counted here, in words, or an empty string."""
    return (
        ""
        if importlib.util.find_spec("torch")
        else "counting needs torch, which is not installed; pip install 'evenbench[torch]'"
    )


def not_counted(why: str) -> dict[str, Any]:
    """The facts where there is no count, and why."""
    return {"total": None, "rule": RULE, "by_operator": {}, "uncounted": {}, "why_not": why}


def counted(by_operator: Mapping[str, int], uncounted: Mapping[str, int]) -> dict[str, Any]:
    """The facts about a count. `uncounted` are operators that count, but whose shapes or formula
    are not known, and how many.
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
    """A count as a golden tells it (`harness.Golden.work`): with the weights that every step reads."""
    told = {name: count[name] for name in ("rule", "by_operator", "uncounted", "why_not")}
    return {"flops": count["total"], **told, "weights": weights, "weight_bytes": weight_bytes}


def of_call(call: Callable[[], Any]) -> dict[str, Any]:
    """Call something that runs in torch, and count meanwhile. What the counter cannot follow is not
    counted: no golden fails by it.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    try:
        with torch.no_grad(), counter:
            call()
    except Exception as error:  # an operator that no dispatch mode sees through, in a thousand ways
        return not_counted(
            f"torch's counter cannot follow this model ({type(error).__name__}: {error})"
        )
    counts = counter.get_flop_counts().get("Global", {})
    return counted({str(operator): int(count) for operator, count in counts.items()}, {})


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
"""ONNX operators that multiply matrices; the last ones are named where they occur, and not counted.
"""


def of_onnx(nodes: Sequence[Any], shapes: Mapping[str, Shape]) -> dict[str, Any]:
    """Count a graph's nodes by the shapes of their tensors, as far as these are known."""
    reason = missing()
    if reason:
        return not_counted(reason)
    found: Counter[str] = Counter()
    unknown = Counter(node.op_type for node in nodes if node.op_type in UNKNOWN)
    for node in nodes:
        if node.op_type in (*CONVOLUTIONS, *PRODUCTS):
            count = _of_node(node, shapes)
            if count is None:
                unknown[node.op_type] += 1
            else:
                found[node.op_type] += count
    return counted(dict(found.most_common()), unknown)


WEIGHT_AT = {"QLinearConv": 3, "QLinearMatMul": 3, "QGemm": 3}
"""Where the second factor stands among a node's inputs, if not second: quantised operators have a
scale and a zero point between.
"""


def _of_node(node: Any, shapes: Mapping[str, Shape]) -> int | None:
    from torch.utils import flop_counter

    second = WEIGHT_AT.get(node.op_type, 1)
    if len(node.input) <= second:
        return None
    left, right, made = (
        shapes.get(node.input[0]),
        shapes.get(node.input[second]),
        shapes.get(node.output[0]),
    )
    if left is None or right is None or made is None:
        return None
    if node.op_type in CONVOLUTIONS:
        return int(
            flop_counter.conv_flop_count(
                list(left), list(right), list(made), transposed=node.op_type == "ConvTranspose"
            )
        )
    if "Gemm" in node.op_type:
        turned = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
        return _product(prod(made), left[0] if turned else left[-1])
    if node.op_type == "Attention":
        return _of_attention(node, shapes)
    return _product(prod(made), left[-1])


def _product(made: int, inner: int) -> int:
    """A matrix product of `made` elements in all, each a sum of `inner` products."""
    from torch.utils import flop_counter

    return int(flop_counter.mm_flop((made, inner), (inner, 1)))


def _of_attention(node: Any, shapes: Mapping[str, Shape]) -> int | None:
    """Of ONNX's own operator with heads as an axis, [batch, heads, length, size]; None for the
    packed form.
    """
    from torch.utils import flop_counter

    query, key, value = (shapes.get(name) for name in list(node.input)[:3])
    if any(shape is None or len(shape) != 4 for shape in (query, key, value)):
        return None
    return int(flop_counter.sdpa_flop_count(query, key, value))
