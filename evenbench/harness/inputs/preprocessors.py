"""Recipes by several libraries: steps in Pillow, or the same steps by another library.

The steps of a recipe run with Pillow and NumPy. An `Implementation` runs the same steps with
another library. The implementation is part of a model's recipe, name and input key, so inputs from
two decoders are never mixed. docs/reference/preprocessing.md lists the differences; a
library refuses steps without an equivalent.
"""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from evenbench.harness import preprocess
from evenbench.harness.core import registry
from evenbench.harness.core.errors import Unavailable, UsageError
from evenbench.harness.core.types import Model, Recipe
from evenbench.harness.inputs import image_validation
from evenbench.harness.preprocess import CenterCrop, Decode, Layout, Normalise, Resize, ToArray

DEFAULT = "pillow"
"""The steps in `harness.preprocess`."""

Image = Any
"""A library's image: an array, a tensor, or an object."""


@dataclass(frozen=True)
class ImplementedRecipe(Recipe):
    """A recipe run by another library; `implementation` is a name of `registry.implementations`."""

    implementation: str


class Implementation(ABC):
    """A library for the steps of `harness.preprocess`. The module imports no library."""

    name: ClassVar[str]
    requires: ClassVar[tuple[str, ...]] = ()
    """Import names of required packages."""
    distributions: ClassVar[tuple[str, ...]] = ()
    """Distributions with an effect on levels: part of the inputs' key."""
    native_sources: ClassVar[tuple[str, ...]] = ()
    """Source files in other languages, part of the inputs' key (`source_digests.of_types`)."""
    does: ClassVar[Mapping[str, str]] = {}
    """A description of each step, by the step's name."""

    def refuses(self, step: Any) -> str:
        """The reason this step has no equivalent, or an empty string. Imports nothing."""
        if type(step) not in (Decode, Resize, CenterCrop, ToArray, Normalise, Layout):
            return (
                f"{self.name} supports the steps of harness.preprocess, not {type(step).__name__}"
            )
        return ""

    def missing(self) -> tuple[str, ...]:
        """The packages of `requires` not installed."""
        return tuple(name for name in self.requires if importlib.util.find_spec(name) is None)

    @abstractmethod
    def decode(self, encoded: bytes, step: Decode) -> Image:
        """The image in a file's content, 8 bits, in `step.mode`, ignoring EXIF orientation.

        Raises the library's own errors.
        """

    @abstractmethod
    def opened(self, pixels: Any) -> Image:
        """An image of pixels, uint8 [height, width, 3], read-only."""

    @abstractmethod
    def size(self, image: Image) -> tuple[int, int]:
        """Width and height in pixels."""

    @abstractmethod
    def resize(self, image: Image, step: Resize, width: int, height: int) -> Image:
        """Scale to this size, 8 bits per level."""

    @abstractmethod
    def crop(self, image: Image, left: int, top: int, size: int) -> Image:
        """Cut `size` x `size` pixels from this corner."""

    @abstractmethod
    def to_array(self, image: Image, step: ToArray) -> Image:
        """Levels as float32, scaled."""

    @abstractmethod
    def normalise(self, image: Image, step: Normalise) -> Image:
        """The result of `to_array`, normalised per channel."""

    @abstractmethod
    def lay_out(self, image: Image, step: Layout) -> Any:
        """The same as a contiguous numpy array."""

    def do(self, step: Any, value: Any) -> Any:
        """Run a step; `Decode` takes the bytes of a file. Raises UsageError on failure."""
        why = self.refuses(step)
        if why:
            raise UsageError(why)
        if isinstance(step, Resize):
            return self.resize(
                value, step, *step._target(self.size(value))
            )  # the step's rounding, equal for all libraries
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
                f"CenterCrop({step.size}): the image is only {width}x{height}; resize it to "
                f"{step.size} or more first"
            )
        return self.crop(
            image, round((width - step.size) / 2), round((height - step.size) / 2), step.size
        )


def names() -> tuple[str, ...]:
    """Every implementation for cases, the default first."""
    return (DEFAULT, *(name for name in registry.implementations() if name != DEFAULT))


