"""Inputs from the user's files become the batches of every backend, with expected outputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evenbench.harness import BATCH, Cell, Model, TensorSpec, UsageError
from evenbench.harness.core import artifact_store
from evenbench.harness.inputs import batches, expected_outputs, given_samples

SPECS = (TensorSpec("x", (BATCH, 3)), TensorSpec("state", (2, BATCH, 4)))


def model_of(*files: Path, specs: tuple[TensorSpec, ...] = SPECS, varied: Any = ()) -> Model:
    outputs = (TensorSpec("y", (BATCH, 3)),)
    arguments = {
        given_samples.FILES: json.dumps([str(file) for file in files]),
        given_samples.DIGESTS: json.dumps([given_samples.digest(file) for file in files]),
        given_samples.VARIED: json.dumps(varied),
    }
    return Model(
        "m",
        file="m.onnx",
        inputs=specs,
        outputs=outputs,
        inputs_from="harness.inputs:given",
        arguments=arguments,
    )


def arrays(seed: int, batch: int = 1) -> dict[str, Any]:
    generator = np.random.default_rng(seed)
    return {
        "x": generator.random((batch, 3), np.float32),
        "state": generator.random((2, batch, 4), np.float32),
    }


def made(model: Model, batch: int, folder: Path) -> list[dict[str, Any]]:
    folder.mkdir()
    batches.make(model, batch, folder)
    return batches.load(folder, model)


def test_samples_of_files_rotate_as_they_are(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.npz" for number in range(3)]
    for number, file in enumerate(files):
        np.savez(file, **arrays(number))
    loaded = made(model_of(*files), 1, tmp_path / "inputs")
    assert len(loaded) == 3
    for number, batch in enumerate(loaded):
        for name, array in arrays(number).items():
            np.testing.assert_array_equal(batch[name], array)


def test_a_whole_batch_is_split_along_its_axis(tmp_path: Path) -> None:
    whole = arrays(0, batch=4)
    np.savez(tmp_path / "four.npz", **whole)
    model = model_of(tmp_path / "four.npz")
    pair = made(model, 2, tmp_path / "two")[0]
    np.testing.assert_array_equal(pair["x"], whole["x"][:2])
    np.testing.assert_array_equal(pair["state"], whole["state"][:, :2])
    single = made(model, 1, tmp_path / "one")
    np.testing.assert_array_equal(single[3]["state"], whole["state"][:, 3:])


def test_whole_batches_of_several_files_stay_together(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.npz" for number in range(2)]
    for number, file in enumerate(files):
        np.savez(file, **arrays(number, batch=3))
    loaded = made(model_of(*files), 3, tmp_path / "inputs")
    for number, batch in enumerate(loaded):
        for name, array in arrays(number, batch=3).items():
            np.testing.assert_array_equal(batch[name], array)


def test_an_additional_first_axis_lists_samples(tmp_path: Path) -> None:
    np.savez(tmp_path / "many.npz", x=np.arange(10, dtype=np.float32).reshape(5, 1, 2))
    model = model_of(tmp_path / "many.npz", specs=(TensorSpec("x", (1, 2)),))
    assert [batch["x"].tolist() for batch in made(model, 1, tmp_path / "inputs")] == [
        [[2.0 * index, 2.0 * index + 1]] for index in range(5)
    ]


def test_one_sample_is_followed_by_others_in_another_order(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.asarray([[1, 2, 3]], np.float32))
    specs = (TensorSpec("x", (1, 3)),)
    first, *others = made(
        model_of(tmp_path / "x.npy", specs=specs, varied=["x"]), 1, tmp_path / "varied"
    )
    assert first["x"].tolist() == [[1, 2, 3]]
    assert [sorted(batch["x"].reshape(-1)) for batch in others] == [[1, 2, 3]] * 2
    assert all(batch["x"].tolist() != first["x"].tolist() for batch in others)
    (alone,) = made(model_of(tmp_path / "x.npy", specs=specs), 1, tmp_path / "alone")
    assert alone["x"].tolist() == [[1, 2, 3]]


def test_tensors_of_torch_and_safetensors_keep_their_bits(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    files = pytest.importorskip("safetensors.torch")
    half = torch.tensor([[1.5, -2.0, 0.25]], dtype=torch.bfloat16)
    torch.save({"x": half}, tmp_path / "x.pt")
    files.save_file({"x": half}, tmp_path / "x.safetensors")
    for name in ("x.pt", "x.safetensors"):
        model = model_of(tmp_path / name, specs=(TensorSpec("x", (1, 3), "bfloat16"),))
        (batch,) = made(model, 1, tmp_path / f"{name}-inputs")
        assert str(batch["x"].dtype) == "bfloat16"
        assert batch["x"].astype(np.float32).tolist() == [[1.5, -2.0, 0.25]]


def write_test_data(folder: Path) -> None:
    """Two data sets with an input and an expected output each."""
    onnx = pytest.importorskip("onnx")
    for number in range(2):
        data = folder / f"test_data_set_{number}"
        data.mkdir(parents=True)
        values = np.full((1, 3), number, np.float32)
        for kind, name, array in (("input", "x", values), ("output", "y", values * 2)):
            tensor = onnx.numpy_helper.from_array(array, name)
            (data / f"{kind}_0.pb").write_bytes(tensor.SerializeToString())


def test_test_data_bring_the_outputs_that_they_expect(tmp_path: Path) -> None:
    write_test_data(tmp_path / "data")
    model = model_of(tmp_path / "data", specs=(TensorSpec("x", (BATCH, 3)),))
    loaded = made(model, 1, tmp_path / "inputs")
    assert [batch["x"].tolist() for batch in loaded] == [[[0] * 3], [[1] * 3]]
    expected = expected_outputs.load(tmp_path / "inputs", model)
    assert [outputs["y"].tolist() for outputs in expected] == [[[0] * 3], [[2] * 3]]
    # Two samples in one batch are no data set, so nothing is known of their outputs.
    made(model, 2, tmp_path / "pairs")
    assert expected_outputs.load(tmp_path / "pairs", model) == []


def test_changed_data_of_the_same_name_are_other_inputs(tmp_path: Path) -> None:
    keys = set()
    for value in (1.0, 2.0):
        np.save(tmp_path / "x.npy", np.full((1, 3), value, np.float32))
        model = model_of(tmp_path / "x.npy", specs=(TensorSpec("x", (1, 3)),))
        keys.add(artifact_store.key_of(batches.key_parts(Cell(model, "ort"))))
    assert len(keys) == 2


@pytest.mark.parametrize(
    ("array", "problem"),
    [
        (np.zeros((1, 3)), "x is float64 in the file, the model takes float32"),
        (np.asarray([["a"]]), "x is <U1 in the file, the model takes float32"),
    ],
)
def test_arrays_of_another_type_are_refused(array: Any, problem: str, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", array)
    model = model_of(tmp_path / "x.npy", specs=(TensorSpec("x", (1, 3)),))
    with pytest.raises(UsageError, match=problem):
        given_samples.read(model)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("x.npz", b"PK broken", r"x\.npz cannot be read: .*; write the file again"),
        ("x.txt", b"1 2 3", "unknown format; expected .npz"),
        ("x.safetensors", b"", r"x\.safetensors cannot be read"),
    ],
)
def test_unreadable_files_are_named(
    name: str, content: bytes, problem: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=problem):
        given_samples.read(model_of(tmp_path / name))


def test_wrong_names_are_told(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.zeros((1, 3), np.float32))
    with pytest.raises(UsageError, match="the inputs are named x; the model has x, state"):
        given_samples.read(model_of(tmp_path / "x.npz"))
