"""Does a shipped program give the right answers in a fresh environment? Built from its own
requirements, and judged like any cell.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import photographs, preprocess
from harness.core import artifact_store, import_strings
from harness.core.errors import Unavailable
from harness.core.types import BOUNDARIES, Cell, Recipe
from harness.deployment import shared_libraries
from harness.environment import installers
from harness.inputs import preprocessors
from harness.results import records

if TYPE_CHECKING:
    from harness.runner.preparation import Prepared

LIMIT_SECONDS = 600.0
"""Of one run of the program."""

TAIL = 1200
"""How many characters of a failed program's own words are kept: the last ones."""


class NotProved(Exception):
    """The program does not do what it should, or could not be tried; the message says why."""


@dataclass(frozen=True)
class Subject:
    """What is proved: the folder that was written, the cell, what it was prepared from, and the
    requirements of the program.

    `tools` are the requirements of compiling its C++ sources, which lie in `native/`; empty for a
    program that has none.
    """

    folder: Path
    cell: Cell
    prepared: Prepared
    requirements: Sequence[str]
    recipe: Recipe | None
    tools: Sequence[str] = ()


def prove(subject: Subject) -> dict[str, Any]:
    """The proof as JSON, with a `verdict` of `proved` or `not proved` and the `reason`. Leaves the
    outputs and the lock in the folder.
    """
    begin = time.monotonic()
    made: dict[str, Any] = {
        "verdict": "proved",
        "reason": "",
        "cell": subject.cell.id,
        "time": records.timestamp(),
    }
    made |= {
        "artifact_sha256": subject.prepared.artifact.sha256,
        "input_sha256": subject.prepared.inputs.facts["sha256"],
    }
    made["program_sha256"] = artifact_store.digest_file(subject.folder / "run.py")
    with tempfile.TemporaryDirectory(prefix="evenbench-proof-") as work:
        try:
            _proved(subject, Path(work), made)
        except NotProved as error:
            made |= {"verdict": "not proved", "reason": str(error)}
        except (installers.InstallError, Unavailable) as error:
            made |= {
                "verdict": "not proved",
                "reason": f"no fresh environment could be built: {error}",
            }
    return {**made, "seconds": time.monotonic() - begin}


def _proved(subject: Subject, work: Path, made: dict[str, Any]) -> None:
    """Every part of the proof, into `made` as it goes. Raises NotProved at the first that fails."""
    python, made["environment"] = _environment(subject, work)
    built = work / "build"
    if subject.tools:
        made["build"] = _compiled(subject, python, work, built)
    program = [str(python), "-I", str(subject.folder / "run.py")]
    made["preprocessing"] = _preprocessing(subject, program, work)
    outputs = _outputs(subject, program, subject.folder / "parity", work / "outputs")
    made["accuracy"] = _accuracy(subject, program, work)
    verdict = _judged(subject, outputs, made["accuracy"])
    made["parity"] = {
        **verdict,
        **{name: made[name] for name in ("artifact_sha256", "input_sha256")},
    }
    if verdict["verdict"] != "pass":
        raise NotProved(
            f"in the fresh environment the answer is wrong: {verdict['reason'] or verdict['verdict']}"
        )
    if subject.tools:
        made["program"] = _without_python(subject, work, built, made["accuracy"])
    for file in sorted((work / "outputs").glob("output-*.np[yz]")):
        (subject.folder / "parity" / file.name).write_bytes(file.read_bytes())
    _run([*program, "--check"], work)


def _environment(subject: Subject, work: Path) -> tuple[Path, dict[str, Any]]:
    """A fresh environment of what the requirements resolve to now: its Python, and what it holds."""
    builder = installers.find()
    packages = sorted(builder.resolve(subject.requirements), key=str.casefold)
    lock = subject.folder / "requirements.lock"
    lock.write_text("".join(f"{package}\n" for package in packages))
    folder = work / "environment"
    builder.install(folder, lock)
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    held = {
        "by": builder.by,
        "packages": packages,
        "bytes": sum(path.lstat().st_size for path in files),
    }
    return installers.python_of(folder), held


