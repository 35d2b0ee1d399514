"""Open axes of exported files: a session then runs inputs of several sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from evenbench.harness import BATCH, Cell, TensorSpec, Unsupported
from evenbench.harness.core import dynamic_axes as size_axes
from evenbench.harness.core.dynamic_axes import SIZE

if TYPE_CHECKING:
    import torch


OPEN = (BATCH, SIZE)
"""The kinds of open axes."""


DYNAMIC = {
    "dynamic": (
        f"open axes of the ONNX file, for sessions on inputs of any size: '{BATCH}', '{SIZE}' (the "
        f"axes that differ between the declared sizes of the model), or '{BATCH},{SIZE}'; "
        "all sizes are fixed by default"
    )
}
"""The option of backends with sessions on inputs of several sizes."""


def left_open(cell: Cell) -> tuple[str, ...]:
    """The kinds of axes left open in the cell's file: batch, sizes, both or none."""
    requested = str(cell.option.get("dynamic", "")).split(",")
    return tuple(kind for kind in OPEN if kind in requested)


def refuses(cell: Cell) -> str:
    """The reason why the option `dynamic` does not fit the cell, or an empty string."""
    kinds, name = left_open(cell), cell.model.name
    if "dynamic" in cell.option and sorted(kinds) != sorted(str(cell.option["dynamic"]).split(",")):
        allowed = f"{BATCH!r}, {SIZE!r} or '{BATCH},{SIZE}'"
        return f"dynamic is {allowed}, not {cell.option['dynamic']!r}; other sizes are fixed"
    if BATCH in kinds and all(spec.batch_axis is None for spec in cell.model.inputs):
        return f"dynamic={BATCH} opens the batch axis, and no input of {name} declares a batch axis"
    if SIZE in kinds and not cell.model.sizes:
        axes = "opens the axes that differ between the sizes of a model"
        return f"dynamic={SIZE} {axes}, and {name} declares a single size; declare sizes="
    return ""


def open_axes(cell: Cell, spec: TensorSpec) -> tuple[int, ...]:
    """The axes of an input or output left open in the cell's file."""
    kinds = left_open(cell)
    batch = (spec.batch_axis,) if BATCH in kinds and spec.batch_axis is not None else ()
    sizes = size_axes.changing(cell.model).get(spec.name, ()) if SIZE in kinds else ()
    return (*batch, *sizes)


def labels(cell: Cell) -> tuple[str, ...]:
    """The labels of a cell with sessions on inputs of any size."""
    return tuple(f"any {kind}" for kind in left_open(cell))


def exporter_arguments(module: torch.nn.Module, cell: Cell, dynamo: bool) -> dict[str, Any]:
    """The exporter's argument for open axes, with a name for each open axis of declared tensors."""
    import inspect

    import torch

    named = {
        spec.name: _named_axes(cell, spec) for spec in (*cell.model.inputs, *cell.model.outputs)
    }
    if not dynamo:
        return {"dynamic_axes": {name: axes for name, axes in named.items() if axes}}
    # A `Dim` declares equal batches of all inputs. For other axes, names let the exporter determine
    # equal sizes.
    size = torch.export.Dim(BATCH) if left_open(cell) == (BATCH,) else None
    axes = tuple(
        dict.fromkeys(named[spec.name], size) if size else named[spec.name]
        for spec in cell.model.inputs
    )
    parameters = inspect.signature(module.forward).parameters.values()
    variadic = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters)
    return {"dynamic_shapes": (axes,) if variadic else axes}


def _named_axes(cell: Cell, spec: TensorSpec) -> dict[int, str]:
    return {
        axis: BATCH if axis == spec.batch_axis else f"{spec.name}_{axis}"
        for axis in open_axes(cell, spec)
    }


def check_exported(graph: Any, cell: Cell, exporter: str) -> None:
    """Raise Unsupported if the exporter fixed an open axis of an input or output."""
    named = {
        value.name: value.type.tensor_type.shape.dim for value in (*graph.input, *graph.output)
    }
    for spec in (*cell.model.inputs, *cell.model.outputs):
        for axis in open_axes(cell, spec):
            size = named[spec.name][axis] if axis < len(named[spec.name]) else None
            if size is None or not size.dim_param:
                label = "the batch" if axis == spec.batch_axis else f"axis {axis}"
                fixed = size.dim_value if size is not None else "nothing"
                raise Unsupported(
                    f"requested dynamic={cell.option['dynamic']}, "
                    f"but exporter {exporter} fixed {label} of {spec.name} to {fixed}"
                )


def check_left_open(cell: Cell, shapes: Mapping[str, Sequence[int | str | None]]) -> None:
    """Raise Unsupported if the loaded network fixed an open axis of an input.

    `shapes` maps input names to the shapes reported by the runtime; non-integer sizes are open.
    """
    for spec in cell.model.inputs:
        if any(isinstance(shapes[spec.name][axis], int) for axis in open_axes(cell, spec)):
            raise Unsupported(
                f"requested dynamic={cell.option['dynamic']}, "
                f"but the loaded network takes {spec.name} of {list(shapes[spec.name])} only"
            )
