"""ONNX graphs with every float widened, to float64 or float32, for goldens. Never deployed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from evenbench.backends.onnx.graph import nodes, subgraphs

if TYPE_CHECKING:
    import onnx

DOUBLE = 11
"""`onnx.TensorProto.DOUBLE`, without an import."""

NARROW = (
    ("AffineGrid", "CausalConvWithState", "LinearAttention", "MelWeightMatrix", "Einsum"),
    "onnx's evaluator computes these operators in float32, even on float64 inputs",
)
"""Operators with float64 outputs of float32 accuracy, and the reason."""


def narrow_operators(model: onnx.ModelProto) -> list[str]:
    """The operators of the graph computed in float32 despite widening, sorted."""
    return sorted({node.op_type for node in nodes(model.graph)} & set(NARROW[0]))


def widened(model: onnx.ModelProto, to: int = DOUBLE) -> onnx.ModelProto:
    """A copy of `model` with narrower floats widened to the element type `to`.

    Inputs, outputs, constants and results of casts are widened. Integers stay unchanged, and so do
    the steps of a quantised graph. `to` is DOUBLE or FLOAT of `onnx.TensorProto`.
    """
    import onnx

    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    for graph in subgraphs(wide.graph):
        for value in (*graph.input, *graph.output, *graph.value_info):
            _widen_type(value.type, to)
        for initializer in graph.initializer:
            initializer.CopyFrom(_wide_tensor(initializer, to))
        _widen_nodes(graph.node, to)
    for function in wide.functions:
        _widen_nodes(function.node, to)
    return wide


def _widen_type(kind: onnx.TypeProto, to: int) -> None:
    """Widen a tensor's type, or the type of the elements of a sequence or optional."""
    if kind.HasField("tensor_type"):
        kind.tensor_type.elem_type = _wide_type(kind.tensor_type.elem_type, to)
    elif kind.HasField("sequence_type"):
        _widen_type(kind.sequence_type.elem_type, to)
    elif kind.HasField("optional_type"):
        _widen_type(kind.optional_type.elem_type, to)


def _wide_type(kind: int, to: int) -> int:
    from onnx import TensorProto

    narrow = (TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.FLOAT)
    return to if kind in narrow else kind


def _wide_tensor(tensor: onnx.TensorProto, to: int) -> onnx.TensorProto:
    from onnx import helper, numpy_helper

    if _wide_type(tensor.data_type, to) == tensor.data_type:
        return tensor
    kind = helper.tensor_dtype_to_np_dtype(to)
    return numpy_helper.from_array(numpy_helper.to_array(tensor).astype(kind), tensor.name)


TYPES = ("to", "dtype", "output_datatype")
"""The attributes with an element type as value."""


def _widen_nodes(nodes: Iterable[onnx.NodeProto], to: int) -> None:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                attribute.t.CopyFrom(_wide_tensor(attribute.t, to))
            elif attribute.name in TYPES and attribute.HasField("i"):
                attribute.i = _wide_type(attribute.i, to)
        if node.op_type in ("Constant", "ConstantOfShape"):
            _widen_constant(node, to)


def _widen_constant(node: onnx.NodeProto, to: int) -> None:
    """Turn a constant of implicit type float32 into a wide tensor: plain floats, or zeros."""
    import numpy as np
    from onnx import helper, numpy_helper

    kind = helper.tensor_dtype_to_np_dtype(to)
    plain: Any = next(
        (
            attribute
            for attribute in node.attribute
            if attribute.name in ("value_float", "value_floats")
        ),
        None,
    )
    if plain is not None:
        values = np.asarray(plain.f if plain.name == "value_float" else list(plain.floats), kind)
    elif node.op_type == "ConstantOfShape" and not node.attribute:
        values = np.zeros(1, kind)
    else:
        return
    del node.attribute[:]
    node.attribute.append(helper.make_attribute("value", numpy_helper.from_array(values)))
