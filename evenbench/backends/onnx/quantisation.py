"""int8 by ONNX Runtime: linear layers with run-time ranges, or whole graphs calibrated ahead."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from evenbench.backends.onnx import graph, precision
from evenbench.harness import Cell, Unsupported
from evenbench.harness.environment import system_info
from evenbench.harness.inputs import batches

OPTIONS = {
    "activations": (
        "type of int8-static activations: 'u8' (asymmetric; default on a CPU) or 's8' (symmetric; "
        "default elsewhere, required by TensorRT)"
    ),
    "ranges": "calibration method of int8-static: 'minmax' (default), 'entropy' or 'percentile'",
}
"""The options of the conversion, for all backends with the shared ONNX file."""


CHOICES = {"activations": ("u8", "s8"), "ranges": ("minmax", "entropy", "percentile")}


LINEAR = ("MatMul", "Gemm")
"""The operators quantised by int8-dynamic. ONNX Runtime's dynamic convolutions were several times
slower than fp32.
"""


def dynamic_key(cell: Cell) -> dict[str, Any]:
    """The cache key of int8-dynamic conversion."""
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
    """The cache key of int8-static conversion."""
    return {
        "by": "onnxruntime.quantization.quantize_static",
        "version": batches.version_of("onnxruntime"),
        "format": "QDQ",
        "weights": "s8 symmetric, per channel",
        "activations": {"u8": "u8 asymmetric", "s8": "s8 symmetric"}[_activations(cell)],
        "ranges": cell.option.get("ranges", "minmax"),
        "bias": "fp32",  # TensorRT rejects int32; ONNX Runtime and OpenVINO quantise biases on load
        "reduce_range": saturates(system_info.describe()["cpu_flags"], cell.device),
    }


def _activations(cell: Cell) -> str:
    return str(cell.option.get("activations", "u8" if cell.device == "cpu" else "s8"))


def saturates(flags: Iterable[str], device: str = "cpu") -> bool:
    """Whether products of u8 and s8 overflow 16 bits on the CPU, as on x86 without VNNI.

    Weights then get seven bits.
    """
    return device == "cpu" and "avx2" in flags and not any("vnni" in flag for flag in flags)


def to_int8_dynamic(file: Path, cell: Cell, calibration: Mapping[str, Path]) -> None:
    """Quantise the linear layers of `file` in place, with ranges computed at run time."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(str(file))
    layers = [
        node.op_type for node in graph.nodes(model.graph) if node.op_type in precision.COMPUTE
    ]
    if not any(kind in LINEAR for kind in layers):
        raise Unsupported(
            f"int8-dynamic quantises linear layers, and {cell.model.name} has none; its "
            f"{len(layers)} convolutions would run slower than in fp32: use int8-static"
        )
    del model.graph.value_info[:]  # the quantiser transposes weights, so shapes would be wrong
    quantize_dynamic(
        model,
        str(file),
        weight_type=QuantType.QInt8,
        per_channel=True,
        op_types_to_quantize=list(LINEAR),
    )


def to_int8_static(file: Path, cell: Cell, calibration: Mapping[str, Path]) -> None:
    """Quantise `file` in place as QDQ, with ranges from the calibration samples."""
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    settings, symmetric = static_key(cell), _activations(cell) == "s8"
    methods = {
        "minmax": CalibrationMethod.MinMax,
        "entropy": CalibrationMethod.Entropy,
        "percentile": CalibrationMethod.Percentile,
    }
    # The exporter has folded constants already, and ONNX Runtime's optimiser would decompose
    # functions such as HardSwish.
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
    """Yield each calibration batch as a dict of arrays by input name."""
    import numpy as np

    arrays = {name: np.load(path) for name, path in calibration.items()}
    for index in range(len(next(iter(arrays.values())))):
        yield {name: array[index] for name, array in arrays.items()}


def _reader(calibration: Mapping[str, Path]) -> Any:
    """The calibration batches as the data reader of ONNX Runtime's quantiser."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """Returns the next batch, or None at the end."""

        def __init__(self) -> None:
            self.batches = feeds(calibration)

        def get_next(self) -> dict[str, Any] | None:
            return next(self.batches, None)

    return Reader()
