"""The same declaration makes the same bytes; anything that may change them changes their key;
batches rotate and differ.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from evenbench.harness import BATCH, Model, Recipe, TensorSpec, UsageError, inputs
from evenbench.harness.core import artifact_store
from evenbench.harness.inputs import batches
from evenbench.harness.photographs import PHOTOGRAPHS
from evenbench.harness.preprocess import CenterCrop, Decode, Layout, Resize, ToArray
from tests.unit.builders import HERE, cell, product

SMALL = Recipe("small", (Decode(), Resize(32, antialias=True), CenterCrop(24), ToArray(), Layout()))
PHOTO_MODEL = product(
    inputs=(TensorSpec("image", (BATCH, 3, 24, 24)),),
    recipe=SMALL,
    images=PHOTOGRAPHS[2:5],
    inputs_from="",
    arguments={},
)


def made(model: Model, batch: int, folder: Path) -> dict[str, Any]:
    folder.mkdir()
    return batches.make(model, batch, folder)


def key(model: Model = PHOTO_MODEL, batch: int = 1) -> str:
    return artifact_store.key_of(batches.key_parts(cell(model=model, batch=batch)))


def test_the_same_declaration_makes_the_same_bytes(tmp_path: Path) -> None:
    first, again = made(PHOTO_MODEL, 2, tmp_path / "a"), made(PHOTO_MODEL, 2, tmp_path / "b")
    assert first == again
    assert (tmp_path / "a" / "image.npy").read_bytes() == (
        tmp_path / "b" / "image.npy"
    ).read_bytes()
    assert (first["recipe"], first["names"], first["batches"]) == (
        "small",
        ["astronaut", "chelsea", "coffee"],
        3,
    )


OTHERS = {
    "recipe": {
        "recipe": dataclasses.replace(
            SMALL, steps=(Decode(), Resize(32, antialias=False), *SMALL.steps[2:])
        )
    },
    "image": {"images": (*PHOTOGRAPHS[2:4], PHOTOGRAPHS[5])},
    "order": {"images": PHOTOGRAPHS[2:5][::-1]},
    "name": {"inputs": (TensorSpec("picture", (BATCH, 3, 24, 24)),)},
}


@pytest.mark.parametrize("other", OTHERS)
def test_another_recipe_image_order_or_name_is_another_hash_and_another_key(
    other: str, tmp_path: Path
) -> None:
    changed = dataclasses.replace(PHOTO_MODEL, **OTHERS[other])
    assert (
        made(changed, 1, tmp_path / "a")["sha256"] != made(PHOTO_MODEL, 1, tmp_path / "b")["sha256"]
    )
    assert key(changed) != key()


def test_another_batch_is_another_hash_and_another_key(tmp_path: Path) -> None:
    assert (
        made(PHOTO_MODEL, 2, tmp_path / "a")["sha256"]
        != made(PHOTO_MODEL, 1, tmp_path / "b")["sha256"]
    )
    assert key(batch=2) != key()


def test_what_does_not_touch_the_bytes_does_not_touch_the_key() -> None:
    assert key(dataclasses.replace(PHOTO_MODEL, name="other", task="other", outputs=())) == key()


@pytest.mark.parametrize("package", ["numpy", "pillow"])
def test_another_version_of_what_decodes_is_another_key(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = key()
    version_of = batches.version_of
    monkeypatch.setattr(
        batches, "version_of", lambda name: "0.0" if name == package else version_of(name)
    )
    assert key() != before


def test_a_changed_source_of_samples_is_another_key(tmp_path: Path) -> None:
    code = tmp_path / "code.py"
    code.write_text("def samples(model): ...\n")
    model = product(inputs_from=f"{code}:samples")
    before = key(model)
    assert key(model) == before
    code.write_text("def samples(model): return None\n")
    assert key(model) != before


def test_digests_tell_names_apart_from_bytes(tmp_path: Path) -> None:
    for name, content in (("one", b"xy"), ("two", b"z"), ("three", b"x"), ("four", b"yz")):
        (tmp_path / name).write_bytes(content)
    digests = [
        batches.digest_batches({"a": tmp_path / "one", "b": tmp_path / "two"}),
        batches.digest_batches({"b": tmp_path / "one", "a": tmp_path / "two"}),
        batches.digest_batches({"a": tmp_path / "three", "b": tmp_path / "four"}),
    ]
    assert len(set(digests)) == 3
    assert batches.digest_batches({"b": tmp_path / "two", "a": tmp_path / "one"}) == digests[0], (
        "the order of names must not count"
    )


@pytest.mark.parametrize(
    ("samples", "batch", "count"),
    [(10, 1, 10), (10, 3, 4), (10, 5, 3), (10, 64, 3), (2, 1, 2), (1, 8, 1), (3, 2, 3)],
)
def test_how_many_batches_rotate(samples: int, batch: int, count: int) -> None:
    assert batches.batches_for(samples, batch) == count


@pytest.mark.parametrize("count", range(1, 13))
@pytest.mark.parametrize("batch", [*range(1, 14), 20, 24, 100])
def test_every_sample_is_used_and_three_batches_differ(count: int, batch: int) -> None:
    spec = TensorSpec("x", (BATCH,))
    batched = batches._batched(spec, {"x": np.arange(count, dtype=np.float32)}, batch)
    assert batched.shape == (batches.batches_for(count, batch), batch)
    assert set(batched.ravel()) == set(range(count))
    assert len({row.tobytes() for row in batched}) >= min(3, count)


def test_a_shape_without_a_batch_takes_each_sample_whole() -> None:
    samples = np.arange(12, dtype=np.float32).reshape(4, 1, 3)
    assert batches._batched(TensorSpec("x", (1, 3)), {"x": samples}, 1).tolist() == samples.tolist()


def test_loaded_batches_are_read_only_contiguous_and_those_that_were_written(
    tmp_path: Path,
) -> None:
    facts = made(product(), 2, tmp_path / "a")
    loaded = batches.load(tmp_path / "a", product())
    assert len(loaded) == facts["batches"] == 3
    assert [batch["x"].shape for batch in loaded] == [(2, 4)] * 3
    assert all(batch["x"].flags.c_contiguous for batch in loaded)
    with pytest.raises(ValueError, match="read-only"):
        loaded[0]["x"][0, 0] = 1


def doubles(model: Model) -> dict[str, Any]:
    return {"x": np.zeros((3, 4))}


def short(model: Model) -> dict[str, Any]:
    return {"x": np.zeros((3, 2), np.float32)}


def nameless(model: Model) -> dict[str, Any]:
    return {"y": np.zeros((3, 4), np.float32)}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"inputs_from": doubles}, r"made float64\[1, 4\], declared float32\[1, 4\]"),
        (
            {"inputs_from": short},
            r"made float32\[1, 2\], declared float32\[1, 4\]; change the recipe or the TensorSpec",
        ),
        ({"inputs_from": nameless}, r"returned \['y'\], expected also \['x'\]"),
        ({"inputs_from": ""}, "has no source of inputs"),
        (
            {
                "inputs_from": "",
                "recipe": SMALL,
                "images": PHOTOGRAPHS[:1],
                "inputs": PHOTO_MODEL.inputs * 2,
            },
            "a recipe yields one input, but 2",
        ),
    ],
)
def test_inputs_that_are_not_as_declared_are_refused(
    wrong: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        batches.make(product(**wrong), 1, tmp_path)


def held_out() -> tuple[Any, Any]:
    return np.ones((6, 4), np.float32), np.arange(6)


def test_the_held_out_split_is_stored_beside_and_does_not_count_as_input(tmp_path: Path) -> None:
    plain, judged = (
        made(product(), 1, tmp_path / "a"),
        made(product(evaluation=held_out), 1, tmp_path / "b"),
    )
    assert np.load(tmp_path / "b" / "labels.npy").tolist() == list(range(6))
    assert np.load(tmp_path / "b" / "evaluation.npy").shape == (6, 4)
    assert judged["sha256"] == plain["sha256"]
    assert key(product(evaluation=held_out)) != key(product())


@pytest.mark.parametrize(
    ("dtype", "shape"),
    [("float32", (BATCH, 3)), ("float16", (2, 3)), ("int64", (BATCH, 5)), ("bool", (BATCH, 9))],
)
def test_random_samples_are_the_same_every_time_and_of_the_declared_type(
    dtype: str, shape: tuple[int | str, ...]
) -> None:
    model = product(inputs=(TensorSpec("x", shape, dtype),))
    first, again = inputs.standard_normal(model)["x"], inputs.standard_normal(model)["x"]
    assert np.array_equal(first, again)
    assert str(first.dtype) == dtype
    assert first.shape == (8, *(shape[1:] if shape[0] == BATCH else shape))
    assert len({sample.tobytes() for sample in first}) > 1


def test_a_single_photo_of_the_users_gets_two_mirror_images(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (300, 260, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "cat.png")
    model = product(
        inputs=PHOTO_MODEL.inputs,
        arguments={"recipe": "imagenet_224", "files": json.dumps([str(tmp_path / "cat.png")])},
    )
    found = inputs.files(model)["image"]
    assert found.shape == (3, 3, 224, 224)
    assert np.array_equal(found[1], found[0][:, :, ::-1])
    assert len({sample.tobytes() for sample in found}) == 3


def test_samples_come_from_a_late_name(tmp_path: Path) -> None:
    facts = made(product(inputs_from=f"{HERE}:samples"), 1, tmp_path / "a")
    assert (facts["recipe"], facts["names"]) == (
        f"{HERE}:samples",
        [f"sample {index}" for index in range(5)],
    )


# -- what int8-static is calibrated on -------------------------------------------------------------

CALIBRATED = dataclasses.replace(PHOTO_MODEL, calibration=PHOTOGRAPHS[5:8])


def calibrated(model: Model, folder: Path, batch: int = 1) -> dict[str, Any]:
    folder.mkdir()
    return batches.make_calibration(model, batch, folder)


def test_calibration_goes_through_the_models_own_recipe_at_the_cells_batch(tmp_path: Path) -> None:
    facts = calibrated(CALIBRATED, tmp_path / "c", batch=2)
    judged = made(dataclasses.replace(PHOTO_MODEL, images=PHOTOGRAPHS[5:8]), 2, tmp_path / "j")
    assert facts["names"] == ["rocket", "motorcycle", "retina"]
    assert facts["sha256"] == judged["sha256"]
    assert np.load(tmp_path / "c" / "image.npy").shape[1:] == (2, 3, 24, 24)


def test_what_is_judged_is_not_calibrated_on(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError,
        match=r"coffee appears in calibration= and images=; calibrate on other photographs",
    ):
        calibrated(dataclasses.replace(PHOTO_MODEL, calibration=PHOTOGRAPHS[4:6]), tmp_path / "c")


def test_calibration_and_inputs_have_keys_of_their_own() -> None:
    def own_key(model: Model) -> str:
        return artifact_store.key_of(batches.calibration_key(cell(model=model)))

    assert key(CALIBRATED) == key(), "inputs depend on what int8 is calibrated on"
    assert own_key(CALIBRATED) != own_key(
        dataclasses.replace(CALIBRATED, calibration=PHOTOGRAPHS[5:7])
    )
    assert own_key(CALIBRATED) == own_key(dataclasses.replace(CALIBRATED, images=PHOTOGRAPHS[:2]))


def test_random_inputs_are_calibrated_on_other_numbers(tmp_path: Path) -> None:
    model = product(
        inputs_from="harness.inputs:standard_normal",
        calibration_from="harness.inputs:standard_normal_calibration",
    )
    assert made(model, 1, tmp_path / "j")["sha256"] != calibrated(model, tmp_path / "c")["sha256"]


def test_the_suites_models_declare_calibration_that_no_cell_is_judged_by(tmp_path: Path) -> None:
    from benchmarks import digits
    from benchmarks.models import DIGITS_CNN, RESNET18

    assert not {image.sha256 for image in RESNET18.images} & {
        image.sha256 for image in RESNET18.calibration
    }
    seen, held_out = digits.calibration(DIGITS_CNN)["image"], digits.held_out()[0]
    assert len(seen) == 100
    assert not {image.tobytes() for image in seen} & {image.tobytes() for image in held_out}
