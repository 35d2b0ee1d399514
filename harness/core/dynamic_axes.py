"""One network at several sizes: what a model may declare so, and which axes of its tensors change
between them.

A size is a declaration of its own, such as the same text encoder for 64 tokens beside the one for
128: with the inputs of that size, so that its answers can be judged. Build and weights are one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

SIZE = "size"
"""What changes between the sizes of a model, beside the batch: in the words of a scenario and of a
backend's option.
"""


class Spec(Protocol):
    """What is asked of a `TensorSpec`."""

    @property
    def name(self) -> str: ...
    @property
    def shape(self) -> tuple[int | str, ...]: ...
    @property
    def dtype(self) -> str: ...


class Declared(Protocol):
    """What is asked of a `Model`."""

    @property
    def name(self) -> str: ...
    @property
    def build(self) -> Any: ...
    @property
    def file(self) -> str: ...
    @property
    def weights(self) -> Any: ...
    @property
    def inputs(self) -> Sequence[Spec]: ...
    @property
    def outputs(self) -> Sequence[Spec]: ...
    @property
    def sizes(self) -> Sequence[Declared]: ...


def problem(model: Declared) -> str:
    """Why what a model names in `sizes` cannot be sizes of it, or an empty string."""
    seen = [_shapes(model)]
    for other in model.sizes:
        if other.sizes:
            return f"sizes= names {other.name}, which has sizes of its own; list them all in one"
        if (other.build, other.file, other.weights) != (model.build, model.file, model.weights):
            return f"sizes= names {other.name}, whose build=, file= or weights= are others; the sizes of a model are one network"
        outputs = _frame(model.outputs)
        if _frame(other.inputs) != _frame(model.inputs) or not all(
            each in outputs for each in _frame(other.outputs)
        ):
            return (
                f"sizes= names {other.name}, whose tensors differ in more than their sizes; names, types, the number of axes and the "
                "batch must be those of the model"
            )
        if _shapes(other) in seen:
            return f"sizes= names {other.name}, whose inputs are as large as others there; name each size once"
        seen.append(_shapes(other))
    return ""


def _shapes(model: Declared) -> list[tuple[int | str, ...]]:
    return [spec.shape for spec in model.inputs]


def _frame(specs: Sequence[Spec]) -> list[tuple[Any, ...]]:
    """Of every tensor what sizes may not change: numbers are sizes, and a name such as `batch` is
    none.
    """
    return [
        (spec.name, spec.dtype, [size if isinstance(size, str) else 0 for size in spec.shape])
        for spec in specs
    ]


def changing(model: Declared) -> dict[str, tuple[int, ...]]:
    """The axes whose size is not the same in all sizes of a model, by the name of the input or
    output; those without are left out.
    """
    inputs, outputs = [each.inputs for each in model.sizes], [each.outputs for each in model.sizes]
    return {**_changing(model.inputs, inputs), **_changing(model.outputs, outputs)}


def _changing(
    specs: Sequence[Spec], others: Sequence[Sequence[Spec]]
) -> dict[str, tuple[int, ...]]:
    known = [{spec.name: spec.shape for spec in each} for each in others]
    found: dict[str, tuple[int, ...]] = {}
    for spec in specs:
        shapes = [each[spec.name] for each in known if spec.name in each]
        axes = tuple(
            axis
            for axis, size in enumerate(spec.shape)
            if any(shape[axis : axis + 1] != (size,) for shape in shapes)
        )
        found |= {spec.name: axes} if axes else {}
    return found


def label(model: Declared, of: Declared) -> str:
    """One of the sizes `of` a model (or itself) for people: the shape of a sample of each input
    that changes, `128` or `3x160x224`.

    Shapes that are equal stand there once.
    """
    changed = changing(of)
    samples = [
        [size for size in spec.shape if not isinstance(size, str)]
        for spec in model.inputs
        if spec.name in changed
    ]
    shapes = ["x".join(map(str, sample)) for sample in samples]
    return shapes[0] if len(set(shapes)) == 1 else "+".join(shapes)
