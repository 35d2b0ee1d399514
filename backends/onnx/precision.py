"""ONNX files at other precisions, each converted by a maintained library, and what precision a file
really has.

A precision is a property of the file: one file feeds every runtime that can read it. Inputs and
outputs stay as the model declares them, so that the bytes are equal for all; casts and quantisation
stand inside the graph.
"""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import Cell, Unsupported
from harness.environment import system_info
from harness.inputs import batches

if TYPE_CHECKING:
    import onnx
    import torch

PRECISIONS = ("fp32", "fp16", "bf16", "int8-dynamic", "int8-static")

OPTIONS = {
    "activations": "of int8-static: 'u8' (asymmetric; default on a CPU) or 's8' (symmetric; default elsewhere, and what TensorRT takes)",
    "ranges": "of int8-static, how calibration makes a range: 'minmax' (default), 'entropy' or 'percentile'",
}
"""What a case may choose about the conversion, for every backend that reads the file."""

CHOICES = {"activations": ("u8", "s8"), "ranges": ("minmax", "entropy", "percentile")}

LINEAR = ("MatMul", "Gemm")
"""What int8-dynamic quantises. Convolutions are left alone: ONNX Runtime's dynamic ones were
several times slower than fp32.
"""


# -- conversions -----------------------------------------------------------------------------------


def refuses(cell: Cell) -> str:
    """An empty string, or why no file of this precision can be had of the cell's model, in words."""
    if cell.precision == "bf16" and cell.model.file:
        return "bf16 is made by PyTorch's exporter from a module; no maintained converter makes it from an ONNX file"
    for name, allowed in CHOICES.items():
        if cell.option.get(name, allowed[0]) not in allowed:
            return f"{name} is {' or '.join(map(repr, allowed))}, not {cell.option[name]!r}"
        if name in cell.option and cell.precision != "int8-static":
            return f"{name} is an option of int8-static, and means nothing at {cell.precision}"
    return ""


def lacks(cell: Cell) -> str:
    """In words, what is not installed for the cell's conversion, or an empty string."""
    if (
        cell.precision in ("fp32", "bf16") or cell.interpreter_name or not absent("onnxruntime")
    ):  # files are made in this environment
        return ""
    return f"{cell.precision} is made by onnxruntime, which is not installed; pip install 'evenbench[ort]'"


def absent(package: str) -> bool:
    """Whether a package is not installed here. Looks, but imports nothing."""
    return importlib.util.find_spec(package) is None


def key(cell: Cell) -> dict[str, Any]:
    """What decides how the cell's file is converted: the library, its version, and every setting.
    Empty for fp32.
    """
    return _KEYS[cell.precision](cell) if cell.precision in _KEYS else {}


def _fp16_key(cell: Cell) -> dict[str, Any]:
    return {"by": "onnxruntime.transformers.float16", "version": batches.version_of("onnxruntime")}


def _bf16_key(cell: Cell) -> dict[str, Any]:
    return {"by": "torch.Tensor.to before torch.onnx", "version": batches.version_of("torch")}


def _dynamic_key(cell: Cell) -> dict[str, Any]:
    settings = {
        "weights": "s8 symmetric, per channel",
        "activations": "u8, ranges found at run time",
        "operators": list(LINEAR),
    }
    return {
        "by": "onnxruntime.quantization.quantize_dynamic",
        "version": batches.version_of("onnxruntime"),
        **settings,
    }


def _static_key(cell: Cell) -> dict[str, Any]:
    return {
        "by": "onnxruntime.quantization.quantize_static",
        "version": batches.version_of("onnxruntime"),
        "format": "QDQ",
        "weights": "s8 symmetric, per channel",
        "activations": {"u8": "u8 asymmetric", "s8": "s8 symmetric"}[_activations(cell)],
        "ranges": cell.option.get("ranges", "minmax"),
        "bias": "fp32",  # TensorRT takes no int32 bias; ONNX Runtime and OpenVINO quantise it themselves
        "reduce_range": saturates(system_info.describe()["cpu_flags"], cell.device),
    }


_KEYS = {
    "fp16": _fp16_key,
    "bf16": _bf16_key,
    "int8-dynamic": _dynamic_key,
    "int8-static": _static_key,
}


def _activations(cell: Cell) -> str:
    return str(cell.option.get("activations", "u8" if cell.device == "cpu" else "s8"))


