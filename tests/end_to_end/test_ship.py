"""`evenbench package` for real: a fresh environment is built, the program runs in it, and a wrong
program is not proved.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import detection
from benchmarks.models import DIGITS_CNN
from evenbench.backends.torch import deployed_network
from evenbench.harness import Cell, cli, photographs
from evenbench.harness.core import registry
from evenbench.harness.core.backend import Deployment
from evenbench.harness.deployment import bundle
from tests.contract import bright

WRONG = '''"""A runtime that is wrong on purpose: it answers to another input."""

from pathlib import Path


class Network:
    def __init__(self, folder: Path, settings, threads: int) -> None:
        import onnxruntime as ort

        self.session = ort.InferenceSession(str(folder / settings["file"]))

    def __call__(self, inputs):
        mirrored = {name: value[..., ::-1].copy() for name, value in inputs.items()}
        return self.session.run(None, mirrored)
'''


@pytest.mark.slow
def test_a_digits_program_is_proved_and_runs_where_its_model_is_mounted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    assert (
        cli.main(
            [
                "ship",
                "digits_cnn",
                "--backends",
                "ort",
                "--precision",
                "int8",
                "-o",
                os.path.relpath(folder),  # as documented: the proof runs in another folder
                "--json",
            ]
        )
        == 0
    )
    told = json.loads(capsys.readouterr().out)
    assert told["cell"] == "digits_cnn-ort-int8-static-cpu-b1"
    proof = json.loads((folder / "proof.json").read_text())
    assert proof.items() <= told.items()
    assert proof["verdict"] == "proved"
    assert proof["accuracy"]["count"] == 360
    assert proof["accuracy"]["value"] > 0.95
    assert not [
        name for name in proof["environment"]["packages"] if name.startswith(("evenbench", "torch"))
    ]
    assert "Proved in a fresh environment" in (folder / "README.md").read_text()

    def checked(**variables: str) -> subprocess.CompletedProcess[str]:
        # -S and -I would leave out what is installed here; the program itself is what counts now.
        command = [sys.executable, str(folder / "run.py"), "--check"]
        return subprocess.run(
            command, env={**os.environ, **variables}, capture_output=True, text=True, cwd=tmp_path
        )

    (folder / "model").rename(tmp_path / "elsewhere")
    assert checked(MODEL_DIR=str(tmp_path / "elsewhere")).returncode == 0
    assert checked().returncode == 1, "there is no model beside it any more"
    expected = np.load(folder / "parity" / "output-0.npy")
    np.save(folder / "parity" / "output-0.npy", -expected)
    assert checked(MODEL_DIR=str(tmp_path / "elsewhere")).returncode == 1, (
        "other outputs than those that were proved"
    )


@pytest.mark.slow
def test_a_wrong_program_and_one_without_its_runtime_are_not_proved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wrong.py").write_text(WRONG)
    cell = Cell(DIGITS_CNN, "ort")
    honest = registry.find("ort").deployment(cell)
    given: list[Deployment] = [
        replace(honest, network=f"{tmp_path / 'wrong.py'}:Network"),
        replace(honest, distributions=()),
    ]
    monkeypatch.setattr(bundle, "_deployment", lambda cell: given.pop(0))
    wrong = bundle.ship(cell, tmp_path / "wrong")
    assert wrong["verdict"] == "not proved"
    assert "the output is wrong" in wrong["reason"]
    assert not list((tmp_path / "wrong" / "parity").glob("output-*")), (
        "outputs that are wrong are not kept as expected ones"
    )
    assert "Do not ship it" in (tmp_path / "wrong" / "README.md").read_text()
    bare = bundle.ship(cell, tmp_path / "bare")
    assert bare["verdict"] == "not proved"
    assert "No module named 'onnxruntime'" in bare["reason"]


@pytest.mark.nightly
@pytest.mark.slow
def test_a_detector_is_proved_by_its_objects_and_finds_them_in_photos(tmp_path: Path) -> None:
    """Faster R-CNN answers one image with as many objects as it finds, so that nothing about its
    outputs is fixed.
    """
    pytest.importorskip("torchvision")
    cell, folder = (
        Cell(detection.FASTER_RCNN, "ort", options=(("exporter", "torchscript"), ("opset", 17))),
        tmp_path / "out",
    )
    found = bundle.ship(cell, folder)
    assert (found["verdict"], found["reason"]) == ("proved", "")
    assert found["parity"]["agreement"]["detections"] > 0
    assert "equal to the byte" in found["preprocessing"]
    photo = str(photographs.locate(detection.FASTER_RCNN.images[0]))
    done = subprocess.run(
        [sys.executable, str(folder / "run.py"), photo, photo], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert len({line.partition(": ")[2] for line in done.stdout.splitlines()}) == 1


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["cpp-ort", "cpp-openvino"])
def test_a_detector_in_c_plus_plus_is_proved_by_its_objects(runtime: str, tmp_path: Path) -> None:
    """With and without Python around it; an image without an object is among the inputs."""
    cell, folder = (
        Cell(bright.BRIGHT, runtime, options=tuple(sorted(bright.TRACED.items()))),
        tmp_path / "out",
    )
    found = bundle.ship(cell, folder)
    assert (found["verdict"], found["reason"]) == ("proved", "")
    for verdict in (found["parity"], found["program"]):
        assert (
            verdict["agreement"]["detections"]
            == verdict["agreement"]["matched"]
            == sum(bright.COUNTS)
        )
    with np.load(folder / "parity" / "output-3.npz") as masks:
        assert [len(masks[name]) for name in masks.files] == list(bright.COUNTS)


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["openvino", "cpp-openvino"])
def test_openvino_is_proved_too(runtime: str, tmp_path: Path) -> None:
    assert (
        cli.main(["package", "digits_cnn", "--backends", runtime, "-o", str(tmp_path / "out")]) == 0
    )


@pytest.mark.slow
def test_c_plus_plus_is_compiled_and_judged_and_runs_without_python(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    assert cli.main(["package", "digits_cnn", "--backends", "cpp-ort", "-o", str(folder)]) == 0
    proof = json.loads((folder / "proof.json").read_text())
    assert proof["program"]["verdict"] == proof["parity"]["verdict"] == "pass"
    assert {
        name.partition(".so")[0] for name in proof["build"]["program_with_libraries"]["files"]
    } >= {"program", "libonnxruntime"}
    assert proof["build"]["program_with_libraries"]["bytes"] < proof["environment"]["bytes"], (
        "no Python in it"
    )
    assert "cmake -S native -B build" in (folder / "README.md").read_text()

    cmake = Path(sys.executable).with_name("cmake")
    for command in (
        ["-S", "native", "-B", "build", f"-DPython_EXECUTABLE={sys.executable}"],
        ["--build", "build"],
    ):
        subprocess.run([cmake, *command], cwd=folder, check=True, capture_output=True)
    subprocess.run(["build/program", "parity", "answers"], cwd=folder, check=True, env={})
    answered, proved = (np.load(folder / name / "output-0.npy") for name in ("answers", "parity"))
    np.testing.assert_allclose(answered, proved, rtol=1e-4, atol=1e-4)
    refused = {
        ("nowhere", "answers"): "nowhere/input-0.npy",
        ("parity", "answers", "elsewhere"): "has none of model.onnx",
    }
    for words, expected in refused.items():
        done = subprocess.run(
            ["build/program", *words], cwd=folder, capture_output=True, text=True, env={}
        )
        assert (done.returncode, expected in done.stderr) == (1, True), done.stderr
    (folder / "model").rename(tmp_path / "mounted")
    for words, mounted, code in (
        ((), "mounted", 0),
        ((), "nowhere", 1),
        ((str(tmp_path / "mounted"),), "nowhere", 0),
    ):
        command = ["build/program", "parity", "mounted-answers", *words]
        done = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            env={"MODEL_DIR": str(tmp_path / mounted)},
        )
        assert done.returncode == code, done.stderr
    (tmp_path / "mounted").rename(folder / "model")
    check = [sys.executable, str(folder / "run.py"), "--check"]
    assert subprocess.run(check, cwd=tmp_path).returncode == 0
    unbuilt = subprocess.run(
        check,
        cwd=tmp_path,
        env={**os.environ, "BUILD_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (unbuilt.returncode, "build it (see README.md)" in unbuilt.stderr) == (1, True)


@pytest.mark.nightly
@pytest.mark.slow
def test_c_plus_plus_that_is_wrong_or_does_not_compile_is_not_proved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = Cell(DIGITS_CNN, "cpp-ort")
    honest = registry.find("cpp-ort").deployment(cell)

    def changed(old: str, new: str) -> Deployment:
        assert old in honest.sources["main.cpp"]
        return replace(
            honest,
            sources={**honest.sources, "main.cpp": honest.sources["main.cpp"].replace(old, new)},
        )

    given = [
        changed("batch_of(array, at)", "batch_of(array, 0)"),
        changed("int main(", "int main_("),
    ]
    monkeypatch.setattr(bundle, "_deployment", lambda cell: given.pop(0))
    wrong = bundle.ship(cell, tmp_path / "wrong")
    assert (wrong["verdict"], "the C++ program answers wrongly" in wrong["reason"]) == (
        "not proved",
        True,
    )
    broken = bundle.ship(cell, tmp_path / "broken")
    assert (broken["verdict"], broken["reason"].startswith("cmake ended with")) == (
        "not proved",
        True,
    ), broken["reason"]


def test_a_torchscript_program_answers_as_its_graph(tmp_path: Path) -> None:
    import torch

    module = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU()).eval()
    values = np.random.default_rng(0).standard_normal((2, 1, 8, 8)).astype(np.float32)
    with torch.no_grad():
        torch.jit.save(
            torch.jit.freeze(torch.jit.trace(module, torch.from_numpy(values))),
            tmp_path / "model.torchscript.pt",
        )
        wanted = module(torch.from_numpy(values)).numpy()
    settings = registry.find("torch-script").deployment(Cell(DIGITS_CNN, "torch-script")).settings
    network = deployed_network.Network(tmp_path, dict(settings), torch.get_num_threads())
    np.testing.assert_allclose(network({"image": values})[0], wanted, rtol=1e-4, atol=1e-5)
