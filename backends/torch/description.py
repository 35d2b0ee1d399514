"""What torch's own files say of themselves: TorchScript, exported programs and AOTInductor
packages.

TorchScript and exported programs are read by torch; nothing of a package is loaded, which would run
its native code.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import UsageError

if TYPE_CHECKING:
    import torch

SCRIPT, PROGRAM, PACKAGE = "TorchScript", "exported program", "AOTInductor package"


def imported_torch(file: Path) -> Any:
    try:
        import torch
    except ImportError as error:
        raise UsageError(
            f"{file}: reading it needs torch; pip install 'evenbench[torch]'"
        ) from error
    return torch


def facts(form: str, file: Path, **found: Any) -> dict[str, Any]:
    """The facts of every format, those that this one has not left empty."""
    empty: dict[str, Any] = {
        "external_data": [],
        "opset": {},
        "metadata": {},
        "computes_in": "",
        "precision_changes": [],
        "notes": [],
    }
    return {"format": form, "bytes": file.stat().st_size, **empty, **found}


def parameters(tensors: Iterable[torch.Tensor]) -> dict[str, Any]:
    """Count and bytes of weights, each storage once; tensors of whole numbers beside int8 are
    counters and shapes.
    """
    import torch

    found: dict[str, dict[str, int]] = {}
    for tensor in {id(tensor): tensor for tensor in tensors}.values():
        if tensor.dtype not in (torch.int64, torch.int32, torch.bool):
            entry = found.setdefault(
                str(tensor.dtype).removeprefix("torch."), {"count": 0, "bytes": 0}
            )
            entry["count"] += tensor.numel()
            entry["bytes"] += tensor.numel() * tensor.element_size()
    return summed(found)


def summed(found: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    total = {key: sum(entry[key] for entry in found.values()) for key in ("count", "bytes")}
    return {**total, "by_dtype": {dtype: dict(entry) for dtype, entry in sorted(found.items())}}


def float_names(parameters: Mapping[str, Any]) -> str:
    """What the weights are stored in, in the words of precisions."""
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
    return dict(Counter(operators).most_common())


def first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1] if lines else 'without a reason'}"[:300]
