"""The expected size of container images, and the files copied by both Dockerfiles."""

from __future__ import annotations

from pathlib import Path

import pytest

from evenbench.harness.deployment import image_size, program, readme


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    """A folder as it is shipped: 3000 bytes that both images copy, and a model of 20,000."""
    copied = {
        "run.py": 400,
        "settings.json": 100,
        "parity/input-0.npy": 2000,
        "parity/output-0.npy": 500,
    }
    model, others = (
        {"model/a": 15_000, "model/b/c": 5000},
        {"README.md": 9000, "requirements.lock": 9000, "native/main.cpp": 9000},
    )
    for name, size in (copied | model | others).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(bytes(size))
    return tmp_path


@pytest.mark.parametrize("template", ["Dockerfile", "Dockerfile-native"])
def test_all_that_a_dockerfile_copies_is_counted(template: str) -> None:
    lines = (
        program.filled(template, {"cell": "c", "name": "n", "python": "3"})
        .partition(" AS program")[2]
        .splitlines()
    )
    copied = [
        word
        for line in lines
        if line.startswith("COPY ") and "--from" not in line
        for word in line.split()[1:-1]
    ]
    assert sorted(copied) == sorted([*image_size.COPIED, "model"])


def test_the_size_of_an_image_is_told_above_its_base_or_not_at_all(shipped: Path) -> None:
    told = image_size.expected(
        {"environment": {"bytes": 1_000_000}, "build": {"bytes": 500}}, shipped
    )
    assert (told["above_base_bytes"], told["mounted_above_base_bytes"]) == (1_023_500, 1_003_500)
    assert (told["base_bytes"], told["bytes"], told["mounted_bytes"]) == (None, None, None)
    assert "--base-bytes" in told["reason"]
    assert "no image was built" in told["reason"]
    assert told["base"].endswith("-slim")
    assert image_size.expected({}, shipped, 7)["above_base_bytes"] is None


def test_with_the_size_of_its_base_an_image_is_told_as_a_whole(shipped: Path) -> None:
    told = image_size.expected({"environment": {"bytes": 1_000_000}}, shipped, 120_000_000)
    assert (told["bytes"], told["mounted_bytes"]) == (121_023_000, 121_003_000)
    assert "--base-bytes" not in told["reason"]
    words = readme.image_summary(told)
    assert words.startswith(
        f"Expected size of an image, 120 MB of {told['base']} included: "
        "121 MB with the model inside, 121 MB without"
    )
