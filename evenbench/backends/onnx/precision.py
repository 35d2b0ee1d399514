"""The precision of an ONNX file, read from the operators and types of the graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from evenbench.backends.onnx import graph

if TYPE_CHECKING:
    import onnx


COMPUTE = ("Conv", "ConvTranspose", "MatMul", "Gemm", "RNN", "GRU", "LSTM", "Attention")
"""The operators with nearly all the work of a network."""

STATIC = ("QLinearConv", "QLinearMatMul", "QGemm", "QAttention", "QLinearAdd")
DYNAMIC = (
    "DynamicQuantizeLinear",
    "MatMulInteger",
    "ConvInteger",
    "DynamicQuantizeMatMul",
    "MatMulIntegerToFloat",
    "DynamicQuantizeLSTM",
)
TRANSPARENT = (
    "Transpose",
    "Reshape",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
    "Identity",
    "MaxPool",
    "Relu",
    "Clip",
    "Concat",
    "Pad",
)
"""The operators between a dequantisation and the next layer in quantised graphs."""


def precision_of_graph(model: onnx.ModelProto) -> str:
    """The precision of the compute nodes: `fp32`, `fp16`, `bf16`, `fp64`, or an int8 precision.

    The evidence is integer operators (`int8-dynamic`, `int8-static`), QDQ pairs, initialisers and
    casts. Mixed float types are joined by commas; a graph without floating tensors counts as
    `fp32`.
    """
    nodes = list(graph.nodes(model.graph))
    kinds = {node.op_type for node in nodes}
    if kinds & set(DYNAMIC):
        return "int8-dynamic"
    linear = any(kind.startswith("QLinear") for kind in kinds)
    if linear or kinds & set(STATIC) or int8_share(model)[0]:
        return "int8-static"
    types = _types(model)
    compute = [node for node in nodes if node.op_type in COMPUTE]
    names = _float_names(
        types.get(node.output[0]) or types.get(node.input[min(1, len(node.input) - 1)])
        for node in compute
    )
    if not names:  # without compute nodes of known type, every tensor counts
        names = _float_names(types.values())
    return ",".join(sorted(names)) or "fp32"


ORDER = ("int8", "fp16", "bf16", "fp32", "fp64")
"""Names of a file with layers of several precisions, the first wins."""


def stored(model: onnx.ModelProto) -> str:
    """The precisions in a file, joined by commas, the file's own first.

    Empty for a plain fp32 file, and for a graph without floats and without quantised layers.
    """
    own = {name.partition("-")[0] for name in precision_of_graph(model).split(",")}
    tensors = _float_names(_types(model).values())
    if own == {"fp32"} and not tensors - own:
        return ""
    # Without layers, every tensor counts, and a cast from or to fp32 makes no other precision.
    has_layers = any(node.op_type in COMPUTE for node in graph.nodes(model.graph))
    ranked = ORDER if has_layers else ("int8", "fp32", *ORDER[1:])
    first = min(own, key=ranked.index)
    rest = sorted((own | tensors) - {first})
    return ",".join([first, *rest]) if first != "fp32" or rest else ""


def int8_share(model: onnx.ModelProto) -> tuple[int, int]:
    """The number of compute nodes on quantised numbers, and of all compute nodes."""
    nodes = list(graph.nodes(model.graph))
    makers = {output: node for node in nodes for output in node.output}
    integer = sum(node.op_type in STATIC or node.op_type in DYNAMIC[1:] for node in nodes)
    compute = [node for node in nodes if node.op_type in COMPUTE]
    fed = sum(_is_quantised(node.input[0], makers) for node in compute)
    return integer + fed, integer + len(compute)


def _is_quantised(tensor: str, makers: Mapping[str, onnx.NodeProto]) -> bool:
    """Whether a layer's input comes from a pair of QuantizeLinear and DequantizeLinear."""
    seen = 0
    while tensor in makers and seen < 20:
        node, seen = makers[tensor], seen + 1
        if node.op_type == "DequantizeLinear":
            feeding = makers.get(node.input[0])
            while feeding is not None and feeding.op_type in TRANSPARENT:
                feeding = makers.get(feeding.input[0])
            return feeding is not None and feeding.op_type == "QuantizeLinear"
        if node.op_type not in TRANSPARENT:
            return False
        tensor = node.input[0]
    return False


def _types(model: onnx.ModelProto) -> dict[str, int]:
    """The inferred element type by tensor name."""
    inferred = graph.inferred(model)
    values = (*inferred.input, *inferred.output, *inferred.value_info)
    known = {value.name: value.type.tensor_type.elem_type for value in values}
    return {**known, **{tensor.name: tensor.data_type for tensor in inferred.initializer}}


def _float_names(types: Iterable[int | None]) -> set[str]:
    """The precisions of the floating types among ONNX's element types."""
    from onnx import TensorProto

    names = {
        TensorProto.FLOAT: "fp32",
        TensorProto.FLOAT16: "fp16",
        TensorProto.BFLOAT16: "bf16",
        TensorProto.DOUBLE: "fp64",
    }
    return {names[kind] for kind in types if kind in names}


_UNIMPLEMENTED = "Could not find an implementation for "


def without_kernel(error: BaseException) -> str:
    """The reason in ONNX Runtime's error for a missing kernel; an empty string for other errors.

    The error reads `... NOT_IMPLEMENTED : Could not find an implementation for Conv(22) node with
    name 'x'`.
    """
    text = str(error).replace("Failed to find kernel for ", _UNIMPLEMENTED)
    _, matched, rest = text.partition(_UNIMPLEMENTED)
    if not matched or "NOT_IMPLEMENTED" not in text:
        return ""
    operator, _, opset = rest.split(" ")[0].rstrip(")").partition("(")
    return (
        f"has no kernel for {operator} (opset {opset})"
        if opset
        else f"has no kernel for {operator}"
    )


def refused_file(error: BaseException, runtime: str = "ONNX Runtime") -> str:
    """ONNX Runtime's words for a file that it cannot load; an empty string for other errors.

    The file is newer than the runtime, or has operators or attributes without implementation.
    """
    text = " ".join(str(error).split())
    _, mistyped, words = text.partition(" FAIL : Type Error: ")
    if mistyped:
        return f"{runtime} refuses the graph: {words[:300]}"
    _, unsuitable, words = text.partition("Exception during initialization: ")
    if unsuitable:
        return f"{runtime} refuses the graph: {words.rpartition(' was false. ')[2][:300]}"
    _, matched, words = text.partition(" failed:")
    if "Load model from " not in text or not matched:
        return ""
    newer = ("Unsupported model IR version", "is under development", "official released onnx opset")
    if any(phrase in words for phrase in newer):
        starts = (words.find(start) for start in ("Unsupported model", "ONNX Runtime only"))
        begin = next((place for place in starts if place >= 0), 0)
        return f"newer than this ONNX Runtime: {words[begin:][:300]}"
    return f"{runtime} refuses the file: {words[:300]}"
