"""One recipe, several libraries: the steps as they are written (in Pillow), or the same steps done
by another library.

The steps of a recipe say what is to be done, and do it with Pillow and NumPy. An `Implementation`
does the same steps in its own way. It is part of a model's recipe, its name and the key of its
input bytes, so that inputs from two decoders are never taken for the same. What differs between
them, and by how much, is in docs/preprocessing.md; what a library cannot do alike it refuses in
words.
"""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from harness import preprocess
from harness.core import registry
from harness.core.errors import Unavailable, UsageError
from harness.core.types import Model, Recipe
from harness.inputs import image_validation
from harness.preprocess import CenterCrop, Decode, Layout, Normalise, Resize, ToArray

DEFAULT = "pillow"
"""The steps as they are written in `harness.preprocess`."""

Image = Any
"""An image as the library has it: an array, a tensor, an object of its own."""


@dataclass(frozen=True)
class ImplementedRecipe(Recipe):
    """A recipe whose steps another library does; `implementation` is a name of
    `registry.implementations`.
    """

    implementation: str


class Implementation(ABC):
    """A library that does the steps of `harness.preprocess`. Importing its module imports no
    library.
    """

    name: ClassVar[str]
    requires: ClassVar[tuple[str, ...]] = ()
    """Import names of the packages that it needs."""
    distributions: ClassVar[tuple[str, ...]] = ()
    """Distributions whose versions may change a level: part of the key of the inputs."""
    native_sources: ClassVar[tuple[str, ...]] = ()
    """Files of another language that it is written in: part of that key, as its Python is
    (`sources.of_types`).
    """
    does: ClassVar[Mapping[str, str]] = {}
    """How each step is done, in words, by the step's name."""

    def refuses(self, step: Any) -> str:
        """An empty string, or why this step cannot be done as it is meant, in words. Imports
        nothing.
        """
        if type(step) not in (Decode, Resize, CenterCrop, ToArray, Normalise, Layout):
            return f"{self.name} does the steps of harness.preprocess, and {type(step).__name__} is another"
        return ""

    def missing(self) -> tuple[str, ...]:
        """The packages of `requires` that are not installed."""
        return tuple(name for name in self.requires if importlib.util.find_spec(name) is None)

    @abstractmethod
    def decode(self, encoded: bytes, step: Decode) -> Image:
        """The image in a file's content, 8 bits per level, in `step.mode`, its EXIF orientation
        ignored. Raises as the library does.
        """

    @abstractmethod
    def opened(self, pixels: Any) -> Image:
        """An image of pixels, uint8 [height, width, 3], which are only read."""

    @abstractmethod
    def size(self, image: Image) -> tuple[int, int]:
        """Width and height in pixels."""

    @abstractmethod
    def resize(self, image: Image, step: Resize, width: int, height: int) -> Image:
        """Scaled to that many pixels, 8 bits per level."""

    @abstractmethod
    def crop(self, image: Image, left: int, top: int, size: int) -> Image:
        """`size` x `size` pixels from there."""

    @abstractmethod
    def to_array(self, image: Image, step: ToArray) -> Image:
        """Levels as float32, scaled."""

    @abstractmethod
    def normalise(self, image: Image, step: Normalise) -> Image:
        """What `to_array` returned, normalised per channel."""

    @abstractmethod
    def lay_out(self, image: Image, step: Layout) -> Any:
        """The same as a contiguous numpy array."""

    def do(self, step: Any, value: Any) -> Any:
        """One step; `Decode` takes the bytes of a file. Raises UsageError where it cannot be done."""
        why = self.refuses(step)
        if why:
            raise UsageError(why)
        if isinstance(step, Resize):
            return self.resize(
                value, step, *step._target(self.size(value))
            )  # the step's own rounding, for all alike
        if isinstance(step, CenterCrop):
            return self._cropped(step, value)
        verbs = {
            Decode: self.decode,
            ToArray: self.to_array,
            Normalise: self.normalise,
            Layout: self.lay_out,
        }
        return verbs[type(step)](value, step)  # type: ignore[operator]

    def _cropped(self, step: CenterCrop, image: Image) -> Image:
        width, height = self.size(image)
        if min(width, height) < step.size:
            raise UsageError(
                f"CenterCrop({step.size}): the image is only {width}x{height}; resize it to {step.size} or more first"
            )
        return self.crop(
            image, round((width - step.size) / 2), round((height - step.size) / 2), step.size
        )


def names() -> tuple[str, ...]:
    """Every implementation that a case can name, the default first."""
    return (DEFAULT, *(name for name in registry.implementations() if name != DEFAULT))


