"""int8 by ONNX Runtime: linear layers with run-time ranges, or whole graphs calibrated ahead."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from backends.onnx import graph, precision
from harness import Cell, Unsupported
from harness.environment import system_info
from harness.inputs import batches

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


def dynamic_key(cell: Cell) -> dict[str, Any]:
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


def static_key(cell: Cell) -> dict[str, Any]:
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


def _activations(cell: Cell) -> str:
    return str(cell.option.get("activations", "u8" if cell.device == "cpu" else "s8"))


def saturates(flags: Iterable[str], device: str = "cpu") -> bool:
    """Whether u8 times s8 overflows 16 bits on this CPU: x86 without VNNI. Weights are then given
    seven bits.
    """
    return device == "cpu" and "avx2" in flags and not any("vnni" in flag for flag in flags)


def to_int8_dynamic(file: Path, cell: Cell, calibration: Mapping[str, Path]) -> None:
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(str(file))
    found = [node.op_type for node in graph.nodes(model.graph) if node.op_type in precision.COMPUTE]
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


def to_int8_static(file: Path, cell: Cell, calibration: Mapping[str, Path]) -> None:
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    settings, symmetric = static_key(cell), _activations(cell) == "s8"
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
