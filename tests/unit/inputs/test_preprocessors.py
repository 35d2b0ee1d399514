"""Who prepares a photograph is an axis: another library is another model, with inputs, weights and
a group of its own.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from benchmarks import models
from evenbench.backends.cpp import build, toolchain
from evenbench.harness import Case, Cell, Recipe, UsageError, preprocess
from evenbench.harness.cli import main
from evenbench.harness.collection import matrix
from evenbench.harness.core import artifact_store, registry, serialization, source_digests
from evenbench.harness.core.errors import Unavailable
from evenbench.harness.core.registry import Row
from evenbench.harness.deployment import bundle
from evenbench.harness.inputs import (
    batches,
    dataset_batches,
    dataset_classes,
    datasets,
    pixel_difference,
    preprocessors,
)
from evenbench.harness.photographs import PHOTOGRAPHS, locate
from evenbench.harness.preprocess import IMAGENET_224, Decode, Layout, Normalise, Resize, ToArray
from tests.unit.builders import PRODUCT


def by_three() -> list[Cell]:
    """No case at the top of this module: pytest would measure it."""
    return matrix.expand(
        Case((models.RESNET18,), ("ort",), preprocessing=("pillow", "torchvision", "opencv-area"))
    )


@dataclasses.dataclass(frozen=True)
class Invert:
    """A step of one's own."""

    is_step: ClassVar[bool] = True

    def apply(self, image: Any) -> Any:
        return 1 - image


def test_each_library_is_a_model_of_its_own() -> None:
    cells = by_three()
    assert [made.model.name for made in cells] == [
        "resnet18",
        "resnet18+torchvision",
        "resnet18+opencv-area",
    ]
    assert len({made.group for made in cells}) == len({made.key for made in cells}) == 3, (
        "other bytes are never compared"
    )
    assert [preprocessors.of(made.model.recipe) for made in cells] == [
        "pillow",
        "torchvision",
        "opencv-area",
    ]
    assert [made.model.name for made in matrix.select(cells, "resnet18 and opencv")] == [
        "resnet18+opencv-area"
    ]


def test_the_default_leaves_no_trace() -> None:
    """So that what was recorded and cached before there were others is still found."""
    (plainly,) = matrix.expand(Case((models.RESNET18,), ("ort",)))
    assert plainly.model is models.RESNET18
    assert set(serialization.to_json(plainly.model.recipe)) == {"name", "steps"}
    parts = batches.key_parts(plainly)
    assert set(parts["versions"]) == {"numpy", "pillow"}
    steps = {type(step) for step in IMAGENET_224.steps}
    assert parts["steps"] == source_digests.digest_of(
        source_digests.read(source_digests.of_types(steps))
    )


def test_another_library_is_another_key_with_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    by = {made.model.name: made for made in by_three()}
    keys = {name: artifact_store.key_of(batches.key_parts(made)) for name, made in by.items()}
    assert len(set(keys.values())) == 3
    version_of = batches.version_of
    monkeypatch.setattr(
        batches, "version_of", lambda name: "0.0" if name == "torchvision" else version_of(name)
    )
    changed = {
        name
        for name, made in by.items()
        if artifact_store.key_of(batches.key_parts(made)) != keys[name]
    }
    assert changed == {"resnet18+torchvision"}


def test_inputs_are_made_by_the_library_that_was_asked(tmp_path: Path) -> None:
    model = dataclasses.replace(models.RESNET18, images=PHOTOGRAPHS[:3])
    made = {}
    for name in ("pillow", "numpy"):
        (tmp_path / name).mkdir()
        facts = batches.make(preprocessors.implemented(model, name), 1, tmp_path / name)
        made[name] = facts["recipe"], facts["sha256"]
    assert (made["pillow"][0], made["numpy"][0]) == ("imagenet_224", "imagenet_224+numpy")
    assert made["pillow"][1] != made["numpy"][1]
    pillow, numpy = (np.load(tmp_path / name / "image.npy") for name in made)
    assert np.abs(pillow - numpy).max() <= pixel_difference.ALLOWED / 255 / 0.224


