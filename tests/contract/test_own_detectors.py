"""Detectors as users bring them, without a declaration: a function that builds one, and a file of
one.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest

from evenbench.harness.cli import main
from evenbench.harness.photographs import PHOTOGRAPHS, locate

OWN = """
import torch


class Bright(torch.nn.Module):
    '''Squares of 56 pixels that are brighter than others are objects; classes take turns.

    The answers are those of torchvision's detectors.
    '''

    def __init__(self):
        super().__init__()
        self.look = torch.nn.Conv2d(3, 1, 56, stride=56)
        with torch.no_grad():
            self.look.weight.fill_(3 / (3 * 56 * 56))
            self.look.bias.fill_(0.1)
        corners = torch.tensor([[56.0 * (at % 4), 56.0 * (at // 4)] for at in range(16)])
        self.register_buffer("corners", torch.cat([corners, corners + 56], 1))

    def forward(self, images):
        scores = self.look(images)[0].flatten().sigmoid()
        found = torch.nonzero(scores > 0.3)[:, 0]
        return [{"boxes": self.corners[found], "labels": found % 2, "scores": scores[found]}]


build = Bright
"""

PHOTOS = ("--input", *(str(locate(each)) for each in PHOTOGRAPHS[:4]), "--recipe", "imagenet_224")


@pytest.fixture
def own(tmp_path: Path) -> str:
    (tmp_path / "own_detector.py").write_text(OWN)
    return f"{tmp_path / 'own_detector.py'}:build"


def outcomes(
    target: str, folder: Path, capsys: pytest.CaptureFixture[str], *words: str
) -> dict[str, dict[str, Any]]:
    capsys.readouterr()  # an exporter prints, too
    main(
        [
            "run",
            target,
            *PHOTOS,
            *words,
            "--plan",
            "quick",
            "--results",
            str(folder / "r"),
            "--json",
        ]
    )
    return {
        line["cell"]["backend"]: line for line in json.loads(capsys.readouterr().out)["outcomes"]
    }


def all_matched(lines: dict[str, dict[str, Any]], *names: str) -> None:
    assert {
        name: f"{line['outcome']} {line['reason']}".strip() for name, line in lines.items()
    } == dict.fromkeys(names, "ok")
    for line in lines.values():
        seen = line["agreement"]
        assert seen["detections"] == seen["matched"] > 4
        assert seen["unmatched"] == 0


@pytest.mark.nightly
@pytest.mark.slow
def test_a_detector_that_build_returns_is_matched_by_its_objects(
    own: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("torch-eager", "torch-script", "ort")
    asked = (
        "--task",
        "detection",
        "--option",
        "ort:exporter=torchscript",
        "--backends",
        ",".join(names),
    )
    lines = outcomes(own, tmp_path, capsys, *asked)
    all_matched(lines, *names)
    assert lines["ort"]["cell"]["options"] == {"exporter": "torchscript"}
    assert "--task detection --option ort:exporter=torchscript" in lines["ort"]["reproduce"]


@pytest.mark.slow
def test_without_its_task_the_output_is_named_with_its_shapes(
    own: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = outcomes(own, tmp_path, capsys, "--backends", "torch-eager")["torch-eager"]
    assert line["outcome"] == "failed", line["reason"]
    assert "output boxes has the shapes [" in line["reason"], line["reason"]
    assert "--task detection (docs/reference/tasks.md#detection)" in line["reason"]


@pytest.mark.slow
def test_a_detector_in_a_file_is_judged_by_the_evaluator(
    own: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch = pytest.importorskip("torch")
    space: dict[str, Any] = {}
    exec(OWN, space)

    class Listed(torch.nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.inner = space["Bright"]()

        def forward(self, images: Any) -> Any:
            return tuple(self.inner(images)[0].values())

    file, names = tmp_path / "own.onnx", ["boxes", "labels", "scores"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Listed().eval(),
            (torch.zeros(1, 3, 224, 224),),
            file,
            dynamo=False,
            input_names=["images"],
            output_names=names,
            dynamic_axes={name: {0: "objects"} for name in names},
        )
    lines = outcomes(
        str(file), tmp_path, capsys, "--task", "detection", "--backends", "ort,openvino"
    )
    all_matched(lines, "ort", "openvino")
    assert lines["ort"]["parity"]["golden"].startswith("ONNX's own reference evaluator in float64")
