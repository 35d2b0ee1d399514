"""Deployments refused before any file is written, and missing outputs of a program."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import detection
from benchmarks.models import DIGITS_CNN
from evenbench.harness import Cell, UsageError, cli
from evenbench.harness.deployment import bundle, verification


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        (Cell(DIGITS_CNN, "null"), "nobody deploys"),
        (Cell(DIGITS_CNN, "tvm"), "no program to package yet"),
        (Cell(DIGITS_CNN, "cpp-libtorch"), "no program to package yet"),
        (
            Cell(DIGITS_CNN, "cpp-openvino", options=(("precision_hint", "runtime"),)),
            "precision_hint=runtime",
        ),
        (Cell(DIGITS_CNN, "ort", device="cuda"), "in no list of requirements"),
        (Cell(DIGITS_CNN, "ort", "int4"), "ort runs"),
        (
            Cell(DIGITS_CNN, "ort", options=(("iobinding", "on"),)),
            "programs don't support iobinding",
        ),
        (Cell(DIGITS_CNN, "ort", options=(("provider", "xnnpack"),)), "provider xnnpack"),
        (
            Cell(DIGITS_CNN, "openvino", options=(("hint", "throughput"),)),
            "programs don't support hint=throughput",
        ),
        (Cell(DIGITS_CNN, "torch-script", "bf16"), "fp32 without options"),
        (Cell(detection.FASTER_RCNN, "torch-script"), "calls operators of torchvision"),
        (Cell(detection.FASTER_RCNN, "torch-aot"), "needs fixed output sizes"),
    ],
)
def test_what_cannot_be_shipped_is_refused_in_words_and_nothing_is_written(
    cell: Cell, words: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=words):
        bundle.ship(cell, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_output_that_a_program_did_not_write_is_told(tmp_path: Path) -> None:
    cell = Cell(detection.FASTER_RCNN, "cpp-ort")
    np.savez(tmp_path / "output-0.npz", np.zeros((2, 4), np.float32))
    with pytest.raises(verification.NotProved, match=r"wrote no output-1\.npz"):
        verification._loaded(cell, tmp_path)


def test_without_a_compiler_c_plus_plus_is_refused_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(UsageError, match="no-such-compiler"):
        bundle.ship(Cell(DIGITS_CNN, "cpp-ort"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nobody", "--backends", "ort"], "models are digits_cnn"),
        (["digits_cnn"], "name its runtime"),
        (["digits_cnn-ort-fp32-cpu-b1", "--backends", "openvino"], "is a cell and has its runtime"),
        (["missing.onnx", "--backends", "ort"], "missing.onnx"),
        (
            ["digits_cnn", "--backends", "ort", "--base-bytes", "-1"],
            "--base-bytes -1: expected the bytes of an image",
        ),
    ],
)
def test_what_is_not_there_is_told(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["package", *arguments, "-o", str(tmp_path / "out")]) == 4
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_with_something_in_it_is_never_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    assert cli.main(["package", "digits_cnn", "--backends", "ort", "-o", str(tmp_path)]) == 4
    assert "already exists; choose another" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]