def test_labelled_images_are_prepared_by_the_library_that_was_asked(tmp_path: Path) -> None:
    """A score is of the very inputs that the model is named after."""
    for kind, photograph in zip(("a", "b"), PHOTOGRAPHS, strict=False):
        (tmp_path / "images" / kind).mkdir(parents=True)
        (tmp_path / "images" / kind / locate(photograph).name).write_bytes(
            locate(photograph).read_bytes()
        )
    found, made = datasets.find(tmp_path / "images"), {}
    for name in ("pillow", "numpy"):
        model = preprocessors.implemented(
            dataclasses.replace(models.RESNET18, labels=("a", "b")), name
        )
        dataset = dataset_classes.fit(found, model)
        (tmp_path / name).mkdir()
        dataset_batches.make(dataset, model, tmp_path / name)
        made[name] = (
            artifact_store.key_of(dataset_batches.key_parts(dataset, model)),
            np.load(tmp_path / name / dataset_batches.SAMPLES),
        )
    assert made["pillow"][0] != made["numpy"][0]
    assert (
        0
        < np.abs(made["pillow"][1] - made["numpy"][1]).max()
        <= pixel_difference.ALLOWED / 255 / 0.224
    )


@pytest.mark.parametrize(
    ("case", "words"),
    [
        (
            lambda: Case((models.RESNET18,), preprocessing=("imagemagick",)),
            "unknown preprocessing 'imagemagick'; expected one of pillow",
        ),
        (
            lambda: Case((models.RESNET18,), preprocessing=("opencv",)),
            "recipe imagenet_224 by opencv: .*samples four neighbours",
        ),
        (lambda: Case((PRODUCT,), ("ort",), preprocessing=("numpy",)), "product has no recipe="),
        (lambda: Case((models.RESNET18,), preprocessing="numpy"), "write a tuple"),
        (lambda: Case((models.RESNET18,), preprocessing=("numpy", "numpy")), "names a value twice"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_told_in_words(case: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        matrix.expand(case())


def test_a_step_of_ones_own_is_done_by_itself_only() -> None:
    mine = Recipe("mine", (Decode(), ToArray(), Invert(), Layout()))
    for name in preprocessors.names()[1:]:
        assert "not Invert" in preprocessors.refuses(mine, name)
    assert preprocessors.refuses(mine, "pillow") == ""
    assert "last step is not Layout" in preprocessors.refuses(
        Recipe("open", (Decode(), ToArray())), "numpy"
    )


def test_a_filter_that_libraries_mean_differently_is_refused() -> None:
    cubic = Recipe(
        "cubic", (Decode(), Resize(64, antialias=False, filter="bicubic"), ToArray(), Layout())
    )
    for name in preprocessors.names()[1:]:
        assert "a = -0.7" in preprocessors.refuses(cubic, name)


def test_a_library_that_is_not_installed_is_unavailable_with_its_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(type(preprocessors.find("opencv")), "requires", ("no_such_library",))
    by = preprocessors.ImplementedRecipe(
        "by", preprocess.Recipe("x", (Decode(), ToArray(), Layout())).steps, "opencv"
    )
    with pytest.raises(
        Unavailable, match=r"no_such_library is not installed; pip install 'evenbench\[opencv\]'"
    ):
        preprocessors.apply(by, locate(PHOTOGRAPHS[0]))


def test_cpp_without_a_compiler_is_unavailable_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain, "compiler", list)
    with pytest.raises(
        Unavailable,
        match=r"preprocessing cpp: a C\+\+20 compiler is not installed; "
        r"install a C\+\+ compiler such as g",
    ):
        preprocessors.present("cpp")
    with pytest.raises(Unavailable, match="compiled on first use"):
        build.build_preprocessing()


def test_cpp_that_cannot_be_compiled_says_what_the_compiler_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "preprocess.hpp").write_text("")
    (tmp_path / "preprocess.cpp").write_text("no such language\n")
    monkeypatch.setattr(build, "SOURCES", tmp_path)
    monkeypatch.setenv("EVENBENCH_CACHE", str(tmp_path / "cache"))
    if not toolchain.compiler():
        pytest.skip("no C++ compiler")
    with pytest.raises(
        RuntimeError, match=r"compiling preprocess.cpp failed:\n(.|\n)*preprocess.cpp:1:"
    ):
        build.build_preprocessing()


def test_the_sources_of_another_language_are_part_of_the_key(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    recipe = preprocessors.implemented(models.RESNET18, "cpp").recipe
    assert recipe is not None
    files = {Path(file).name for file in source_digests.of_types(preprocessors.defined_by(recipe))}
    assert {"preprocessor.py", "preprocess.cpp", "preprocess.hpp", "preprocess.py"} <= files
    changed = tmp_path / "preprocess.hpp"
    changed.write_text("// another filter\n")
    (made,) = matrix.expand(Case((models.RESNET18,), ("ort",), preprocessing=("cpp",)))
    before = artifact_store.key_of(batches.key_parts(made))
    monkeypatch.setattr(type(preprocessors.find("cpp")), "native_sources", (str(changed),))
    assert artifact_store.key_of(batches.key_parts(made)) != before


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ((Layout(),), "Layout must follow ToArray"),
        (
            (ToArray(), Normalise((0.5,), (0.2,)), Normalise((0.5,), (0.2,)), Layout()),
            "Normalise must follow ToArray, once",
        ),
        (
            (ToArray(), Normalise((0.5, 0.5), (0.2, 0.2)), Layout()),
            "2 means and 2 deviations for 3 channels",
        ),
        ((ToArray(), Normalise((0.5, 0.5), (0.2,)), Layout()), "2 means and 1 deviations"),
    ],
)
def test_cpp_says_what_it_cannot_do(steps: Any, words: str) -> None:
    by = preprocessors.find("cpp")
    if by.missing():
        pytest.skip("no C++ compiler")
    with pytest.raises((ValueError, RuntimeError), match=words):
        preprocessors.chain(by, steps, np.zeros((4, 5, 3), np.uint8))
    with pytest.raises(ValueError, match="pixels are float32; expected uint8"):
        by.resize(np.zeros((4, 5, 3), np.float32), preprocess.Resize(2, antialias=True), 2, 2)


def test_what_is_no_implementation_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        registry,
        "implementations",
        lambda: {"odd": Row("odd", "evenbench.harness.core.types:Recipe", "nothing")},
    )
    monkeypatch.setattr(registry, "implementation", lambda name: 3)
    with pytest.raises(UsageError, match="is a int; expected a harness Implementation"):
        preprocessors.find("odd")


