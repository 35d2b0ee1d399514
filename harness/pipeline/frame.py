"""One frame on its way through the stages of a loaded session, from its pixels to what is drawn,
and those frames that are judged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.backend import Session
from harness.core.types import Model, Recipe
from harness.inputs import preprocessors
from harness.pipeline import drawing, postprocess, stages, video
from harness.pipeline.video import Footage

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


def picture(pixels: Array) -> Any:
    """Pixels, uint8 [height, width, 3], as Pillow's image."""
    from PIL import Image as pillow

    return pillow.fromarray(pixels)


def prepared(recipe: Recipe, pixels: Array, seen: Any) -> Array:
    """What the recipe makes of a frame that is decoded already, by the library that it names;
    `seen` is the picture of the same pixels.

    Raises Unavailable where that library is not installed.
    """
    made: Array
    if preprocessors.of(recipe) != preprocessors.DEFAULT:
        library = preprocessors.present(preprocessors.of(recipe))
        made = preprocessors.chain(library, recipe.steps[1:], library.opened(pixels))
        return made
    value = seen.convert(recipe.steps[0].mode)
    for step in recipe.steps[1:]:
        value = step.apply(value)
    made = value
    return made


def tensor(model: Model, array: Array) -> Array:
    """With the axis of the batch where the model has one; read-only, as every session gets its
    inputs.
    """
    made = array[None] if model.inputs[0].is_batched else array
    made.setflags(write=False)
    return made


@dataclass
class Frame:
    """A frame and what every stage made of it so far."""

    number: int
    pixels: Array
    picture: Any = None
    tensor: Any = None
    outputs: Mapping[str, Any] | None = None
    answer: postprocess.Answer | None = None
    drawn: Any = None


@dataclass
class Line:
    """The stages of one loaded session. `size` is every frame's height and width in pixels.

    `kept` are the judged frames that went through in this passage, by number; `latest` are those of
    the last one that was judged.
    """

    session: Session
    model: Model
    footage: Footage
    size: tuple[int, int]
    kept: dict[int, Frame] = field(default_factory=dict, init=False)
    latest: dict[int, Frame] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.recipe, self.read = postprocess.recipe_of(self.model), postprocess.reader(self.model)
        height, width = self.size
        self.view = drawing.view(self.recipe, width, height)

    def frames(self) -> Iterator[Frame]:
        """The frames of the video, decoded one by one."""
        for number, pixels in enumerate(video.frames(Path(self.footage.file), self.footage.frames)):
            yield Frame(number, pixels)

    def preprocess(self, frame: Frame) -> None:
        """The recipe."""
        frame.picture = picture(frame.pixels)
        frame.tensor = tensor(self.model, prepared(self.recipe, frame.pixels, frame.picture))

    def infer(self, frame: Frame) -> None:
        """What `host_to_host` times."""
        self.session.bind({self.model.inputs[0].name: frame.tensor})
        self.session.step()
        self.session.sync()
        frame.outputs = self.session.fetch()

    def postprocess(self, frame: Frame) -> None:
        """Outputs to an answer."""
        assert frame.outputs is not None
        frame.answer = self.read(frame.outputs)

    def draw(self, frame: Frame) -> None:
        """The answer onto the frame."""
        assert frame.answer is not None
        frame.drawn = drawing.draw(frame.picture, self.view, frame.answer)
        if frame.number in self.footage.judged:
            self.kept[frame.number] = frame

    def work(self) -> dict[str, Callable[[Frame], None]]:
        """Every stage after decoding, by name and in order."""
        return {name: getattr(self, name) for name in stages.STAGES if name != stages.DECODE}

    def judged(self, batches: Sequence[Mapping[str, Array]]) -> dict[int, Any]:
        """The outputs of the judged frames of this passage, by their place among them.

        Raises ValueError where one of them is missing, or is not what the golden got.
        """
        import numpy as np

        name, found = self.model.inputs[0].name, self.kept
        for place, number in enumerate(self.footage.judged):
            if number not in found:
                raise ValueError(
                    f"frame {number}, which is judged, did not come through all stages; run it again"
                )
            if not np.array_equal(found[number].tensor, batches[place][name]):
                raise ValueError(
                    f"frame {number} was decoded and preprocessed to other values than those that are judged; run it again"
                )
        self.latest, self.kept = found, {}
        return {place: found[number].outputs for place, number in enumerate(self.footage.judged)}
