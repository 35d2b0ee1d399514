"""Outputs of modules: by declared name for sessions, in declared order for exporters.

A result may be a tensor, or nest tensors in sequences, mappings, dataclasses and caches.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from evenbench.harness import Model, TensorSpec, UsageError

if TYPE_CHECKING:
    import torch

AGAIN = "_out"
"""The suffix of an output with the name of an input: graphs have one namespace for both."""


def named(result: Any, specs: Iterable[TensorSpec] | None, model: str) -> dict[str, torch.Tensor]:
    """The output tensors of a module by declared name, or by default names if `specs` is None.

    Tensors within nested results count as outputs, in order. A declaration may list the tensors on
    the top level alone. Raises UsageError if names or number differ from the declaration.
    """
    import torch

    declared = None if specs is None else [spec.name for spec in specs]
    if isinstance(result, torch.Tensor) and (declared is None or len(declared) == 1):
        return {declared[0] if declared else "output": result}
    whole = _by_name(result)
    if declared is None:
        return whole
    by_key = _fields(_unwrapped(result)) is not None
    for tensors in (whole, _top_level(result)):
        chosen = _chosen(tensors, declared, by_key)
        if chosen is not None:
            return chosen
    shown = sorted(whole) if by_key else f"{len(whole)} outputs"
    raise UsageError(
        f"model {model} returns {'outputs ' if by_key else ''}{shown}, "
        f"but declares {sorted(declared) if by_key else declared}; make them agree"
    )


def distinct(names: Iterable[str], taken: Collection[str]) -> list[str]:
    """Output names, changed by the suffix `_out` where an input has the same name."""
    return [name + AGAIN if name in taken else name for name in names]


def plain(result: Any) -> Any:
    """A result as tensors, dictionaries and tuples; other values are dropped."""
    import torch

    if isinstance(result, torch.Tensor):
        return result
    fields = _fields(result)
    if fields is not None:
        return {name: plain(value) for name, value in fields.items()}
    if isinstance(result, (list, tuple)):
        return tuple(plain(value) for value in result)
    inside = tuple(_tensors(result))
    return inside or None


def _chosen(
    tensors: Mapping[str, torch.Tensor], declared: list[str], by_key: bool
) -> dict[str, torch.Tensor] | None:
    """The tensors by declared name, or None if the declaration is of other tensors."""
    if len(declared) != len(tensors):
        return None
    if not by_key:
        return dict(zip(declared, tensors.values(), strict=True))
    keys = [name if name in tensors else name.removesuffix(AGAIN) for name in declared]
    if sorted(keys) != sorted(tensors):
        return None
    return {name: tensors[key] for name, key in zip(declared, keys, strict=True)}


def _unwrapped(result: Any) -> Any:
    """The mapping in a list of one, as returned by torchvision's detectors for a single image."""
    if isinstance(result, (list, tuple)) and len(result) == 1 and isinstance(result[0], Mapping):
        return result[0]
    return result


def _fields(result: Any) -> Mapping[str, Any] | None:
    """The named parts of a mapping or dataclass; None for other results."""
    if isinstance(result, Mapping):
        return {str(name): value for name, value in result.items()}
    if dataclasses.is_dataclass(result) and not isinstance(result, type):
        return {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}
    return None


def _by_name(result: Any) -> dict[str, torch.Tensor]:
    """Every tensor by default name: keys, and numbers of the tensors nested below a key."""
    fields = _fields(_unwrapped(result))
    if fields is None:
        return _numbered("output", list(_tensors(result)))
    tensors: dict[str, torch.Tensor] = {}
    for key, value in fields.items():
        for name, tensor in _numbered(key, list(_tensors(value))).items():
            free = name
            while free in tensors:
                free += "_"
            tensors[free] = tensor
    return tensors


def _top_level(result: Any) -> dict[str, torch.Tensor]:
    """The tensors outside of nested parts, by default name."""
    import torch

    fields = _fields(_unwrapped(result))
    if fields is not None:
        return {name: value for name, value in fields.items() if isinstance(value, torch.Tensor)}
    values = result if isinstance(result, (list, tuple)) else ()
    return _numbered("output", [value for value in values if isinstance(value, torch.Tensor)])


def _numbered(name: str, tensors: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    if len(tensors) == 1:
        return {name: tensors[0]}
    return {f"{name}_{index}": tensor for index, tensor in enumerate(tensors)}


def _tensors(value: Any, above: tuple[int, ...] = ()) -> Iterator[torch.Tensor]:
    """Every tensor in a result, in order; `above` holds the ids of the enclosing objects.

    Other objects are searched by attribute, such as the caches of transformers.
    """
    import torch

    if isinstance(value, torch.Tensor):
        yield value
        return
    if id(value) in above or isinstance(value, (torch.nn.Module, type)):
        return
    fields = _fields(value)
    parts: Iterable[Any] = ()
    if fields is not None:
        parts = fields.values()
    elif isinstance(value, (list, tuple)):
        parts = value
    elif hasattr(value, "__dict__"):
        parts = vars(value).values()
    for part in parts:
        yield from _tensors(part, (*above, id(value)))


def in_declared_order(module: torch.nn.Module, model: Model) -> torch.nn.Module:
    """`module` with outputs as a tuple in declared order.

    Exporters name outputs by position, and a dict has an order unrelated to the declaration.
    """
    import torch

    class InOrder(torch.nn.Module):
        """A module with ordered outputs."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = module

        def forward(self, *arguments: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return tuple(named(self.inner(*arguments), model.outputs, model.name).values())

    if wrappers(model):
        return InOrder().eval()
    if model.outputs:
        module.register_forward_hook(_only_output(model))
    return module


def _only_output(model: Model) -> Any:
    """A hook with the single declared tensor as result, without another level of names."""
    import torch

    def replace(module: torch.nn.Module, arguments: Any, result: Any) -> Any:
        if isinstance(result, torch.Tensor):
            return None
        return next(iter(named(result, model.outputs, model.name).values()))

    return replace


def wrappers(model: Model) -> int:
    """The number of modules wrapped by `in_declared_order` around the model's module."""
    return int(len(model.outputs) > 1)
