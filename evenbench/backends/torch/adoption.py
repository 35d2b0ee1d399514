"""Adoption of a module as returned by `build`: on the CPU, materialised, in float32.

Every precision of a comparison is a cast of one set of weights, so weights stored in a narrower or
wider type become float32 first. Modules without a float64 golden are refused with the reason.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from evenbench.harness import UsageError

if TYPE_CHECKING:
    import torch

STORED = "stored_types"
"""The attribute of an adopted module with the floating types of its weights before the cast."""

QUANTISED = (
    "torch.ao.nn.quantized",
    "torch.ao.nn.intrinsic.quantized",
    "torch.nn.quantized",
    "torchao.quantization",
)
"""The packages of quantised layers, without a float64 form."""


def adopted(
    module: torch.nn.Module, examples: tuple[torch.Tensor, ...], build: str
) -> tuple[torch.nn.Module, tuple[torch.Tensor, ...]]:
    """The module and example tensors on the CPU, in eval mode, with float32 weights.

    Raises UsageError for TorchScript, quantised layers and weights without values.
    """
    import torch

    _refuse(module, build)
    _freeze_unregistered(module)
    module = _on_cpu(module, build)
    examples = tuple(value.detach().cpu() for value in examples)
    _materialise(module, examples, build)
    stored = floating_types(module)
    if not stored:
        return module, examples
    if stored & {"float16", "bfloat16"}:
        _cast(module, (torch.float16, torch.bfloat16))
        examples = tuple(_widened(value) for value in examples)
    elif stored == {"float64"}:
        _cast(module, (torch.float64,))
        examples = tuple(
            value.float() if value.dtype == torch.float64 else value for value in examples
        )
    else:
        return module, examples
    setattr(module, STORED, sorted(stored))
    return module, examples


def floating_types(module: torch.nn.Module) -> set[str]:
    """The floating types of the parameters, or of the buffers without parameters."""
    tensors = list(module.parameters()) or list(module.buffers())
    return {
        str(value.dtype).removeprefix("torch.") for value in tensors if value.is_floating_point()
    }


def cast_note(module: torch.nn.Module) -> str:
    """A clause on the cast of an adopted module, or an empty string."""
    stored = getattr(module, STORED, [])
    if not stored:
        return ""
    return f", stored as {' and '.join(stored)} and cast to float32 for every precision alike"


def _refuse(module: torch.nn.Module, build: str) -> None:
    import torch

    if isinstance(module, torch.jit.ScriptModule):
        raise UsageError(
            f"{build} returned TorchScript; return the module before torch.jit, or save it with "
            "torch.jit.save and run the file model.pt"
        )
    for name, part in module.named_modules():
        if type(part).__module__.startswith(QUANTISED):
            raise UsageError(
                f"{build} returned a quantised module ({name or 'the module'} is "
                f"{type(part).__module__}.{type(part).__name__}), and quantised layers have no "
                "float64 golden; return the float module, and give --precision int8-dynamic"
            )


def uncompiled(module: torch.nn.Module) -> torch.nn.Module:
    """The module inside a module of `torch.compile`: backends compile by themselves, or not."""
    inner = getattr(module, "_orig_mod", None)
    import torch

    return inner if isinstance(inner, torch.nn.Module) else module


def _freeze_unregistered(module: torch.nn.Module) -> None:
    """Drop the gradients of layers in plain lists and dictionaries, which tracers refuse."""
    import torch

    for part in list(module.modules()):
        for value in vars(part).values():
            held = value.values() if isinstance(value, dict) else value
            for inner in held if isinstance(held, (list, tuple)) else ():
                if isinstance(inner, torch.nn.Module):
                    inner.requires_grad_(False).eval()


def _tensors(module: torch.nn.Module) -> Iterable[tuple[str, torch.Tensor]]:
    yield from module.named_parameters()
    yield from module.named_buffers()


def _on_cpu(module: torch.nn.Module, build: str) -> torch.nn.Module:
    devices = {name: value.device.type for name, value in _tensors(module)}
    empty = [name for name, device in devices.items() if device == "meta"]
    if empty:
        raise UsageError(
            f"{build} returned weights on the meta device, without values ({empty[0]}); build the "
            "module on the CPU and load its weights"
        )
    return module.cpu() if set(devices.values()) - {"cpu"} else module


def _materialise(module: torch.nn.Module, examples: tuple[torch.Tensor, ...], build: str) -> None:
    """Give lazy parameters their shapes by a call on the examples."""
    import torch

    lazy = [name for name, value in _tensors(module) if torch.nn.parameter.is_lazy(value)]
    if not lazy:
        return
    if not examples:
        raise UsageError(
            f"{build} returned lazy parameters without shapes ({lazy[0]}); return "
            "(module, example_inputs), or call the module once in the function"
        )
    with torch.no_grad():
        module(*examples)


def _cast(module: torch.nn.Module, narrow: tuple[torch.dtype, ...]) -> None:
    """Cast parameters and buffers of these types to float32, in place."""
    module._apply(lambda value: value.float() if value.dtype in narrow else value)


def _widened(value: torch.Tensor) -> torch.Tensor:
    import torch

    return value.float() if value.dtype in (torch.float16, torch.bfloat16) else value


def explained(error: Exception, module: torch.nn.Module, build: str) -> UsageError | None:
    """The error for a module with casts of its own to another type than its weights', or None."""
    stored: Any = getattr(module, STORED, [])
    words = str(error)
    if not stored or not any(word in words for word in ("dtype", "scalar type", "Half", "BFloat")):
        return None
    first = next((line.strip() for line in words.splitlines() if line.strip()), "")
    return UsageError(
        f"{build} returned {' and '.join(stored)} weights, which evenbench casts to float32, and "
        f"forward still converts values to a fixed type ({first[:200]}); convert to the type of "
        "the weights or of the input instead, as in x.to(self.weight.dtype)"
    )
