"""External weights of an ONNX file: part of the key, inside the folder, no larger than told."""

from __future__ import annotations

from pathlib import Path

import pytest

onnx = pytest.importorskip("onnx")

from evenbench.backends.onnx import description, reference_evaluator  # noqa: E402
from evenbench.harness import UsageError  # noqa: E402


def model(folder: Path, location: str, dims: tuple[int, ...] = (4, 4), **more: str) -> Path:
    helper, kind = onnx.helper, onnx.TensorProto
    weights = kind(name="w", data_type=kind.FLOAT, dims=list(dims), data_location=kind.EXTERNAL)
    for key, value in {"location": location, **more}.items():
        entry = weights.external_data.add()
        entry.key, entry.value = key, value
    specs = [helper.make_tensor_value_info(name, kind.FLOAT, ["b", 4]) for name in "xy"]
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    graph = helper.make_graph([node], "g", specs[:1], specs[1:], [weights])
    file = folder / "model.onnx"
    file.write_bytes(helper.make_model(graph).SerializeToString())
    return file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_bytes(bytes(64))
    inside = tmp_path / "inside"
    (inside / "deep").mkdir(parents=True)
    for name in ("w.bin", "deep/w.bin", "other"):
        (inside / name).write_bytes(bytes(64))
    (inside / "link").symlink_to(tmp_path / "secret")
    return inside


@pytest.mark.parametrize("name", ["w.bin", "deep/w.bin"])
def test_a_change_of_the_weights_is_a_change_of_the_key(name: str, folder: Path) -> None:
    file = model(folder, name)
    before = reference_evaluator.digest(file)
    (folder / "other").write_bytes(b"\1" * 64)
    assert reference_evaluator.digest(file) == before
    (folder / name).write_bytes(b"\1" * 64)
    assert reference_evaluator.digest(file) != before


@pytest.mark.parametrize(
    ("location", "more", "reason"),
    [
        ("../secret", {}, "outside the folder"),
        ("/etc/passwd", {}, "outside the folder"),
        ("link", {}, "outside the folder"),
        ("absent.bin", {}, "which is missing"),
        ("w.bin", {"length": "x"}, "the length of external weights"),
        ("w.bin", {"offset": "-5"}, "the offset of external weights"),
        ("w.bin", {"length": "9" * 30}, "the length of external weights"),
        ("w.bin", {"offset": "1"}, "is truncated"),
    ],
)
def test_weights_elsewhere_or_of_another_size_are_refused_before_they_are_read(
    location: str, more: dict[str, str], reason: str, folder: Path
) -> None:
    file = model(folder, location, **more)
    with pytest.raises(UsageError, match=reason):
        description.external_files(description.read(file), file)


def test_a_declared_size_beyond_the_file_allocates_nothing(folder: Path) -> None:
    file = model(folder, "w.bin", (1 << 40, 1 << 40))
    with pytest.raises(UsageError, match="is truncated"):
        description.external_files(description.read(file), file)