def _compiled(subject: Subject, python: Path, work: Path, build: Path) -> dict[str, Any]:
    """Compile the C++ sources into `build`, against the fresh environment, with tools from a second
    one: those, and the bytes made.
    """
    builder = installers.find()
    tools = sorted(builder.resolve(subject.tools), key=str.casefold)
    (work / "tools.lock").write_text("".join(f"{tool}\n" for tool in tools))
    builder.install(work / "tools", work / "tools.lock")
    found = installers.python_of(work / "tools").parent
    generator = (
        ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={found / 'ninja'}"]
        if (found / "ninja").exists()
        else []
    )
    compiler = {name: os.environ[name] for name in ("PATH", "CXX") if name in os.environ}
    cmake, source = str(found / "cmake"), str(subject.folder / "native")
    _run(
        [cmake, "-S", source, "-B", str(build), f"-DPython_EXECUTABLE={python}", *generator],
        work,
        compiler,
    )
    _run([cmake, "--build", str(build)], work, compiler)
    made = [build / name for name in ("program", "libnative.so", "options.txt")]
    lines = made[-1].read_text(encoding="utf-8").splitlines()
    opened = next((line.partition("=")[2] for line in lines if line.startswith("opened=")), "")
    needed = shared_libraries.told([made[0], *map(Path, filter(None, opened.split(";")))])
    with_libraries = {
        "bytes": needed.bytes or None,
        "files": [file.name for file in needed.files],
        "reason": needed.reason,
    }
    return {
        "tools": tools,
        "bytes": sum(file.stat().st_size for file in made),
        "program_with_libraries": with_libraries,
    }


