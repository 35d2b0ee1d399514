"""The precision of a TVM program, read from the dtypes that its kernels touch."""

from __future__ import annotations

from collections.abc import Iterable

from backends.torch import precision as torch_precision


def precision_of(dtypes: Iterable[str]) -> str:
    """In the words of a cell, what kernels compute on that touch these dtypes: the narrowest of
    them decides.
    """
    found = set(dtypes)
    if found & {"int8", "uint8"}:
        return "int8-static"
    floats = {torch_precision.NAMES.get(name, name) for name in found if "float" in name}
    return "fp16" if "fp16" in floats else ",".join(sorted(floats))


def emulation(precision: str, device: str) -> str:
    """In words, where a precision is that of storage; an empty string where it is that of the
    arithmetic as well.
    """
    if precision == "int8-static":
        return "values are stored in 8 bits and widened to fp32 before every product"
    return torch_precision.emulated(precision, device)
