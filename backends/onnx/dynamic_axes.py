"""Axes that an exported file leaves open, so that one session runs inputs of several sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness import BATCH, Cell, TensorSpec, Unsupported
from harness.core import dynamic_axes as size_axes
from harness.core.dynamic_axes import SIZE

if TYPE_CHECKING:
    import torch


OPEN = (BATCH, SIZE)
"""What of a file may be left open."""


DYNAMIC = {
    "dynamic": f"what the ONNX file leaves open, so that one session answers any: '{BATCH}', '{SIZE}' (the axes that differ between the "
    f"sizes that a model declares), or '{BATCH},{SIZE}'; without it all sizes are fixed"
}
"""The same for those backends whose sessions can answer inputs of several sizes."""


def left_open(cell: Cell) -> tuple[str, ...]:
    """What one session of the cell is to answer any of: the batch, the model's sizes, both or
    nothing.
    """
    asked = str(cell.option.get("dynamic", "")).split(",")
    return tuple(what for what in OPEN if what in asked)


def open_axes(cell: Cell, spec: TensorSpec) -> tuple[int, ...]:
    """The axes of an input or output that the cell's file leaves open."""
    asked = left_open(cell)
    batch = (0,) if BATCH in asked and spec.is_batched else ()
    return (
        *batch,
        *(size_axes.changing(cell.model).get(spec.name, ()) if SIZE in asked else ()),
    )


def labels(cell: Cell) -> tuple[str, ...]:
    """The labels of a cell whose session answers inputs of any such size."""
    return tuple(f"any {what}" for what in left_open(cell))


def exporter_arguments(module: torch.nn.Module, cell: Cell, dynamo: bool) -> dict[str, Any]:
    """The exporter's argument that leaves sizes open, with a name for each open axis of every
    declared tensor.
    """
    import inspect

    import torch

    named = {
        spec.name: _named_axes(cell, spec) for spec in (*cell.model.inputs, *cell.model.outputs)
    }
    if not dynamo:
        return {"dynamic_axes": {name: axes for name, axes in named.items() if axes}}
    # A batch is the same of all inputs, which a `Dim` says. Of other axes the exporter is to find
    # out: names alone leave that to it.
    size = torch.export.Dim(BATCH) if left_open(cell) == (BATCH,) else None
    axes = tuple(
        dict.fromkeys(named[spec.name], size) if size else named[spec.name]
        for spec in cell.model.inputs
    )
    takes = inspect.signature(module.forward).parameters.values()
    return {
        "dynamic_shapes": (axes,)
        if any(each.kind is each.VAR_POSITIONAL for each in takes)
        else axes
    }


def _named_axes(cell: Cell, spec: TensorSpec) -> dict[int, str]:
    return {
        axis: BATCH if spec.is_batched and axis == 0 else f"{spec.name}_{axis}"
        for axis in open_axes(cell, spec)
    }


def check_exported(graph: Any, cell: Cell, exporter: str) -> None:
    """Raise Unsupported where the exporter fixed an open size of an input or output all the same."""
    named = {
        value.name: value.type.tensor_type.shape.dim for value in (*graph.input, *graph.output)
    }
    for spec in (*cell.model.inputs, *cell.model.outputs):
        for axis in open_axes(cell, spec):
            size = named[spec.name][axis] if axis < len(named[spec.name]) else None
            if size is None or not size.dim_param:
                what = "the batch" if spec.is_batched and axis == 0 else f"axis {axis}"
                fixed = size.dim_value if size is not None else "nothing"
                asked = f"asked for dynamic={cell.option['dynamic']}"
                raise Unsupported(
                    f"{asked}, and exporter {exporter} fixed {what} of {spec.name} to {fixed}"
                )


def check_left_open(cell: Cell, shapes: Mapping[str, Sequence[int | str | None]]) -> None:
    """Raise Unsupported where the loaded network fixed an open size of an input. `shapes` are the
    inputs' as the runtime tells them, by name; a size that is no number is open."""
    for spec in cell.model.inputs:
        if any(isinstance(shapes[spec.name][axis], int) for axis in open_axes(cell, spec)):
            taken = f"the loaded network takes {spec.name} of {list(shapes[spec.name])} only"
            raise Unsupported(f"asked for dynamic={cell.option['dynamic']}, and {taken}")
