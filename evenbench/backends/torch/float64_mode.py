"""Arithmetic in float64 for modules with types of their own, such as `x.float()` before a softmax.

A golden is the model without rounding, so conversions to narrower types widen instead, and tensors
outside of the state dict take part as float64.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any


def wide() -> AbstractContextManager[Any]:
    """A context with float32, float16 and bfloat16 operations of torch in float64."""
    import torch
    from torch.utils import _pytree as pytree
    from torch.utils._python_dispatch import TorchDispatchMode

    narrow = (torch.float32, torch.float16, torch.bfloat16)
    wider = {
        torch.complex64: torch.complex128,
        torch.complex32: torch.complex128,
        **dict.fromkeys(narrow, torch.float64),
    }
    reinterpreting = (torch.ops.aten.view.dtype,)

    def widened(value: Any) -> Any:
        if isinstance(value, torch.dtype):
            return wider.get(value, value)
        if isinstance(value, torch.Tensor) and value.dtype in wider:
            return value.to(wider[value.dtype])
        return value

    class Wide(TorchDispatchMode):
        """Replaces narrow types in the arguments of every operation."""

        @classmethod
        def _should_skip_dynamo(cls) -> bool:
            return False  # nothing is compiled in this mode, and the guard would import Dynamo

        def __torch_dispatch__(
            self,
            func: Callable[..., Any],
            types: Any,
            args: Any = (),
            kwargs: Any = None,
        ) -> Any:
            keywords = kwargs or {}
            if func in reinterpreting:
                return func(*args, **keywords)
            if func._schema.is_mutable:  # type: ignore[attr-defined]
                return func(*args, **keywords)
            arguments, named = pytree.tree_map(widened, (args, keywords))
            return func(*arguments, **named)

    return Wide()
