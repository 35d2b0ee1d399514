"""Input that is not what it should be, by command: one line that says what to do, an exit code, and
everything as it was before.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from evenbench.harness import BATCH, Model, TensorSpec, cli, inputs, preprocess
from evenbench.harness.collection import user_model_flags, user_models
from tests.reports.synthetic import record
from tests.unit.inputs import test_image_validation as test_bad_images


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder: results of an earlier run, a model, an empty folder, and a folder of images
    that nobody labelled.
    """
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "run.jsonl").write_text(json.dumps(record("mine", "ort")) + "\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "loose").mkdir()
    test_bad_images.photo().save(tmp_path / "loose" / "a.jpg")
    declared = "from harness import Case\nfrom benchmarks.models import DIGITS_CNN\n"
    (tmp_path / "bench_one.py").write_text(declared + "case = Case((DIGITS_CNN,), ('ort',))\n")
    (tmp_path / "m.onnx").write_bytes(b"it is not read before the photos are")
    for name in ("empty.jpg", "text.png", "cut.jpg", "scrambled.png"):
        test_bad_images.REFUSED[name][0](tmp_path / name)
    return tmp_path


def everything(folder: Path) -> dict[str, bytes]:
    files = (
        path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    )
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def photo(name: str) -> list[str]:
    return ["run", "m.onnx", "--input", name, "--recipe", "imagenet_224"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (photo("empty.jpg"), 4, "empty.jpg: the file is empty"),
        (photo("text.png"), 4, "give a JPEG, PNG or another image that Pillow decodes"),
        (photo("cut.jpg"), 4, "ends in the middle of the image"),
        (photo("scrambled.png"), 4, "step Decode of recipe imagenet_224 failed"),
        (photo("empty"), 4, "--input empty: no such file"),
        (["run", "empty"], 4, "no Case in empty"),
        (["run", "bench_one.py", "--dataset", "empty"], 4, "empty has no images"),
        (["run", "bench_one.py", "--dataset", "loose"], 4, "its label is unknown"),
        (["report", "empty"], 4, "no outcomes to report"),
        (["advise", "empty", "--model", "mine"], 4, "no outcome is recorded there"),
        (["footprint", "empty", "--model", "mine"], 4, "no outcome is recorded there"),
        (["footprint", "--model", "mine", "--price-per-hour", "0"], 4, "expected a number over 0"),
        (["advise", "--model", "mine", "--memory", "1B"], 1, "nothing satisfies that."),
    ],
)
def test_it_is_told_in_words_and_nothing_is_lost(
    words: list[str], code: int, said: str, desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = everything(desk)
    assert cli.main(words) == code
    told = capsys.readouterr()
    assert said in told.err + told.out
    assert "Traceback" not in told.err
    assert told.err.count("\n") == (code == 4), "one line, and an empty answer is no error"
    assert everything(desk) == before


ALIKE: dict[str, Callable[[Path], Any]] = {
    name: test_bad_images.ALIKE[name] for name in ("grey.jpg", "ink.jpg")
}


def test_grey_and_cmyk_photos_are_inputs_like_any_other(tmp_path: Path) -> None:
    for name, write in ALIKE.items():
        write(tmp_path / name)
    files = [str(tmp_path / name) for name in ALIKE]
    assert (
        user_model_flags.photo_shape(
            user_model_flags.ModelFlags(photos=tuple(files), recipe="imagenet_224")
        )
        == "1x3x224x224"
    )
    chosen = {"recipe": "imagenet_224", "files": json.dumps(files)}
    spec = TensorSpec("x", (BATCH, 3, 224, 224))
    made = inputs.files(
        Model(
            "m", build="a:b", inputs=(spec,), inputs_from=user_models.PHOTO_INPUTS, arguments=chosen
        )
    )["x"]
    assert (
        made.tobytes()
        == np.stack(
            [preprocess.apply(preprocess.IMAGENET_224, Path(file)) for file in files]
        ).tobytes()
    )
    assert Image.open(files[1]).mode == "CMYK"
