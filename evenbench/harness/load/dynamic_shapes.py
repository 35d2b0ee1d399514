"""Call pattern with changing shapes: batch sizes, input sizes or both, on a loaded session.

The first call of a new shape pays for generated code and allocated buffers, so first calls are
recorded apart from later calls. Parity judges the outputs of every shape.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from evenbench.harness.core import dynamic_axes
from evenbench.harness.core.errors import Unsupported
from evenbench.harness.core.tensor_specs import TensorSpec
from evenbench.harness.core.types import Model
from evenbench.harness.load.context import DeclaredSize, JudgedOutputs, LoadContext, Points

if TYPE_CHECKING:
    from evenbench.harness.core.session import Arrays

MAX_ROUNDS = 1000
"""Upper limit for very short calls."""


@dataclass
class Shape:
    """A batch size at one of the model's sizes, with inputs, laps and outputs of the calls."""

    model: Model
    batches: Sequence[Arrays]
    batch: int
    whole: int
    """Samples per stored batch; calls take slices of `batch` samples."""
    judged: JudgedOutputs
    """Destination of the outputs, shared by all batch sizes of the same size."""
    label: str = ""
    """Label of the model's size, for changing sizes."""
    is_known: bool = False
    """Whether loading and warm-up used this shape, the cell's own."""
    first_ns: int | None = None
    laps_ns: list[int] = field(default_factory=list)
    builds: int | None = None
    outputs: dict[int, dict[str, Any]] = field(default_factory=dict)

    @property
    def starts(self) -> list[int]:
        """First samples of the slices; together the slices cover a stored batch."""
        return [min(start, self.whole - self.batch) for start in range(0, self.whole, self.batch)]

    @property
    def rounds(self) -> int:
        """The number of calls that covers every sample of every batch."""
        return len(self.starts) * len(self.batches)

    @property
    def words(self) -> str:
        """The shape as text for messages."""
        return f"batches of {self.batch}" + (f" at size {self.label}" if self.label else "")

    def slice_inputs(self, turn: int) -> tuple[int, int, dict[str, Any]]:
        """The inputs of a turn: batch number, first sample, and copied read-only arrays."""
        index = turn % len(self.batches)
        start = self.starts[turn // len(self.batches) % len(self.starts)]
        fed = {}
        for spec in self.model.inputs:
            array = self.batches[index][spec.name]
            part = self._part(spec, start)
            fed[spec.name] = array if part is None else array[part].copy()
            fed[spec.name].setflags(write=False)
        return index, start, fed

    def keep(self, index: int, start: int, outputs: Arrays) -> None:
        """Copy the outputs of a slice to the slice's place in the outputs of the whole batch."""
        import numpy as np

        whole = self.outputs.setdefault(index, {})
        for spec in self.model.outputs:
            array = outputs[spec.name]
            part = self._part(spec, start)
            if part is None:
                whole[spec.name] = array
                continue
            if spec.name not in whole:
                shape = list(array.shape)
                shape[len(part) - 1] = self.whole
                whole[spec.name] = np.full(shape, 0, array.dtype)
            whole[spec.name][part] = array

    def _part(self, spec: TensorSpec, start: int) -> tuple[slice, ...] | None:
        """The index of a slice of the whole batch in a tensor; None for a tensor without batch."""
        if spec.batch_axis is None:
            return None
        return (*[slice(None)] * spec.batch_axis, slice(start, start + self.batch))

    def point(self) -> dict[str, Any]:
        """The shape's calls as a point of the scenario."""
        size = {"size": self.label} if self.label else {}
        return {
            "batch": self.batch,
            **size,
            "first_ns": self.first_ns,
            "builds": self.builds,
            "calls": len(self.laps_ns),
            "laps_ns": self.laps_ns,
            "wall_ns": sum(self.laps_ns),
        }


def changing_shapes(context: LoadContext) -> Points:
    """Call every shape once per round, in a new order; first calls are recorded apart.

    Loading and warm-up used the cell's own shape, with the largest batch. The slices of a call
    advance through the stored batch, so every shape processes every sample, and parity judges all
    samples.
    """
    shapes = shapes_of(context)
    rounds = max(2, *(shape.rounds for shape in shapes))  # the first round is recorded apart
    shuffle, turn, begin = random.Random(context.scenario.seed), 0, context.now()
    duration = context.limit_ns * len(shapes)
    while turn < rounds or (turn < MAX_ROUNDS and context.now() - begin < duration):
        order = list(shapes)
        shuffle.shuffle(order)
        for shape in order:
            _call(context, shape, turn)
        turn += 1
    for shape in shapes:
        shape.judged[shape.words] = shape.outputs
    return [shape.point() for shape in shapes]


def shapes_of(context: LoadContext) -> list[Shape]:
    """All shapes of a scenario: the cell's own size first, small batches before large batches."""
    cell, scenario = context.cell, context.scenario
    batches = sorted(scenario.batches) if scenario.has_batches else [cell.batch]
    label = dynamic_axes.label(cell.model, cell.model) if context.sizes else ""
    own = DeclaredSize(cell.model, label, context.batches, context.judged)
    return [
        Shape(
            size.model,
            size.batches,
            batch,
            cell.batch,
            size.judged,
            size.label,
            is_known=size is own and batch == cell.batch,
        )
        for size in (own, *context.sizes)
        for batch in batches
    ]


def _call(context: LoadContext, shape: Shape, turn: int) -> None:
    """Make one call of a shape, and record lap, builds and outputs."""
    index, start, fed = shape.slice_inputs(turn)
    before = context.session.builds()
    lap, outputs = _timed_call(context, shape, fed)
    after = context.session.builds()
    if before is not None and after is not None:
        shape.builds = (shape.builds or 0) + after - before
    shape.keep(index, start, outputs)
    if turn == 0 and not shape.is_known:
        shape.first_ns = lap
    else:
        shape.laps_ns.append(lap)


def _timed_call(context: LoadContext, shape: Shape, fed: Arrays) -> tuple[int, Arrays]:
    """The lap in nanoseconds and the outputs of one call.

    Raises Unsupported for a session that accepts only the cell's own shape.
    """
    session = context.session
    begin = context.now()
    try:
        session.bind(fed)
        session.step()
        session.sync()
        outputs = session.fetch()
    except Exception as error:
        if shape.is_known:
            raise
        text = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise Unsupported(f"{_own_only(context)}: {shape.words} ended with {text}") from error
    lap = context.now() - begin
    own = {spec.name: spec for spec in context.cell.model.outputs}
    for spec in shape.model.outputs:
        _check_output(context, shape, own[spec.name], spec, outputs[spec.name])
    return lap, outputs


def _own_only(context: LoadContext) -> str:
    """The beginning of a refusal: the session accepts only the cell's own shape."""
    own = next(shape for shape in shapes_of(context) if shape.is_known)
    return f"{context.cell.backend}'s prepared artifact takes {own.words} only"


def _check_output(
    context: LoadContext, shape: Shape, own: TensorSpec, spec: TensorSpec, output: Any
) -> None:
    """Raise Unsupported for an output with the cell's own shape in reply to another shape."""
    actual, expected = list(output.shape), list(spec.concrete(shape.batch))
    if spec.is_batched and actual[:1] != expected[:1]:
        rows = actual[0] if actual else 1
        raise Unsupported(
            f"{_own_only(context)}: the session returned {rows} rows for {shape.words}"
        )
    if not spec.is_open and actual != expected and actual == list(own.concrete(shape.batch)):
        raise Unsupported(
            f"{_own_only(context)}: the session returned {spec.name} of {actual} for "
            f"{shape.words}, expected {expected}"
        )
