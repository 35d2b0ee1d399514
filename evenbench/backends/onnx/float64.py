"""ONNX graphs with every float widened to float64, for goldens. Never deployed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from evenbench.backends.onnx.graph import nodes, subgraphs

if TYPE_CHECKING:
    import onnx

NARROW = (
    ("AffineGrid", "CausalConvWithState", "LinearAttention", "MelWeightMatrix", "Einsum"),
    "onnx's evaluator computes these operators in float32, even on float64 inputs",
)
"""Operators with float64 outputs of float32 accuracy, and the reason."""


def narrow_operators(model: onnx.ModelProto) -> list[str]:
    """The operators of the graph computed in float32 despite widening, sorted."""
    return sorted({node.op_type for node in nodes(model.graph)} & set(NARROW[0]))


def widened(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of `model` with float32, float16 and bfloat16 tensors widened to float64.

    Inputs, outputs, constants and results of casts are widened. Integers stay unchanged, and so do
    the steps of a quantised graph.
    """
    import onnx

    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    for graph in subgraphs(wide.graph):
        for value in (*graph.input, *graph.output, *graph.value_info):
            tensor = value.type.tensor_type
            tensor.elem_type = _wide_type(tensor.elem_type)
        for initializer in graph.initializer:
            initializer.CopyFrom(_wide_tensor(initializer))
        _widen_nodes(graph.node)
    for function in wide.functions:
        _widen_nodes(function.node)
    return wide


def _wide_type(kind: int) -> int:
    from onnx import TensorProto

    narrow = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16)
    return TensorProto.DOUBLE if kind in narrow else kind


def _wide_tensor(tensor: onnx.TensorProto) -> onnx.TensorProto:
    import numpy as np
    from onnx import numpy_helper

    if _wide_type(tensor.data_type) == tensor.data_type:
        return tensor
    return numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name)


TYPES = ("to", "dtype", "output_datatype")
"""The attributes with an element type as value."""


def _widen_nodes(nodes: Iterable[onnx.NodeProto]) -> None:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                attribute.t.CopyFrom(_wide_tensor(attribute.t))
            elif attribute.name in TYPES and attribute.HasField("i"):
                attribute.i = _wide_type(attribute.i)
        if node.op_type in ("Constant", "ConstantOfShape"):
            _widen_constant(node)


def _widen_constant(node: onnx.NodeProto) -> None:
    """Turn a constant of implicit type float32 into a float64 tensor: plain floats, or zeros."""
    import numpy as np
    from onnx import helper, numpy_helper

    plain: Any = next(
        (
            attribute
            for attribute in node.attribute
            if attribute.name in ("value_float", "value_floats")
        ),
        None,
    )
    if plain is not None:
        values = np.asarray(
            plain.f if plain.name == "value_float" else list(plain.floats), np.float64
        )
    elif node.op_type == "ConstantOfShape" and not node.attribute:
        values = np.zeros(1)
    else:
        return
    del node.attribute[:]
    node.attribute.append(helper.make_attribute("value", numpy_helper.from_array(values)))
