"""What a session that passes whole frames by itself is told: recipe, reading and drawing, as plain
values for frames of one size.

Where a step rounds, it is rounded here, so that no other language has to round as Python does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from harness.core.errors import Unsupported
from harness.core.types import Model, Recipe
from harness.pipeline import drawing, postprocess
from harness.pipeline.stages import Passage
from harness.preprocess import CenterCrop, Decode, Layout, Normalise, Resize, ToArray

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

DTYPES = {"labels": "int64"}
"""Of the outputs that are read; float32 where nothing is said."""


@dataclass(frozen=True)
class Resized:
    """Scaled to so many pixels; the rest as `Resize` says it."""

    width: int
    height: int
    filter: str
    antialias: bool


@dataclass(frozen=True)
class Cropped:
    """`size` x `size` pixels from there."""

    left: int
    top: int
    size: int


@dataclass(frozen=True)
class LaidOut:
    """Levels as float32: times `scale`, less the mean and over the deviation of each channel, where
    there are any. Always last.
    """

    order: str
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class Orders:
    """All stages of a frame after decoding. `implementation` names the library whose levels are
    wanted.

    `reads` are the places among the model's outputs of those that the answer is read from, by what
    they are: `scores` of a classifier or a segmenter; `boxes`, `labels`, `scores` and maybe `masks`
    of a detector, whose objects count from `threshold` on. `palette` is uint8 [256, 3].
    """

    implementation: str
    steps: tuple[Resized | Cropped | LaidOut, ...]
    input: str
    shape: tuple[int, ...]
    task: str
    reads: Mapping[str, int]
    threshold: float
    view: drawing.View
    mask_level: float = postprocess.MASK_LEVEL
    opacity: int = drawing.OPACITY

    @property
    def palette(self) -> Array:
        """A colour per class."""
        return drawing.palette()


@dataclass(frozen=True)
class Passed:
    """A frame that went through: nanoseconds by stage, and where it was to be kept what came of it;
    `drawn` is uint8 [height, width, 3].
    """

    stages_ns: Mapping[str, int]
    tensor: Any = None
    outputs: Mapping[str, Any] | None = None
    drawn: Any = None


@dataclass(frozen=True)
class Streamed:
    """Frames that went through with several in flight: their passage, and what came of those that
    were kept, by number.
    """

    passage: Passage
    kept: Mapping[int, Passed]


class PassesFrames(ABC):
    """What a session is as well that can pass frames by itself, from the decoded to the drawn one,
    each stage by a clock of its own.
    """

    draws_letters: ClassVar[bool] = True
    """False where names and scores are left out of what is drawn."""

    @abstractmethod
    def direct(self, orders: Orders) -> None:
        """Be told, once, before any frame. Raises Unsupported, in words, where something of it
        cannot be done to the very level.
        """

    @abstractmethod
    def passed(self, pixels: Any, keep: bool) -> Passed:
        """One frame, uint8 [height, width, 3], through all stages after decoding."""


class StreamsFrames(PassesFrames):
    """What such a session is as well that can have several frames in flight."""

    @abstractmethod
    def hold(self, shape: tuple[int, int, int, int], frames: Iterable[Array]) -> None:
        """Take in frames that are decoded, uint8 of that shape [frames, height, width, 3] together,
        for passages; after `direct`.
        """

    @abstractmethod
    def streamed(self, in_flight: int, period_ns: int, keep: Collection[int]) -> Streamed:
        """All frames that are held, as `stages.Overlap` passes them: with so many slots, and where
        the period is not 0 at that pace.

        `keep` are numbers of frames; one that was dropped is not kept. What a stage raises comes
        out of here, when no frame is on its way any more.
        """


def of(model: Model, recipe: Recipe, implementation: str, width: int, height: int) -> Orders:
    """The orders for frames of that size. Raises Unsupported, in words, for a recipe or outputs
    that are not plain enough.
    """
    (spec,), names = model.inputs, [each.name for each in model.outputs]
    read = postprocess.outputs_read(model)
    if spec.dtype != "float32":
        raise Unsupported(f"{model.name}: {spec.name} is {spec.dtype}, and a frame becomes float32")
    kinds = read if model.task == "detection" else ("scores",)
    for kind, name in zip(kinds, read, strict=True):
        dtype, wanted = model.outputs[names.index(name)].dtype, DTYPES.get(kind, "float32")
        if dtype != wanted:
            raise Unsupported(f"{model.name}: {name} is {dtype}, and frames are read from {wanted}")
    return Orders(
        implementation,
        steps_of(recipe, width, height),
        spec.name,
        spec.concrete(1),
        model.task,
        {kind: names.index(name) for kind, name in zip(kinds, read, strict=True)},
        model.score_threshold,
        drawing.view(recipe, width, height),
    )


def steps_of(recipe: Recipe, width: int, height: int) -> tuple[Resized | Cropped | LaidOut, ...]:
    """The recipe after its `Decode` for frames of that size. Raises Unsupported for steps in
    another order than from pixels to numbers.
    """
    steps = list(recipe.steps[1:])
    made: list[Resized | Cropped | LaidOut] = []
    while steps and isinstance(steps[0], (Resize, CenterCrop)):
        step = steps.pop(0)
        if isinstance(step, Resize):
            width, height = step._target((width, height))
            made.append(Resized(width, height, step.filter, step.antialias))
        else:
            if min(width, height) < step.size:
                raise Unsupported(
                    f"CenterCrop({step.size}): the frame is only {width}x{height} by then"
                )
            made.append(
                Cropped(round((width - step.size) / 2), round((height - step.size) / 2), step.size)
            )
            width = height = step.size
    scaled = steps.pop(0) if steps and isinstance(steps[0], ToArray) else None
    normalised = steps.pop(0) if steps and isinstance(steps[0], Normalise) else Normalise((), ())
    last = steps.pop(0) if steps and isinstance(steps[0], Layout) else None
    if (
        scaled is None
        or last is None
        or steps
        or last.dtype != "float32"
        or recipe.steps[0] != Decode("RGB")
    ):
        found = ", ".join(type(step).__name__ for step in recipe.steps)
        raise Unsupported(
            f"recipe {recipe.name} is {found}; expected RGB, Resize or CenterCrop, ToArray, maybe Normalise, and Layout to float32"
        )
    return (*made, LaidOut(last.order, scaled.scale, normalised.mean, normalised.std))
