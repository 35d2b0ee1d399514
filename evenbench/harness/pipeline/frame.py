"""The stages of a pipeline for frames of a video, around a loaded session."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.harness.core.pipeline_terms import DECODE, STAGES
from evenbench.harness.core.session import Session
from evenbench.harness.core.types import Model, Recipe
from evenbench.harness.inputs import preprocessors
from evenbench.harness.pipeline import drawing, postprocess, video
from evenbench.harness.pipeline.video import Footage

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


def picture(pixels: Array) -> Any:
    """Pixels, uint8 [height, width, 3], as a Pillow image."""
    from PIL import Image as pillow

    return pillow.fromarray(pixels)


def preprocessed(recipe: Recipe, pixels: Array, image: Any) -> Array:
    """Apply a recipe to a decoded frame, with the recipe's library.

    `image` has the same pixels as a Pillow image. Raises Unavailable without the library.
    """
    name = preprocessors.of(recipe)
    if name != preprocessors.DEFAULT:
        library = preprocessors.present(name)
        array: Array = preprocessors.chain(library, recipe.steps[1:], library.opened(pixels))
    else:
        array = image.convert(recipe.steps[0].mode)
        for step in recipe.steps[1:]:
            array = step.apply(array)
    return array


def tensor(model: Model, array: Array) -> Array:
    """A preprocessed frame as a read-only input, with a batch axis for batched models."""
    value = array[None] if model.inputs[0].is_batched else array
    value.setflags(write=False)
    return value


@dataclass
class Frame:
    """A frame with the results of each stage so far."""

    number: int
    pixels: Array
    picture: Any = None
    tensor: Any = None
    outputs: Mapping[str, Any] | None = None
    prediction: postprocess.Prediction | None = None
    drawn: Any = None


@dataclass
class FramePipeline:
    """The stages around a loaded session, for frames of a fixed `size`: height, width in pixels.

    `kept` has the judged frames of the current run by number; `latest` has the judged frames of the
    last complete run.
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
        """Decode the frames of the video, on demand."""
        for number, pixels in enumerate(video.frames(Path(self.footage.file), self.footage.frames)):
            yield Frame(number, pixels)

    def preprocess(self, frame: Frame) -> None:
        """Apply the recipe."""
        frame.picture = picture(frame.pixels)
        frame.tensor = tensor(self.model, preprocessed(self.recipe, frame.pixels, frame.picture))

    def infer(self, frame: Frame) -> None:
        """Bind, step, sync and fetch: the calls inside `host_to_host`."""
        self.session.bind({self.model.inputs[0].name: frame.tensor})
        self.session.step()
        self.session.sync()
        frame.outputs = self.session.fetch()

    def postprocess(self, frame: Frame) -> None:
        """Turn outputs into a prediction."""
        assert frame.outputs is not None
        frame.prediction = self.read(frame.outputs)

    def draw(self, frame: Frame) -> None:
        """Draw the prediction onto the frame."""
        assert frame.prediction is not None
        frame.drawn = drawing.draw(frame.picture, self.view, frame.prediction)
        if frame.number in self.footage.judged:
            self.kept[frame.number] = frame

    def work(self) -> dict[str, Callable[[Frame], None]]:
        """The functions of all stages after decoding, by name and in order."""
        return {name: getattr(self, name) for name in STAGES if name != DECODE}

    def judged(self, batches: Sequence[Mapping[str, Array]]) -> dict[int, Any]:
        """The outputs of this run's judged frames, by position among the judged frames.

        Raises ValueError for a missing frame, or a tensor unequal to the golden's input.
        """
        import numpy as np

        name, kept = self.model.inputs[0].name, self.kept
        for place, number in enumerate(self.footage.judged):
            if number not in kept:
                raise ValueError(
                    f"judged frame {number} did not pass through all stages; run the command again"
                )
            if not np.array_equal(kept[number].tensor, batches[place][name]):
                raise ValueError(
                    f"the tensor of judged frame {number} differs from the golden's input; decoder "
                    "or recipe is not repeatable; run the command again"
                )
        self.latest, self.kept = kept, {}
        return {place: kept[number].outputs for place, number in enumerate(self.footage.judged)}