def find(name: str) -> Implementation:
    """The implementation of that name. Raises UsageError for one that nobody registered."""
    known = registry.implementations()
    if name not in known:
        raise UsageError(f"unknown preprocessing {name!r}; expected one of {', '.join(names())}")
    found = registry.implementation(name)
    if not isinstance(found, Implementation):
        raise UsageError(
            f"preprocessing {name}: {known[name].target} is a {type(found).__name__}; expected a harness Implementation"
        )
    return found


def present(name: str) -> Implementation:
    """As `find`. Raises Unavailable where its library is not installed."""
    found = find(name)
    if found.missing():
        raise Unavailable(
            f"preprocessing {name}: {', '.join(found.missing())} is not installed; {registry.implementations()[name].hint}"
        )
    return found


def of(recipe: Recipe) -> str:
    """The name of the library that does this recipe's steps."""
    return recipe.implementation if isinstance(recipe, ImplementedRecipe) else DEFAULT


def refuses(recipe: Recipe, name: str) -> str:
    """An empty string, or why that library cannot do the recipe, in words. Imports nothing."""
    if name == DEFAULT:
        return ""
    if not recipe.steps or not isinstance(recipe.steps[-1], Layout):
        return "its last step is not Layout, which makes an array of what the library has"
    found = find(name)
    return next(filter(None, (found.refuses(step) for step in recipe.steps)), "")


def implemented(model: Model, name: str) -> Model:
    """The model fed through that library, as a case with this `preprocessing` declares it:
    `resnet18+torchvision`.

    A model of its own, since its inputs have other bytes; the model itself for the default.
    Raises UsageError where it has no recipe, or one that the library cannot do.
    """
    find(name)
    if name == DEFAULT:
        return model
    told = model.recipe or preprocess.RECIPES.get(model.arguments.get("recipe", ""))
    if told is None:
        raise UsageError(
            f"model {model.name} has no recipe= that {name} could do; leave it out of a case with preprocessing="
        )
    why = refuses(told, name)
    if why:
        raise UsageError(f"model {model.name}: recipe {told.name} by {name}: {why}")
    recipe = ImplementedRecipe(f"{told.name}+{name}", told.steps, name)
    return replace(
        model,
        name=f"{model.name}+{name}",
        recipe=recipe,
        sizes=tuple(implemented(each, name) for each in model.sizes),
    )


def defined_by(recipe: Recipe) -> list[type]:
    """The classes whose source decides what the recipe makes: its steps, and the library's
    implementation of them.
    """
    steps = [type(step) for step in recipe.steps]
    return steps if of(recipe) == DEFAULT else [*steps, *type(find(of(recipe))).__mro__[:-2]]


def distributions(recipe: Recipe | None) -> tuple[str, ...]:
    """The distributions whose versions decide the bytes: NumPy and Pillow always, and the library's
    own.
    """
    own = () if recipe is None or of(recipe) == DEFAULT else find(of(recipe)).distributions
    return tuple(dict.fromkeys(("numpy", "pillow", *own)))


def apply(recipe: Recipe, file: Path) -> Any:
    """The array that `recipe` makes of an image file, by the library that it names.

    Raises UsageError naming the file and what is wrong with it (not whole, more than 8 bits, no
    image), and Unavailable where the library is not installed.
    """
    if recipe.steps and isinstance(recipe.steps[0], Decode) and file.is_file():
        problem = image_validation.problem(_content(file))
        if problem:
            raise UsageError(f"{file}: {problem}")
    if of(recipe) != DEFAULT:
        return _by(present(of(recipe)), recipe, file)
    try:
        return preprocess.apply(recipe, file)
    except (UsageError, ImportError):
        raise
    except Exception as error:  # such as Pillow's DecompressionBombError, which is no OSError
        raise UsageError(
            f"{file}: recipe {recipe.name} failed: {type(error).__name__}: {error}"
        ) from error


def _by(library: Implementation, recipe: Recipe, file: Path) -> Any:
    # Only what Pillow decodes is handed on: of a damaged file torchvision 0.29's decoder ends the
    # process, and OpenCV fills the rest.
    preprocess.apply(Recipe(recipe.name, recipe.steps[:1]), file)
    value: Any = _content(file)
    for step in recipe.steps:
        try:
            value = library.do(step, value)
        except Exception as error:  # every library has errors of its own
            what = (
                str(error) if isinstance(error, UsageError) else f"{type(error).__name__}: {error}"
            )
            raise UsageError(
                f"{file}: step {type(step).__name__} of recipe {recipe.name} failed: {what}"
            ) from error
    return value


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}; check the path") from error


def chain(library: Implementation, steps: Sequence[Any], value: Any) -> Any:
    """The steps one after another, without words for what goes wrong: what a benchmark of them
    times.
    """
    for step in steps:
        value = library.do(step, value)
    return value
