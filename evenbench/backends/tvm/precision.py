"""The precision of a TVM program, read from the kernels' dtypes."""

from __future__ import annotations

from collections.abc import Iterable

from evenbench.backends.torch import precision as torch_precision


def precision_of(dtypes: Iterable[str]) -> str:
    """Return the precision of kernels by dtypes: the narrowest decides."""
    kinds = set(dtypes)
    if kinds & {"int8", "uint8"}:
        return "int8-static"
    floats = {torch_precision.NAMES.get(name, name) for name in kinds if "float" in name}
    return "fp16" if "fp16" in floats else ",".join(sorted(floats))


def emulation(precision: str, device: str) -> str:
    """Explain a difference between the precisions of storage and arithmetic, or return ""."""
    if precision == "int8-static":
        return "values are stored in 8 bits and widened to fp32 before every product"
    return torch_precision.emulated(precision, device)