def saturates(flags: Iterable[str], device: str = "cpu") -> bool:
    """Whether u8 times s8 overflows 16 bits on this CPU: x86 without VNNI. Weights are then given
    seven bits.
    """
    return device == "cpu" and "avx2" in flags and not any("vnni" in flag for flag in flags)


def convert(file: Path, cell: Cell, calibration: Mapping[str, Path]) -> None:
    """Convert the fp32 ONNX `file` in place to the cell's precision; fp32 and bf16 files are left
    as they are.

    `calibration` maps an input's name to an .npy of [batches, batch, ...]. Raises Unsupported where
    nothing in the graph can be quantised.
    """
    if cell.precision in _CONVERTERS:
        _CONVERTERS[cell.precision](file, cell, calibration)


def _to_fp16(file: Path, cell: Cell, calibration: Mapping[str, Path]) -> None:
    import onnx
    from onnxruntime.transformers.onnx_model import OnnxModel

    model = OnnxModel(onnx.load(str(file)))
    model.convert_float_to_float16(use_symbolic_shape_infer=False, keep_io_types=True)
    model.topological_sort()
    onnx.save(model.model, str(file))


def _to_int8_dynamic(file: Path, cell: Cell, calibration: Mapping[str, Path]) -> None:
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(str(file))
    found = [node.op_type for node in _nodes(model.graph) if node.op_type in COMPUTE]
    if not any(kind in LINEAR for kind in found):
        raise Unsupported(
            f"int8-dynamic quantises linear layers, and {cell.model.name} has none; its {len(found)} convolutions would run slower "
            "than in fp32 so, and int8-static is made for them"
        )
    del model.graph.value_info[
        :
    ]  # the quantiser transposes weights, and the exporter's shapes of them would be wrong
    quantize_dynamic(
        model,
        str(file),
        weight_type=QuantType.QInt8,
        per_channel=True,
        op_types_to_quantize=list(LINEAR),
    )


def _to_int8_static(file: Path, cell: Cell, calibration: Mapping[str, Path]) -> None:
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    settings, symmetric = _static_key(cell), _activations(cell) == "s8"
    methods = {
        "minmax": CalibrationMethod.MinMax,
        "entropy": CalibrationMethod.Entropy,
        "percentile": CalibrationMethod.Percentile,
    }
    # The exporter has folded what can be folded; ONNX Runtime's optimiser would also take functions
    # such as HardSwish apart.
    quant_pre_process(
        str(file), str(file), skip_optimization=not cell.model.file, skip_symbolic_shape=True
    )
    quantize_static(
        str(file),
        str(file),
        _reader(calibration),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        reduce_range=settings["reduce_range"],
        activation_type=QuantType.QInt8 if symmetric else QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=methods[settings["ranges"]],
        extra_options={"ActivationSymmetric": symmetric, "QuantizeBias": False},
    )


_CONVERTERS = {"fp16": _to_fp16, "int8-dynamic": _to_int8_dynamic, "int8-static": _to_int8_static}


def feeds(calibration: Mapping[str, Path]) -> Iterator[dict[str, Any]]:
    """The calibration batches, one dict of arrays by input name after the other."""
    import numpy as np

    whole = {name: np.load(path) for name, path in calibration.items()}
    for index in range(len(next(iter(whole.values())))):
        yield {name: array[index] for name, array in whole.items()}


def _reader(calibration: Mapping[str, Path]) -> Any:
    """The batches in the form that ONNX Runtime's quantiser asks for."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """Hands out one batch after the other, then None."""

        def __init__(self) -> None:
            self.batches = feeds(calibration)

        def get_next(self) -> dict[str, Any] | None:
            return next(self.batches, None)

    return Reader()


def narrowed(module: torch.nn.Module, dtype: torch.dtype) -> torch.nn.Module:
    """`module` computing in `dtype`, with float32 inputs and outputs: casts at the boundary,
    weights cast once.

    Batch norms are folded into their convolutions first, in float32, where the module can be
    traced; the exporter folds what is left, but in mixed types.
    """
    import torch

    inner = _folded(module).to(dtype)

    class Narrowed(torch.nn.Module):
        """Casts floating inputs down and outputs up again."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, *arguments: torch.Tensor) -> Any:
            made = self.inner(
                *(value.to(dtype) if value.is_floating_point() else value for value in arguments)
            )
            if isinstance(made, torch.Tensor):
                return made.float() if made.is_floating_point() else made
            return tuple(value.float() if value.is_floating_point() else value for value in made)

    return Narrowed().eval()


