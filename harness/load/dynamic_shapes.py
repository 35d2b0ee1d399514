"""Shapes that change from call to call: batches, sizes of the inputs or both, at one loaded session
whose every answer is judged.

What a new shape costs (code that is generated anew, buffers that are allocated anew) is paid in its
first call, and told apart from what its later calls take.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.core import dynamic_axes
from harness.core.errors import Unsupported
from harness.core.types import Model, TensorSpec
from harness.load.context import Kept, Points, Scene, Size

if TYPE_CHECKING:
    from harness.core.backend import Arrays

MOST_ROUNDS = 1000
"""Where calls take next to no time."""


@dataclass
class Shape:
    """One shape that is fed: a batch size at one of the model's sizes, what it is cut from, and
    what its calls took and answered.
    """

    model: Model
    batches: Sequence[Arrays]
    batch: int
    whole: int
    """How many samples the batches have from which it is cut."""
    kept: Kept
    """Where its answers are put to be judged, with those of other batches of the same size."""
    label: str = ""
    """Of the model's size, where sizes change."""
    is_known: bool = False
    """Whether loading and warming up have seen it: that of the cell itself."""
    first_ns: int | None = None
    laps_ns: list[int] = field(default_factory=list)
    builds: int | None = None
    answers: dict[int, dict[str, Any]] = field(default_factory=dict)

    @property
    def starts(self) -> list[int]:
        """Where cuts begin, so that every sample of a batch is in one."""
        return [min(start, self.whole - self.batch) for start in range(0, self.whole, self.batch)]

    @property
    def rounds(self) -> int:
        """After how many calls every sample of every batch was answered."""
        return len(self.starts) * len(self.batches)

    @property
    def words(self) -> str:
        """The shape for people."""
        return f"batches of {self.batch}" + (f" at size {self.label}" if self.label else "")

    def cut(self, turn: int) -> tuple[int, int, dict[str, Any]]:
        """Which batch is fed in a turn, from which sample on, and those samples as arrays of their
        own.
        """
        index, start = (
            turn % len(self.batches),
            self.starts[turn // len(self.batches) % len(self.starts)],
        )
        fed = {}
        for spec in self.model.inputs:
            array = self.batches[index][spec.name]
            fed[spec.name] = array[start : start + self.batch].copy() if spec.is_batched else array
            fed[spec.name].setflags(write=False)
        return index, start, fed

    def keep(self, index: int, start: int, outputs: Arrays) -> None:
        """Put the answer to some samples of a batch where they stand in the answer to all of it."""
        import numpy as np

        answer = self.answers.setdefault(index, {})
        for spec in self.model.outputs:
            array = outputs[spec.name]
            if not spec.is_batched:
                answer[spec.name] = array
                continue
            if spec.name not in answer:
                answer[spec.name] = np.full((self.whole, *array.shape[1:]), 0, array.dtype)
            answer[spec.name][start : start + self.batch] = array

    def point(self) -> dict[str, Any]:
        """What its calls took, in the form of a scenario's points."""
        named = {"size": self.label} if self.label else {}
        taken = {"calls": len(self.laps_ns), "laps_ns": self.laps_ns, "wall_ns": sum(self.laps_ns)}
        return {
            "batch": self.batch,
            **named,
            "first_ns": self.first_ns,
            "builds": self.builds,
            **taken,
        }


def shapes(scene: Scene) -> Points:
    """All shapes in a new order every round; the first call of each is told apart.

    The cell's own shape is the one that loading and warming up have seen; its batch is the largest.
    The samples of a call move on through their batch, so that every shape answers every sample, and
    is judged on all of them.
    """
    fed = shapes_of(scene)
    rounds = max(2, *(shape.rounds for shape in fed))  # the first of which is told apart
    shuffle, turn, begin = random.Random(scene.scenario.seed), 0, scene.now()
    while turn < rounds or (turn < MOST_ROUNDS and scene.now() - begin < scene.limit_ns * len(fed)):
        order = list(fed)
        shuffle.shuffle(order)
        for shape in order:
            _call(scene, shape, turn)
        turn += 1
    for shape in fed:
        shape.kept[shape.words] = shape.answers
    return [shape.point() for shape in fed]


def shapes_of(scene: Scene) -> list[Shape]:
    """The shapes that a scene feeds, the cell's own size first, small batches before large ones."""
    cell, scenario = scene.cell, scene.scenario
    batches = sorted(scenario.batches) if scenario.has_batches else [cell.batch]
    own = Size(
        cell.model,
        dynamic_axes.label(cell.model, cell.model) if scene.sizes else "",
        scene.batches,
        scene.kept,
    )
    return [
        Shape(
            size.model,
            size.batches,
            batch,
            cell.batch,
            size.kept,
            size.label,
            is_known=size is own and batch == cell.batch,
        )
        for size in (own, *scene.sizes)
        for batch in batches
    ]


def _call(scene: Scene, shape: Shape, turn: int) -> None:
    """One call of a shape: timed, counted, and kept."""
    index, start, fed = shape.cut(turn)
    before = scene.session.builds()
    lap, outputs = _lap_of(scene, shape, fed)
    after = scene.session.builds()
    if before is not None and after is not None:
        shape.builds = (shape.builds or 0) + after - before
    shape.keep(index, start, outputs)
    if turn == 0 and not shape.is_known:
        shape.first_ns = lap
    else:
        shape.laps_ns.append(lap)


def _lap_of(scene: Scene, shape: Shape, fed: Arrays) -> tuple[int, Arrays]:
    """One call's time and outputs. Raises Unsupported where the session answers the cell's own
    shape only.
    """
    session = scene.session
    begin = scene.now()
    try:
        session.bind(fed)
        session.step()
        session.sync()
        outputs = session.fetch()
    except Exception as error:
        if shape.is_known:
            raise
        words = " ".join(str(error).split())[:300]
        raise Unsupported(
            f"{_only(scene)}: {shape.words} ended with {type(error).__name__}: {words}"
        ) from error
    lap = scene.now() - begin
    known = {spec.name: spec for spec in scene.cell.model.outputs}
    for spec in shape.model.outputs:
        _refuse_other(scene, shape, known[spec.name], spec, outputs[spec.name])
    return lap, outputs


def _only(scene: Scene) -> str:
    """What the session takes, in words, where that is less than it was fed."""
    known = next(each for each in shapes_of(scene) if each.is_known)
    return f"{scene.cell.backend}'s prepared artifact takes {known.words} only"


def _refuse_other(
    scene: Scene, shape: Shape, own: TensorSpec, spec: TensorSpec, answered: Any
) -> None:
    """Raise Unsupported where a session that takes the cell's shape only answered as if it had been
    fed that.
    """
    found, wanted = list(answered.shape), list(spec.concrete(shape.batch))
    if spec.is_batched and found[:1] != wanted[:1]:
        raise Unsupported(
            f"{_only(scene)}: it answered {found[0] if found else 1} rows to {shape.words}"
        )
    if not spec.is_open and found != wanted and found == list(own.concrete(shape.batch)):
        raise Unsupported(
            f"{_only(scene)}: it answered {spec.name} of {found} to {shape.words}, whose {spec.name} is {wanted}"
        )