def _without_python(
    subject: Subject, work: Path, build: Path, scored: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The verdict on what the C++ program answers to the same inputs. Raises NotProved where it is
    wrong.
    """
    given, answers = subject.folder / "parity", work / "answers-of-the-program"
    _run([str(build / "program"), str(given), str(answers), str(subject.folder / "model")], work)
    verdict = _judged(subject, _kept(subject.cell, answers), scored)
    if verdict["verdict"] != "pass":
        raise NotProved(
            f"the C++ program answers wrongly: {verdict['reason'] or verdict['verdict']}"
        )
    return verdict


def _run(command: Sequence[str], work: Path, more: Mapping[str, str] | None = None) -> None:
    """Run a program from an empty folder, without anything of this environment but `more`. Raises
    NotProved with its own words.
    """
    kept = {name: os.environ[name] for name in ("LANG", "LC_ALL", "TMPDIR") if name in os.environ}
    variables = {
        "PATH": os.defpath,
        "HOME": str(work),
        "BUILD_DIR": str(work / "build"),
        **kept,
        **(more or {}),
    }
    name = Path(command[0]).name if more else "the program"
    try:
        done = subprocess.run(
            command, cwd=work, env=variables, capture_output=True, text=True, timeout=LIMIT_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise NotProved(f"{name} did not end within {LIMIT_SECONDS:.0f} s") from None
    if done.returncode:
        told = " ".join((done.stderr.strip() or done.stdout.strip())[-TAIL:].split())
        raise NotProved(f"{name} ended with {done.returncode}: {told}")


def _preprocessing(subject: Subject, program: Sequence[str], work: Path) -> str:
    """In words, what the program's preprocessing was compared with. Raises NotProved where one byte
    differs.
    """
    import numpy as np

    images = photos_of(subject.cell)
    if subject.recipe is None or not images:
        return "no recipe" if subject.recipe is None else "no photographs to compare by"
    file = work / "preprocessed.npy"
    _run([*program, *map(str, images), "--preprocessed", str(file)], work)
    ours = np.stack([preprocessors.apply(subject.recipe, image) for image in images])
    theirs = np.load(file)
    if (
        ours.dtype != theirs.dtype
        or ours.shape != theirs.shape
        or ours.tobytes() != theirs.tobytes()
    ):
        raise NotProved(f"recipe {subject.recipe.name} gives other bytes in the fresh environment")
    return f"recipe {subject.recipe.name}: equal to the byte on {len(images)} photographs"


def _outputs(subject: Subject, program: Sequence[str], inputs: Path, outputs: Path) -> list[Any]:
    """What the program answers to the arrays in a folder: for each output, its batches."""
    _run([*program, "--inputs", str(inputs), "--outputs", str(outputs)], outputs.parent)
    return _kept(subject.cell, outputs)


def _kept(cell: Cell, folder: Path) -> list[Any]:
    """What a program left in a folder: for each output, its batches. Raises NotProved where it left
    something out.
    """
    import numpy as np

    try:
        listed = list(enumerate(cell.model.outputs))
        return [
            _of_open_size(folder, place)
            if spec.is_open
            else np.load(folder / f"output-{place}.npy")
            for place, spec in listed
        ]
    except FileNotFoundError as error:
        raise NotProved(
            f"the program ended well and wrote no {Path(error.filename).name}"
        ) from error


def _of_open_size(folder: Path, place: int) -> list[Any]:
    """An output of which only the answer tells how large it is: an array for each batch."""
    import numpy as np

    with np.load(folder / f"output-{place}.npz") as kept:
        return [kept[f"arr_{at}"] for at in range(len(kept.files))]


def _accuracy(subject: Subject, program: Sequence[str], work: Path) -> dict[str, Any] | None:
    """Top-1 accuracy of the program on the model's held-out split, as `measure.accuracy` has it;
    None where there is none.
    """
    import numpy as np

    if not subject.cell.model.evaluation:
        return None
    folder, batch = Path(subject.prepared.inputs.path), subject.cell.batch
    samples, labels = np.load(folder / "evaluation.npy"), np.load(folder / "labels.npy")
    order = np.arange(-(-len(samples) // batch) * batch).reshape(-1, batch) % len(samples)
    (work / "held-out").mkdir()
    np.save(work / "held-out" / "input-0.npy", samples[order])
    answers = (
        _outputs(subject, program, work / "held-out", work / "answers")[0]
        .argmax(-1)
        .reshape(-1)[: len(samples)]
    )
    return {
        "metric": "top-1",
        "value": int((answers == labels).sum()) / len(samples),
        "count": len(samples),
    }


def _judged(
    subject: Subject, outputs: Sequence[Any], scored: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The verdict on the program's outputs, by the rule and the golden that judge the cell itself."""
    from harness.measurement import judging

    names = [spec.name for spec in subject.cell.model.outputs]
    kept = {
        index: {name: array[index] for name, array in zip(names, outputs, strict=True)}
        for index in range(len(outputs[0]))
    }
    assert subject.prepared.golden is not None, "a control is refused before"
    try:
        return judging.judge(
            subject.cell,
            dict.fromkeys(BOUNDARIES, kept),
            Path(subject.prepared.golden.path),
            scored,
        )
    except ValueError as error:
        raise NotProved(str(error)) from error


def photos_of(cell: Cell) -> list[Path]:
    """The photographs that the cell's inputs are made of; empty where they are not made of any."""
    own = (
        dict(cell.model.arguments).get("files", "[]")
        if recipe_of(cell) and not cell.model.images
        else "[]"
    )
    return [photographs.locate(image) for image in cell.model.images] or [
        Path(photo) for photo in json.loads(own)
    ]


def recipe_of(cell: Cell) -> Recipe | None:
    """How photos become the model's input: its declared recipe, or the one that the user named for
    a model of their own.
    """
    if cell.model.recipe:
        return cell.model.recipe
    named = dict(cell.model.arguments).get("recipe", "")
    return (
        preprocess.RECIPES.get(named)
        if import_strings.portable(cell.model.inputs_from) == "harness.inputs:files"
        else None
    )