def _folded(module: torch.nn.Module) -> torch.nn.Module:
    """A copy with batch norms folded into convolutions; a plain copy of what torch.fx cannot trace."""
    from torch.fx.experimental import optimization

    copied = copy.deepcopy(module)
    try:
        return optimization.fuse(copied)  # type: ignore[no-any-return]
    except Exception:  # tracing fails in as many ways as there are modules; an unfolded batch norm is right as well
        return copied


# -- what a file has -------------------------------------------------------------------------------

COMPUTE = ("Conv", "ConvTranspose", "MatMul", "Gemm", "RNN", "GRU", "LSTM", "Attention")
"""Operators in which nearly all the work of a network is done."""

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
"""Operators that quantised numbers pass through on their way to the next layer."""


def precision_of_graph(model: onnx.ModelProto) -> str:
    """What the file's compute nodes compute in: `fp32`, `fp16`, `bf16`, `fp64`, `int8-static` or
    `int8-dynamic`.

    Read from integer operators, QDQ pairs, initialisers and casts. Where float types are mixed they
    are joined by commas; a graph without any floating tensor narrows nothing and counts as `fp32`.
    """
    nodes = list(_nodes(model.graph))
    kinds = {node.op_type for node in nodes}
    if kinds & set(DYNAMIC):
        return "int8-dynamic"
    if kinds & set(STATIC) or int8_share(model)[0]:
        return "int8-static"
    types = _types(model)
    compute = [node for node in nodes if node.op_type in COMPUTE]
    found = _float_names(
        types.get(node.output[0]) or types.get(node.input[min(1, len(node.input) - 1)])
        for node in compute
    )
    if not found:  # no such layer, or none whose type is known: every tensor counts
        found = _float_names(types.values())
    return ",".join(sorted(found)) or "fp32"


def int8_share(model: onnx.ModelProto) -> tuple[int, int]:
    """How many of the graph's compute nodes work on quantised numbers, and how many there are."""
    nodes = list(_nodes(model.graph))
    makers = {output: node for node in nodes for output in node.output}
    integer = sum(node.op_type in STATIC or node.op_type in DYNAMIC[1:] for node in nodes)
    compute = [node for node in nodes if node.op_type in COMPUTE]
    fed = sum(_is_quantised(node.input[0], makers) for node in compute)
    return integer + fed, integer + len(compute)


def _is_quantised(tensor: str, makers: Mapping[str, onnx.NodeProto]) -> bool:
    """Whether a layer's input comes out of a DequantizeLinear that a QuantizeLinear feeds."""
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


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Every node, those of branches and loop bodies included."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner)


def _types(model: onnx.ModelProto) -> dict[str, int]:
    """Element type by tensor name, as far as shape inference knows it."""
    import onnx

    try:
        graph = onnx.shape_inference.infer_shapes(model).graph
    except Exception:  # an operator that onnx does not know; what is written in the file remains
        graph = model.graph
    values = (*graph.input, *graph.output, *graph.value_info)
    known = {value.name: value.type.tensor_type.elem_type for value in values}
    return {**known, **{tensor.name: tensor.data_type for tensor in graph.initializer}}


def _float_names(types: Iterable[int | None]) -> set[str]:
    """The names of the floating types among ONNX's element types; others have no precision to speak
    of.
    """
    from onnx import TensorProto

    names = {
        TensorProto.FLOAT: "fp32",
        TensorProto.FLOAT16: "fp16",
        TensorProto.BFLOAT16: "bf16",
        TensorProto.DOUBLE: "fp64",
    }
    return {names[kind] for kind in types if kind in names}


def without_kernel(error: BaseException) -> str:
    """In words, where ONNX Runtime found no kernel for an operator's type, or an empty string for
    any other error.

    Its message reads `... NOT_IMPLEMENTED : Could not find an implementation for Conv(22) node with
    name 'x'`.
    """
    text = str(error)
    _, found, rest = text.partition("Could not find an implementation for ")
    if not found or "NOT_IMPLEMENTED" not in text:
        return ""
    operator, _, opset = rest.split(" ")[0].rstrip(")").partition("(")
    return (
        f"has no kernel for {operator} (opset {opset})"
        if opset
        else f"has no kernel for {operator}"
    )
