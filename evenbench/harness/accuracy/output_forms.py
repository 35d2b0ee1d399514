"""The form of outputs: names, dtypes and shapes, checked before any value."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from evenbench.harness.accuracy import output_values

if TYPE_CHECKING:
    import numpy as np

    from evenbench.harness.core.tensor_specs import TensorSpec

    Array = np.ndarray[Any, Any]


def problem(
    outputs: Mapping[str, Any],
    golden: Mapping[str, Any],
    specs: Sequence[TensorSpec],
    objects: Collection[str],
) -> str:
    """The first wrong name, dtype or shape as text, or an empty string.

    The outputs in `objects` have any number of rows, because objects are matched.
    """
    expected = [spec.name for spec in specs]
    if sorted(outputs) != sorted(expected):
        return f"outputs are named {sorted(outputs)}, the model declares {sorted(expected)}"
    for spec in specs:
        output, wanted = outputs[spec.name], golden[spec.name]
        if not isinstance(wanted, list):
            wrong = _fixed_form(spec, output, wanted)
        else:
            wrong = _open_form(spec, output, wanted, spec.name in objects)
        if wrong:
            return wrong
    return ""


def _fixed_form(spec: TensorSpec, output: Array, golden: Array) -> str:
    if not _has_dtype(output, spec):
        return f"output {spec.name} is {output.dtype}, the model declares {spec.dtype}"
    if output.shape != golden.shape:
        return (
            f"output {spec.name} has shape {list(output.shape[1:])}, the golden has "
            f"{list(golden.shape[1:])}"
        )
    return ""


def _has_dtype(output: Array, spec: TensorSpec) -> bool:
    if spec.dtype in output_values.TEXTS:
        return output_values.is_text(output)
    return str(output.dtype) == spec.dtype


def _open_form(
    spec: TensorSpec, output: Sequence[Array], golden: Sequence[Array], any_rows: bool
) -> str:
    """The same for an output with a data-dependent shape, an array per batch."""
    if len(output) != len(golden):
        return f"output {spec.name} came {len(output)} times, the golden {len(golden)} times"
    for array, expected in zip(output, golden, strict=True):
        if not _has_dtype(array, spec):
            return f"output {spec.name} is {array.dtype}, the model declares {spec.dtype}"
        if not any_rows and array.shape != expected.shape:
            return (
                f"output {spec.name} has shape {list(array.shape)} for one of the inputs, the "
                f"golden has {list(expected.shape)}: another number of values was selected"
            )
        if array.shape[1:] != expected.shape[1:] or array.ndim != expected.ndim:
            return (
                f"output {spec.name} has shape {list(array.shape)}, the golden has "
                f"{list(expected.shape)}: they differ in more than a number"
            )
    return ""
