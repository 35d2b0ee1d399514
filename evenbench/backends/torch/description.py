"""Facts shared by the descriptions of torch's files: TorchScript, exported programs, packages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.harness import UsageError

if TYPE_CHECKING:
    import torch

SCRIPT, PROGRAM, PACKAGE = "TorchScript", "exported program", "AOTInductor package"


def imported_torch(file: Path) -> Any:
    """The torch module for reading `file`. Raises UsageError if torch is not installed."""
    try:
        import torch
    except ImportError as error:
        raise UsageError(
            f"{file}: reading it needs torch; pip install 'evenbench[torch]'"
        ) from error
    return torch


def facts(form: str, file: Path, **known: Any) -> dict[str, Any]:
    """The facts common to all formats: the `known` facts, and empty values for missing facts."""
    empty: dict[str, Any] = {
        "external_data": [],
        "opset": {},
        "metadata": {},
        "computes_in": "",
        "precision_changes": [],
        "notes": [],
    }
    return {"format": form, "bytes": file.stat().st_size, **empty, **known}


def parameters(tensors: Iterable[torch.Tensor]) -> dict[str, Any]:
    """The count and bytes of weights, each tensor once, without integer counters and shapes."""
    import torch

    by_dtype: dict[str, dict[str, int]] = {}
    for tensor in {id(tensor): tensor for tensor in tensors}.values():
        if tensor.dtype not in (torch.int64, torch.int32, torch.bool):
            entry = by_dtype.setdefault(
                str(tensor.dtype).removeprefix("torch."), {"count": 0, "bytes": 0}
            )
            entry["count"] += tensor.numel()
            entry["bytes"] += tensor.numel() * tensor.element_size()
    return summed(by_dtype)


def summed(by_dtype: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    """The counts and bytes of weights in total and by dtype."""
    total = {key: sum(entry[key] for entry in by_dtype.values()) for key in ("count", "bytes")}
    return {**total, "by_dtype": {dtype: dict(entry) for dtype, entry in sorted(by_dtype.items())}}


def float_names(parameters: Mapping[str, Any]) -> str:
    """The precisions of the stored weights, sorted and joined by commas."""
    names = {
        "float32": "fp32",
        "float16": "fp16",
        "bfloat16": "bf16",
        "float64": "fp64",
        "int8": "int8",
        "uint8": "int8",
    }
    return ",".join(sorted({names[dtype] for dtype in parameters["by_dtype"] if dtype in names}))


def histogram(operators: Iterable[str]) -> dict[str, int]:
    """The number of operators by name, most common first."""
    return dict(Counter(operators).most_common())


def error_summary(error: BaseException) -> str:
    """The type of an error and the last line of the message, at most 300 characters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1] if lines else 'without a reason'}"[:300]
