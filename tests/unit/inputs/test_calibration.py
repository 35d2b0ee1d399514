"""Calibration data of `--calibration`: files of the user, refused in words, and their origin."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evenbench.harness import BATCH, Model, TensorSpec, UsageError
from evenbench.harness.collection import calibration_flags
from evenbench.harness.inputs import calibration

MODEL = Model(
    "m", build="a:b", inputs=(TensorSpec("x", (BATCH, 4)), TensorSpec("n", (2,), "int64"))
)


def arrays(**changed: Any) -> dict[str, Any]:
    return {"x": np.ones((5, 4), np.float32), "n": np.ones((5, 2), np.int64), **changed}


def calibrated(file: Path) -> Model:
    given = calibration_flags.fields([str(file)], "", (), 2)
    return replace(MODEL, calibration_from=given.pop("calibration_from"), arguments=given)


def saved(folder: Path, **changed: Any) -> Path:
    file = folder / "data.npz"
    kept = {name: array for name, array in arrays(**changed).items() if array is not None}
    np.savez(file, **kept)
    return file


def images(folder: Path, count: int) -> list[Path]:
    from PIL import Image

    folder.mkdir(parents=True)
    files = [folder / f"{at:03}.png" for at in range(count)]
    for at, file in enumerate(files):
        Image.new("RGB", (8, 8), (at, 0, 0)).save(file)
    return files


def test_arrays_are_taken_by_the_name_of_their_input(tmp_path: Path) -> None:
    model = calibrated(saved(tmp_path))
    samples = calibration.samples(model)
    assert {name: array.shape for name, array in samples.items()} == {"x": (5, 4), "n": (5, 2)}
    assert calibration.origin(model) == "data.npz"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"n": None}, r"no samples of input n; the file has x; save an array \[count, 2\]"),
        ({"x": np.ones((5, 3), np.float32)}, r"x is float32\[5, 3\]; expected float32\[count, 4\]"),
        ({"x": np.ones((5, 4))}, r"x is float64\[5, 4\]; expected float32"),
        ({"x": np.ones((3, 4), np.float32)}, "different numbers of samples"),
        ({"x": np.ones((0, 4), np.float32)}, "no samples of input x"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path: Path, changed: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        calibration.samples(calibrated(saved(tmp_path, **changed)))


def test_a_folder_gives_evenly_spread_images(tmp_path: Path) -> None:
    files = images(tmp_path / "data" / "cats", 3)
    given = json.loads(
        calibration_flags.fields([str(tmp_path / "data")], "imagenet_224", (), 1)["calibration"]
    )
    assert given["files"] == [str(file) for file in files]
    model = replace(MODEL, arguments={"calibration": json.dumps(given)}, calibration_from="a:b")
    assert calibration.origin(model) == "3 photographs (000.png, 001.png, 002.png)"


def test_files_that_cannot_calibrate_are_refused(tmp_path: Path) -> None:
    (photo,) = images(tmp_path / "one", 1)
    (tmp_path / "empty").mkdir()
    data = saved(tmp_path)
    cases: list[tuple[list[Path], str, list[str], int, str]] = [
        ([tmp_path / "absent"], "", [], 1, "no such file or folder"),
        ([tmp_path / "empty"], "imagenet_224", [], 1, "the folder has no images"),
        ([photo], "", [], 1, "needs --recipe"),
        ([photo], "imagenet_224", [], 2, "images make one input, but the model has 2"),
        ([photo, data], "imagenet_224", [], 1, "a single .npz file"),
        ([photo], "imagenet_224", [str(photo)], 1, "000.png is an --input too"),
    ]
    for files, recipe, judged, inputs, words in cases:
        with pytest.raises(UsageError, match=words):
            calibration_flags.fields([str(file) for file in files], recipe, judged, inputs)


def test_random_numbers_are_named_as_such() -> None:
    assert calibration.origin(replace(MODEL, calibration_from=calibration.RANDOM)) == (
        "random numbers, not data"
    )
    assert calibration.origin(MODEL) == ""
