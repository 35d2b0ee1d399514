"""Shapes of a file's outputs for chosen sizes of its inputs: inferred, or seen in a trial run."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evenbench.backends.onnx.file_inputs.consumers import Consumers
from evenbench.backends.onnx.file_inputs.declared import Declared
from evenbench.harness import ANY, BATCH

if TYPE_CHECKING:
    import onnx

Shape = tuple[int | str, ...]


@dataclass(frozen=True)
class Known:
    """Sizes by the names of dimensions, and the names of the batch.

    `batch` is the size in question; with `is_only`, no other batch size is needed.
    """

    named: Mapping[str, int]
    batch_names: Collection[str]
    batch: int
    is_only: bool


def inferred(
    model: onnx.ModelProto,
    outputs: Sequence[Declared],
    inputs: Mapping[str, Shape],
    known: Known,
) -> dict[str, Shape]:
    """The shape of each output, as far as onnx infers it; unknown sizes keep their names.

    Sizes inferred with two batch sizes show the axes of the batch.
    """
    one, two = (_shapes(model, filled(inputs, known.batch + more)) for more in (0, 1))
    return {
        output.name: _combined(output, one.get(output.name), two.get(output.name), known)
        for output in outputs
    }


def filled(inputs: Mapping[str, Shape], batch: int) -> dict[str, list[int]]:
    """The shapes of inputs at a batch size."""
    return {
        name: [batch if size == BATCH else int(size) for size in shape]
        for name, shape in inputs.items()
    }


Shapes = Mapping[str, Sequence[int]]


def of_runs(
    outputs: Sequence[Declared],
    inferred: Mapping[str, Shape],
    one: Shapes,
    two: Shapes,
    others: Sequence[Shapes],
    known: Known,
) -> dict[str, Shape]:
    """The shape of each output from trial runs, and from inference for outputs without a shape.

    `one` and `two` are runs at batch sizes that differ by one, `others` runs on other values.
    """
    sizes: dict[str, Shape] = {}
    for output in outputs:
        name = output.name
        seen = _combined(output, one.get(name), two.get(name), known)
        sizes[name] = inferred.get(name, seen)
        if name in one:
            runs = [one[name], *(other[name] for other in others if name in other)]
            sizes[name] = varied(opened(output, inferred.get(name, ()), seen), runs)
    return sizes


def opened(output: Declared, inferred: Shape, shape: Shape) -> Shape:
    """The `shape` of a trial run, with `ANY` for a number of rows that depends on values.

    The file names such a size, no input has the name, and inference finds no number. Exporters name
    fixed sizes too, so a size on another axis is open only if it varies between runs.
    """
    name = output.shape[0] if output.shape else ""
    depends = isinstance(name, str) and name and inferred[:1] == (name,)
    return (ANY, *shape[1:]) if depends and BATCH not in shape else shape


def varied(shape: Shape, runs: Sequence[Sequence[int]]) -> Shape:
    """The `shape` with `ANY` for sizes that differ between `runs` on other values."""
    if any(len(run) != len(shape) for run in runs):
        return shape
    sizes = zip(shape, *runs, strict=True)
    return tuple(size if len(set(seen)) == 1 else ANY for size, *seen in sizes)


def _shapes(model: onnx.ModelProto, shapes: dict[str, list[int]]) -> dict[str, list[int]]:
    graph = Consumers(model, dict(shapes))
    known = {value.name: graph.partial_shape(value.name) for value in model.graph.output}
    return {name: shape for name, shape in known.items() if shape is not None}


def _combined(
    output: Declared, one: Sequence[int] | None, two: Sequence[int] | None, known: Known
) -> Shape:
    """The sizes of an output from its shapes at two batch sizes; -1 is unknown."""
    declared = output.shape
    if one is None:
        one = [-1] * len(declared or ("?",))
    if two is None or len(two) != len(one):
        two = [-1] * len(one) if two is not None or -1 in one else one
    names = declared if declared and len(declared) == len(one) else ("?",) * len(one)
    sizes: list[int | str] = []
    for name, first, second in zip(names, one, two, strict=True):
        sizes.append(_size(name, first, second, known, BATCH in sizes))
    return tuple(sizes)


def _size(name: int | str, first: int, second: int, known: Known, has_batch: bool) -> int | str:
    if -1 not in (first, second):
        if second - first == 1 and first == known.batch and not has_batch:
            return BATCH
        # A size such as batch * classes has a number at a single batch size only.
        return first if first == second or known.is_only else f"{first} at batch {known.batch}"
    if first != -1 and known.is_only:
        return first
    if isinstance(name, int):
        return name
    if name in known.batch_names and name and not has_batch:
        return BATCH
    return known.named.get(name, name or "?")