def test_a_program_is_shipped_with_the_steps_as_they_are_written() -> None:
    _, other, _ = by_three()
    with pytest.raises(
        UsageError, match="prepared by torchvision, but a program has the recipe's own steps"
    ):
        bundle._deployment(other)


def test_levels_undo_the_recipe() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 4, 3)).astype(np.uint8)
    recipe = Recipe("x", (ToArray(), Normalise((0.4, 0.5, 0.6), (0.2, 0.3, 0.1)), Layout("CHW")))
    value: Any = pixels
    for step in recipe.steps:
        value = step.apply(value)
    assert pixel_difference.in_levels(recipe, value) == pytest.approx(
        pixels.astype(float), abs=1e-3
    )
    moved = value.copy()
    moved[1, 2, 3] += 3 / 255 / 0.3
    found = pixel_difference.between(recipe, value, moved)
    assert found.worst == pytest.approx(3, abs=1e-3)
    assert found.share == pytest.approx(1 / 60)
    assert pixel_difference.between(recipe, value, np.full_like(value, np.nan)).worst == float(
        "inf"
    )
    with pytest.raises(UsageError, match="expected equal shapes"):
        pixel_difference.between(recipe, value, value[:, 1:])
    with pytest.raises(UsageError, match="Invert cannot be inverted"):
        pixel_difference.in_levels(Recipe("y", (ToArray(), Invert())), value)
    with pytest.raises(UsageError, match="has no ToArray"):
        pixel_difference.in_levels(Recipe("z", (Layout(),)), value)


def test_the_command_says_levels_and_what_cannot_be_done(
    capsys: pytest.CaptureFixture[str],
) -> None:
    photo = str(locate(PHOTOGRAPHS[3]))
    assert main(["levels", photo, "--by", "numpy", "opencv"]) == 0
    said = capsys.readouterr().out
    assert "numpy: at most 1 levels of 255 (chelsea.png)" in said
    assert (
        "opencv: OpenCV's linear resize has no antialias=True, as it samples four neighbours"
        in said
    )
    assert main(["levels", photo, "--by", "numpy", "--allowed", "0.5", "--json"]) == 1
    assert '"worst": 1.0' in capsys.readouterr().out
    assert main(["levels", "--recipe", "nobodys"]) == 4
    assert main(["levels", photo, "--by", "imagemagick"]) == 4
    assert main(["levels", "absent.jpg", "--by", "numpy"]) == 4
    assert "absent.jpg" in capsys.readouterr().err
