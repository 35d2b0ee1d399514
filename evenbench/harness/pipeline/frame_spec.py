"""A frame's stages as plain values, for sessions with their own code for whole frames.

All rounding of sizes happens here, so other languages need not round as Python does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from evenbench.harness.core.data_dependent_shapes import MASK_LEVEL
from evenbench.harness.core.errors import Unsupported
from evenbench.harness.core.types import Model, Recipe
from evenbench.harness.pipeline import drawing, postprocess
from evenbench.harness.pipeline.stages import PipelineRun
from evenbench.harness.preprocess import CenterCrop, Decode, Layout, Normalise, Resize, ToArray

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

DTYPES = {"labels": "int64"}
"""Types of the outputs for postprocessing; float32 by default."""


@dataclass(frozen=True)
class ResizeSpec:
    """A resize to a size in pixels; `filter` and `antialias` as in `Resize`."""

    width: int
    height: int
    filter: str
    antialias: bool


@dataclass(frozen=True)
class CropSpec:
    """A square crop of `size` pixels from the corner at `left` and `top`."""

    left: int
    top: int
    size: int


@dataclass(frozen=True)
class LayoutSpec:
    """The last step: pixel levels to float32 in the order `CHW` or `HWC`.

    Levels times `scale`, minus `mean`, divided by `std` of each channel. Empty `mean` and `std`
    leave out the normalisation.
    """

    order: str
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]


Step = ResizeSpec | CropSpec | LayoutSpec


@dataclass(frozen=True)
class FrameSpec:
    """All stages of a frame after decoding, for frames of a fixed size.

    `implementation` names the library with the expected pixel levels. `reads` maps roles to
    positions among the model's outputs: `scores` of a classifier or segmenter; `boxes`, `labels`,
    `scores` and optional `masks` of a detector, for objects with a score of at least `threshold`.
    """

    implementation: str
    steps: tuple[Step, ...]
    input: str
    shape: tuple[int, ...]
    task: str
    reads: Mapping[str, int]
    threshold: float
    view: drawing.View
    mask_level: float = MASK_LEVEL
    opacity: int = drawing.OPACITY

    @property
    def palette(self) -> Array:
        """A colour per class, uint8 [256, 3]."""
        return drawing.palette()


@dataclass(frozen=True)
class FrameResult:
    """Times of a processed frame, in nanoseconds by stage; results of a kept frame.

    `drawn` is uint8 [height, width, 3].
    """

    stages_ns: Mapping[str, int]
    tensor: Any = None
    outputs: Mapping[str, Any] | None = None
    drawn: Any = None


@dataclass(frozen=True)
class StreamResult:
    """The run of a stream of frames, and the results of kept frames by number."""

    run: PipelineRun
    kept: Mapping[int, FrameResult]


class FrameProcessor(ABC):
    """Interface of a session with own code and an own clock for all stages after decoding."""

    draws_letters: ClassVar[bool] = True
    """Whether drawn frames have labels and scores as text."""

    @abstractmethod
    def configure_frames(self, spec: FrameSpec) -> None:
        """Set the stages, once before the first frame.

        Raises Unsupported for a specification without exactly equal pixel levels.
        """

    @abstractmethod
    def process_frame(self, pixels: Any, keep: bool) -> FrameResult:
        """Pass one frame, uint8 [height, width, 3], through all stages after decoding."""


class StreamProcessor(FrameProcessor):
    """Interface of a frame processor with several frames in flight."""

    @abstractmethod
    def preload_frames(self, shape: tuple[int, int, int, int], frames: Iterable[Array]) -> None:
        """Load decoded frames into memory for later streams, after `configure_frames`.

        `shape` is [frames, height, width, 3]; each frame is uint8 [height, width, 3].
        """

    @abstractmethod
    def stream_frames(self, in_flight: int, period_ns: int, keep: Collection[int]) -> StreamResult:
        """Pass all preloaded frames through the stages, as `stages.Overlap` does.

        `in_flight` is the number of slots; a `period_ns` above 0 is the camera's period. `keep` has
        frame numbers; results of dropped frames are missing. Raises a stage's exception after the
        last frame has left the stages.
        """


def of(model: Model, recipe: Recipe, implementation: str, width: int, height: int) -> FrameSpec:
    """The specification for frames of a size in pixels.

    Raises Unsupported for a recipe or outputs without a plain description.
    """
    (model_input,), names = model.inputs, [output.name for output in model.outputs]
    if model_input.dtype != "float32":
        raise Unsupported(
            f"{model.name}: {model_input.name} is {model_input.dtype}, and a frame becomes float32"
        )
    reads = postprocess.outputs_read(model)
    roles = reads if model.task == "detection" else ("scores",)
    for role, name in zip(roles, reads, strict=True):
        dtype, expected = model.outputs[names.index(name)].dtype, DTYPES.get(role, "float32")
        if dtype != expected:
            raise Unsupported(
                f"{model.name}: {name} is {dtype}, and frames are read from {expected}"
            )
    return FrameSpec(
        implementation,
        steps_of(recipe, width, height),
        model_input.name,
        model_input.concrete(1),
        model.task,
        {role: names.index(name) for role, name in zip(roles, reads, strict=True)},
        model.score_threshold,
        drawing.view(recipe, width, height),
    )


def steps_of(recipe: Recipe, width: int, height: int) -> tuple[Step, ...]:
    """The steps of a recipe after `Decode`, for frames of a size in pixels.

    Raises Unsupported for another order of steps than resizes and crops, then array, then layout.
    """
    steps = list(recipe.steps[1:])
    geometry: list[ResizeSpec | CropSpec] = []
    while steps and isinstance(steps[0], (Resize, CenterCrop)):
        step = steps.pop(0)
        if isinstance(step, Resize):
            width, height = step._target((width, height))
            geometry.append(ResizeSpec(width, height, step.filter, step.antialias))
        else:
            geometry.append(_crop(step, width, height))
            width = height = step.size
    return (*geometry, _layout(recipe, steps))


def _crop(step: CenterCrop, width: int, height: int) -> CropSpec:
    if min(width, height) < step.size:
        raise Unsupported(f"CenterCrop({step.size}): the frame is only {width}x{height} by then")
    return CropSpec(round((width - step.size) / 2), round((height - step.size) / 2), step.size)


def _layout(recipe: Recipe, steps: list[Any]) -> LayoutSpec:
    """The last steps of a recipe, after resizes and crops: ToArray, maybe Normalise, Layout."""
    scaled: Any = steps.pop(0) if steps and isinstance(steps[0], ToArray) else None
    normalised = steps.pop(0) if steps and isinstance(steps[0], Normalise) else Normalise((), ())
    last: Any = steps.pop(0) if steps and isinstance(steps[0], Layout) else None
    is_complete = scaled and last and not steps and recipe.steps[0] == Decode("RGB")
    if not is_complete or last.dtype != "float32":
        names = ", ".join(type(step).__name__ for step in recipe.steps)
        raise Unsupported(
            f"recipe {recipe.name} is {names}; expected RGB, Resize or CenterCrop, ToArray, maybe "
            "Normalise, and Layout to float32"
        )
    return LayoutSpec(last.order, scaled.scale, normalised.mean, normalised.std)
