"""One network at several sizes: valid declarations, and axes with a different size in specs.

Each size is a declaration with separate inputs, and with the same build and weights, such as a text
encoder for 64 tokens and for 128 tokens, so that outputs at every size can be judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

SIZE = "size"
"""The name of a change between a model's sizes, in scenarios and in backends' options."""


class Spec(Protocol):
    """The attributes of a `TensorSpec` needed here."""

    @property
    def name(self) -> str: ...
    @property
    def shape(self) -> tuple[int | str, ...]: ...
    @property
    def dtype(self) -> str: ...


class Declared(Protocol):
    """The attributes of a `Model` needed here."""

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
    """The reason a model's `sizes` are invalid, or an empty string."""
    known_shapes = [_shapes(model)]
    for other in model.sizes:
        if other.sizes:
            return f"sizes= names {other.name}, a model with sizes; list all sizes in one model"
        if (other.build, other.file, other.weights) != (model.build, model.file, model.weights):
            return (
                f"sizes= names {other.name} with another build=, file= or weights=; all sizes "
                "of a model share one network"
            )
        outputs = _frame(model.outputs)
        if _frame(other.inputs) != _frame(model.inputs) or not all(
            frame in outputs for frame in _frame(other.outputs)
        ):
            return (
                f"sizes= names {other.name}, whose tensors differ in more than their sizes; "
                "names, types, the number of axes and the "
                "batch must be those of the model"
            )
        if _shapes(other) in known_shapes:
            return (
                f"sizes= names {other.name}, and another size with equal inputs; name each size "
                "once"
            )
        known_shapes.append(_shapes(other))
    return ""


def _shapes(model: Declared) -> list[tuple[int | str, ...]]:
    return [spec.shape for spec in model.inputs]


def _frame(specs: Sequence[Spec]) -> list[tuple[Any, ...]]:
    """Names, dtypes and symbolic dimensions (`batch`) of all tensors: equal in all sizes."""
    return [
        (spec.name, spec.dtype, [size if isinstance(size, str) else 0 for size in spec.shape])
        for spec in specs
    ]


def changing(model: Declared) -> dict[str, tuple[int, ...]]:
    """Axes that change between a model's sizes, by input or output, without constant tensors."""
    inputs, outputs = [size.inputs for size in model.sizes], [size.outputs for size in model.sizes]
    return {**_changing(model.inputs, inputs), **_changing(model.outputs, outputs)}


def _changing(
    specs: Sequence[Spec], others: Sequence[Sequence[Spec]]
) -> dict[str, tuple[int, ...]]:
    known = [{spec.name: spec.shape for spec in specs} for specs in others]
    axes_by_name: dict[str, tuple[int, ...]] = {}
    for spec in specs:
        shapes = [specs[spec.name] for specs in known if spec.name in specs]
        axes = tuple(
            axis
            for axis, size in enumerate(spec.shape)
            if any(shape[axis : axis + 1] != (size,) for shape in shapes)
        )
        axes_by_name |= {spec.name: axes} if axes else {}
    return axes_by_name


def label(model: Declared, of: Declared) -> str:
    """The label of a size: sample shapes of the changing inputs, such as `128` or `3x160x224`.

    Equal shapes appear once. `of` is the model with all sizes.
    """
    changed = changing(of)
    samples = [
        [size for size in spec.shape if not isinstance(size, str)]
        for spec in model.inputs
        if spec.name in changed
    ]
    shapes = ["x".join(map(str, sample)) for sample in samples]
    return shapes[0] if len(set(shapes)) == 1 else "+".join(shapes)
