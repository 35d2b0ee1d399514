"""Small ONNX graphs for tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

FLOAT, HALF, BF16, DOUBLE = (
    TensorProto.FLOAT,
    TensorProto.FLOAT16,
    TensorProto.BFLOAT16,
    TensorProto.DOUBLE,
)


def graph(
    nodes: Sequence[Any], constants: dict[str, tuple[Any, int]], kind: int = FLOAT, opset: int = 22
) -> onnx.ModelProto:
    """x [1, 4] in, y out, both of `kind`; constants by name as (array, element type)."""
    tensors = [
        helper.make_tensor(name, of, np.shape(array), np.ravel(array))
        for name, (array, of) in constants.items()
    ]
    ends = [
        helper.make_tensor_value_info("x", kind, [1, 4]),
        helper.make_tensor_value_info("y", kind, [1, None]),
    ]
    made = helper.make_graph(list(nodes), "g", ends[:1], ends[1:], tensors)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def node(kind: str, takes: str, makes: str, **more: Any) -> Any:
    return helper.make_node(kind, takes.split(), makes.split(), **more)
