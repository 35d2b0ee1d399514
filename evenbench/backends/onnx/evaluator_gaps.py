"""Known faults of ONNX's reference evaluator, and graphs rewritten to avoid older operators.

The evaluator implements the newest definition of an operator best: some older ones are wrong or
missing. A graph of an older opset is therefore raised first, where onnx's converter can.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from evenbench.backends.onnx.graph import nodes
from evenbench.harness import Unsupported

if TYPE_CHECKING:
    import onnx

RAISED = 21
"""The opset to which older graphs are raised."""


def raised(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model at opset `RAISED` or newer; the model itself where the converter fails."""
    from onnx import version_converter

    opset = opset_of(model)
    if not opset or opset >= RAISED:
        return model
    try:
        converted = version_converter.convert_version(model, RAISED)
    except Exception:  # many operators and domains are unknown to the converter
        return model
    names = [value.name for value in model.graph.output]
    return converted if names == [value.name for value in converted.graph.output] else model


def opset_of(model: onnx.ModelProto) -> int:
    """The version of ONNX's own operators; 0 if the model uses none."""
    versions = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    return versions[0] if versions else 0


def _before_13(node: Any, opset: int) -> bool:
    return opset < 13  # these flattened the input to two dimensions


def _before_14(node: Any, opset: int) -> bool:
    return opset < 14


def _always(node: Any, opset: int) -> bool:
    return True


def _same_lower(node: Any, opset: int) -> bool:
    return any(
        attribute.name == "auto_pad" and attribute.s == b"SAME_LOWER"
        for attribute in node.attribute
    )


def _lengths_or_activations(node: Any, opset: int) -> bool:
    lengths = len(node.input) > 4 and node.input[4] != ""
    return lengths or any(attribute.name == "activations" for attribute in node.attribute)


WRONG: Mapping[str, Callable[[Any, int], bool]] = {
    "Softmax": _before_13,
    "LogSoftmax": _before_13,
    "Hardmax": _before_13,
    "BatchNormalization": _before_14,
    "LRN": _always,
    "MaxPool": _same_lower,
    "LSTM": _lengths_or_activations,
    "GRU": _lengths_or_activations,
    "RNN": _lengths_or_activations,
}
"""Operators that the evaluator of onnx 1.23 computes wrongly without saying so, and when.

tests/unit/backends/onnx/test_evaluator_gaps.py shows each fault: a mended operator leaves the
table. Sources: onnx/onnx#7805, onnx/onnx#7935.
"""


def known_faults(model: onnx.ModelProto) -> list[str]:
    """The operators of the graph that the evaluator computes wrongly, sorted."""
    opset = opset_of(model)
    return sorted(
        {
            node.op_type
            for node in nodes(model.graph)
            if node.domain in ("", "ai.onnx")
            and node.op_type in WRONG
            and WRONG[node.op_type](node, opset)
        }
    )


MENDED = ("Softmax", "LogSoftmax", "BatchNormalization")
"""The operators of the table that are right after raising; onnx's converter rewrites them."""


def evaluated(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph for the evaluator. Raises Unsupported if the evaluator is known to be wrong."""
    graph = raised(model)
    mended = MENDED if graph is not model else ()
    faults = [name for name in known_faults(model) if name not in mended]
    if faults:
        raise Unsupported(f"ONNX's reference evaluator computes {', '.join(faults)} wrongly")
    return graph


RANDOM = (
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    "Multinomial",
    "Bernoulli",
    "Dropout",
)
"""Operators that draw random numbers; a Dropout only in training mode."""


def random_operators(model: onnx.ModelProto) -> list[str]:
    """The operators of the graph that draw random numbers, sorted."""
    return sorted(
        {
            node.op_type
            for node in nodes(model.graph)
            if node.op_type in RANDOM
            and (node.op_type != "Dropout" or (len(node.input) > 2 and node.input[2]))
        }
    )