def find(name: str) -> Implementation:
    """The implementation called `name`. Raises UsageError for an unregistered name."""
    known = registry.implementations()
    if name not in known:
        raise UsageError(f"unknown preprocessing {name!r}; expected one of {', '.join(names())}")
    library = registry.implementation(name)
    if not isinstance(library, Implementation):
        raise UsageError(
            f"preprocessing {name}: {known[name].target} is a {type(library).__name__}; expected "
            "a harness Implementation"
        )
    return library


def present(name: str) -> Implementation:
    """Like `find`. Raises Unavailable for an absent library."""
    library = find(name)
    if library.missing():
        raise Unavailable(
            f"preprocessing {name}: {', '.join(library.missing())} is not installed; "
            f"{registry.implementations()[name].hint}"
        )
    return library


def of(recipe: Recipe) -> str:
    """The name of the library behind this recipe."""
    return recipe.implementation if isinstance(recipe, ImplementedRecipe) else DEFAULT


def refuses(recipe: Recipe, name: str) -> str:
    """The reason the library cannot run the recipe, or an empty string. Imports nothing."""
    if name == DEFAULT:
        return ""
    if not recipe.steps or not isinstance(recipe.steps[-1], Layout):
        return "its last step is not Layout, which makes an array of what the library has"
    library = find(name)
    return next(filter(None, (library.refuses(step) for step in recipe.steps)), "")


def implemented(model: Model, name: str) -> Model:
    """The model fed by the library, as declared by `preprocessing`: `resnet18+torchvision`.

    A separate model, because its inputs have other bytes; the same model for the default. Raises
    UsageError for a model without a recipe, and for a recipe the library refuses.
    """
    find(name)
    if name == DEFAULT:
        return model
    recipe_of_model = model.recipe or preprocess.RECIPES.get(model.arguments.get("recipe", ""))
    if recipe_of_model is None:
        raise UsageError(
            f"model {model.name} has no recipe= for {name}; remove the model from cases with "
            "preprocessing="
        )
    why = refuses(recipe_of_model, name)
    if why:
        raise UsageError(f"model {model.name}: recipe {recipe_of_model.name} by {name}: {why}")
    recipe = ImplementedRecipe(f"{recipe_of_model.name}+{name}", recipe_of_model.steps, name)
    return replace(
        model,
        name=f"{model.name}+{name}",
        recipe=recipe,
        sizes=tuple(implemented(size, name) for size in model.sizes),
    )


def defined_by(recipe: Recipe) -> list[type]:
    """Classes with source code behind the recipe's result: steps and implementation."""
    steps = [type(step) for step in recipe.steps]
    return steps if of(recipe) == DEFAULT else [*steps, *type(find(of(recipe))).__mro__[:-2]]


def distributions(recipe: Recipe | None) -> tuple[str, ...]:
    """Distributions behind the bytes: NumPy, Pillow, and the library's."""
    own = () if recipe is None or of(recipe) == DEFAULT else find(of(recipe)).distributions
    return tuple(dict.fromkeys(("numpy", "pillow", *own)))


def apply(recipe: Recipe, file: Path) -> Any:
    """The array made by `recipe` from an image file.

    Raises UsageError naming the file and its defect (incomplete, more than 8 bits, no image), and
    Unavailable for an absent library.
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
    except Exception as error:  # Pillow's DecompressionBombError is not an OSError
        raise UsageError(
            f"{file}: recipe {recipe.name} failed: {type(error).__name__}: {error}"
        ) from error


def _by(library: Implementation, recipe: Recipe, file: Path) -> Any:
    # Pillow checks every file first: on damaged files torchvision 0.29 ends the process, and OpenCV
    # fills the missing pixels.
    preprocess.apply(Recipe(recipe.name, recipe.steps[:1]), file)
    value: Any = _content(file)
    for step in recipe.steps:
        try:
            value = library.do(step, value)
        except Exception as error:  # errors differ between libraries
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
    """The steps in order, without error handling: the timed part of a step benchmark."""
    for step in steps:
        value = library.do(step, value)
    return value
