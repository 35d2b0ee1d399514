"""Writes a standalone program that runs a cell's artifact, with its requirements and container
file.
"""

from __future__ import annotations

import inspect
import json
import platform
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from harness import __version__
from harness.accuracy.tensor_capture import WATCH, Watch
from harness.core import data_dependent_shapes, import_strings, registry
from harness.core.errors import StoreError, Unsupported, UsageError
from harness.core.types import Cell, Recipe, TensorSpec
from harness.deployment import verification
from harness.environment.installers import distribution_of
from harness.inputs import batches, preprocessors
from harness.runner import job
from harness.runner.preparation import Preparer, Refusal

if TYPE_CHECKING:
    from harness.core.backend import Deployment
    from harness.runner.preparation import Prepared
TIMEOUT_SECONDS = 3600.0
"""Of preparing the artifact, which is cached."""

BUILD = """\
env/bin/pip install -r requirements-build.txt
env/bin/cmake -S native -B build -DPython_EXECUTABLE="$PWD/env/bin/python" && env/bin/cmake --build build
build/program parity out-of-cpp
"""
"""How the sources of a program in C++ are compiled, and the program run, as its README says it."""

COPIED = ("run.py", "settings.json", "parity")
"""What both Dockerfiles copy out of the folder as it is; the model is copied too where it is
inside.
"""

NATIVE_ROW = "| `native/`, `requirements-build.txt` | C++: a program without Python, and what `run.py` calls; what compiles both |\n"

TEMPLATES = Path(__file__).parent / "templates"


def ship(
    cell: Cell, folder: Path, base_bytes: int = 0, others: Sequence[Cell] = ()
) -> dict[str, Any]:
    """Prepare the cell, write its deployment into `folder`, and prove it; returns the proof, which
    is also in proof.json.

    `base_bytes` is the size of the image that the Dockerfile starts from, 0 where nobody knows it.
    `others` are tried in their order where the cell is unsupported. Raises UsageError where none
    can be prepared, loaded and run, or has a program; nothing is written then.
    """
    cell, deployment, prepared = runnable([cell, *others])
    recipe = verification.recipe_of(cell)
    pins = requirements(cell, deployment, prepared, recipe)
    written = _texts(cell, deployment, prepared, recipe, pins)
    try:
        _write(folder, cell, prepared, written)
        found = verification.prove(
            verification.Subject(folder, cell, prepared, pins, recipe, pinned(deployment.tools))
        )
        found["image"] = image(found, folder, base_bytes)
        (folder / "proof.json").write_text(json.dumps(found, indent=1))
        (folder / "README.md").write_text(
            _readme(cell, deployment, prepared, recipe, found), encoding="utf-8"
        )
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be written ({error}); make room, or name another folder with -o"
        ) from error
    return found


def runnable(cells: Sequence[Cell]) -> tuple[Cell, Deployment, Prepared]:
    """The first of the cells that is not unsupported: with what its program needs, prepared, and
    run once. Standard error tells the choice.

    Raises UsageError with the reason of each where there is none, and at once where a cell ends in
    another way.
    """
    refused: list[str] = []
    for cell in cells:
        try:
            found = cell, _deployment(cell), _tried(cell)
        except StoreError:
            raise
        except UsageError as error:
            refused.append(str(error))
            continue
        except Refusal as refusal:
            reply = refusal.reply
            refused.append(
                f"{cell.id} cannot be shipped: {reply.outcome} in {reply.phase}: {reply.reason}"
            )
            if reply.outcome == "unsupported":
                continue
            break
        if refused:
            print(
                *refused,
                f"{cell.id} is shipped in its place, which is declared too",
                sep="\n",
                file=sys.stderr,
            )
        return found
    raise UsageError("; ".join(refused))


def _tried(cell: Cell) -> Prepared:
    """The cell, prepared, after one process has loaded it and run one batch: a runtime may refuse a
    file only then. Raises Refusal.
    """
    preparer = Preparer(TIMEOUT_SECONDS)
    prepared = preparer.prepare(cell)
    with tempfile.TemporaryDirectory(prefix="evenbench-ship-") as out:
        reply = preparer.work(
            job.Job(WATCH, cell, Watch(batches=(0,)), folder=out, folders=prepared.folders())
        )
    if reply.value is None:
        raise Refusal(replace(reply, phase="load"))
    return prepared


def _deployment(cell: Cell) -> Deployment:
    """What the cell's backend says its program needs. Raises UsageError, in words, where there is
    none.
    """
    backend = registry.find(cell.backend)
    refused = backend.supports(cell)
    if not refused and registry.row(cell.backend).role != "runtime":
        refused = f"{cell.backend} is a {registry.row(cell.backend).role}, which nobody deploys"
    if not refused and cell.device != "cpu":
        refused = f"what {cell.device} needs (a driver, its libraries) is in no list of requirements; programs are written for the CPU"
    library = preprocessors.of(cell.model.recipe) if cell.model.recipe else preprocessors.DEFAULT
    if not refused and library != preprocessors.DEFAULT:
        refused = f"its photos are prepared by {library}, and a program is given the recipe's own steps, in Pillow; ship the plain model"
    try:
        if not refused:
            return backend.deployment(cell)
    except Unsupported as error:
        refused = str(error)
    raise UsageError(f"{cell.id} cannot be shipped: {refused}")


def requirements(
    cell: Cell, deployment: Deployment, prepared: Prepared, recipe: Recipe | None
) -> list[str]:
    """The runtime, numpy, and Pillow where photos are read, pinned to what measures this cell:
    here, or in its own environment.
    """
    wanted = [*deployment.distributions, "numpy", *(["pillow"] if recipe else [])]
    held = {
        distribution_of(package): package
        for package in (prepared.environment or {}).get("packages", ())
    }
    here = {name: f"{name}=={batches.version_of(name)}" for name in wanted}
    return [held.get(name, here[name]) for name in wanted]


def pinned(distributions: Sequence[str]) -> list[str]:
    """Those that compile, at the versions that are used here; at any where none is installed."""
    versions = {name: batches.version_of(name) for name in distributions}
    return [
        f"{name}=={version}" if version[:1].isdigit() else name
        for name, version in versions.items()
    ]


def image(found: Mapping[str, Any], folder: Path, base_bytes: int = 0) -> dict[str, Any]:
    """How large the Dockerfile's images are expected to be above their base, and as a whole where
    the base's size was given.

    They hold the environment, what was compiled, and what is copied out of `folder` as it is
    written.
    """
    base = f"python:{'.'.join(platform.python_version_tuple()[:2])}-slim"
    installed = (found.get("environment") or {}).get("bytes")
    told: dict[str, Any] = {
        "base": base,
        "base_bytes": base_bytes or None,
        "above_base_bytes": None,
        "mounted_above_base_bytes": None,
    }
    told |= {
        "bytes": None,
        "mounted_bytes": None,
        "reason": "no environment was built to tell from",
    }
    if installed is None:
        return told
    mounted = (
        installed
        + (found.get("build") or {}).get("bytes", 0)
        + sum(_bytes_in(folder / name) for name in COPIED)
    )
    model_bytes = _bytes_in(folder / "model")
    told |= {"above_base_bytes": mounted + model_bytes, "mounted_above_base_bytes": mounted}
    if base_bytes:
        told |= {"bytes": base_bytes + mounted + model_bytes, "mounted_bytes": base_bytes + mounted}
    unknown = "" if base_bytes else "of the base itself nothing is known here, see --base-bytes; "
    return {
        **told,
        "reason": f"{unknown}pip, and the bytecode that it compiles, come on top; no image was built",
    }


def _bytes_in(path: Path) -> int:
    """The size of a file, or of all files in a folder."""
    return sum(file.stat().st_size for file in (path, *path.rglob("*")) if file.is_file())


def program(cell: Cell, deployment: Deployment, recipe: Recipe | None) -> str:
    """The source of run.py: the recipe's own steps, the runtime's class, and a command line around
    them.
    """
    steps = recipe.steps if recipe else ()
    sources = [inspect.getsource(kind) for kind in dict.fromkeys(type(step) for step in steps)]
    listed = "".join(f"    {step!r},\n" for step in steps)
    written = "\n\n".join(
        [
            "Image = Any",
            *sources,
            f"STEPS: tuple[Any, ...] = (\n{listed})" if steps else "STEPS: tuple[Any, ...] = ()",
        ]
    )
    network = inspect.getsource(import_strings.resolve(deployment.network))
    words = {
        "cell": cell.id,
        "usage": _usage("  ", recipe, cell),
        "steps": written,
        "network": network,
    }
    return _filled("run.py", words)


def _usage(indent: str, recipe: Recipe | None, cell: Cell) -> str:
    told = {
        "classification": "the five best classes",
        "detection": "the objects",
        "segmentation": "the classes of most pixels",
    }
    what = f"{told.get(cell.model.task, 'the outputs')} of each"
    return f"{indent}python run.py photo.jpg another.jpg                {what}\n" if recipe else ""


def settings(
    cell: Cell, deployment: Deployment, prepared: Prepared, recipe: Recipe | None = None
) -> dict[str, Any]:
    """What run.py reads: names, shapes and types, the options of the runtime, and how far an output
    may be from the proved one.

    The recipe stands there as data as well, for programs in other languages; run.py has its steps
    as source.
    """
    from harness.accuracy import detection_matching, tolerances

    allowed = tolerances.tolerance_for(cell.precision, cell.model.tolerance)
    matched = data_dependent_shapes.objects(
        cell.model.task, {spec.name: spec.shape for spec in cell.model.outputs}
    )
    rule = {
        "names": list(matched),
        "threshold": cell.model.score_threshold,
        **asdict(detection_matching.LIMITS[cell.precision]),
    }

    def told(specs: Sequence[TensorSpec]) -> list[dict[str, Any]]:
        sizes = [
            {
                "shape": list(spec.concrete(cell.batch)),
                "batched": spec.is_batched,
                "open": spec.is_open,
            }
            for spec in specs
        ]
        return [
            {"name": spec.name, "dtype": spec.dtype, **size}
            for spec, size in zip(specs, sizes, strict=True)
        ]

    return {
        "cell": cell.id,
        "task": cell.model.task,
        "labels": list(cell.model.labels),
        "recipe": _recipe_as_data(recipe),
        "inputs": told(cell.model.inputs),
        "outputs": told(cell.model.outputs),
        "threads": cell.threads,
        "runtime": dict(deployment.settings),
        "objects": rule if matched else None,
        "tolerance": {"rtol": allowed.rtol, "atol": allowed.atol},
        "artifact_sha256": prepared.artifact.sha256,
        "weights_sha256": prepared.weights.get("sha256", ""),
    }


def _recipe_as_data(recipe: Recipe | None) -> dict[str, Any] | None:
    """Its steps in order, each with its name and its fields, in the form in which they travel
    inside ONNX files.
    """
    if recipe is None:
        return None
    return {
        "name": recipe.name,
        "steps": [{"step": type(step).__name__, **asdict(step)} for step in recipe.steps],
    }


def _texts(
    cell: Cell, deployment: Deployment, prepared: Prepared, recipe: Recipe | None, pins: list[str]
) -> dict[str, str]:
    """The files of text, by name, made before anything is written."""
    version = ".".join(platform.python_version_tuple()[:2])
    words = {"cell": cell.id, "name": cell.model.name.lower().replace("_", "-"), "python": version}
    native = {f"native/{name}": text for name, text in deployment.sources.items()}
    tools = (
        {"requirements-build.txt": "".join(f"{pin}\n" for pin in pinned(deployment.tools))}
        if native
        else {}
    )
    return {
        "run.py": program(cell, deployment, recipe),
        "settings.json": json.dumps(
            settings(cell, deployment, prepared, recipe), indent=1, default=repr
        ),
        "requirements.txt": "".join(f"{pin}\n" for pin in pins),
        "Dockerfile": _filled("Dockerfile-native" if native else "Dockerfile", words),
        ".dockerignore": "env\nbuild\nproof.json\nREADME.md\n",
        **native,
        **tools,
    }


def _write(folder: Path, cell: Cell, prepared: Prepared, texts: Mapping[str, str]) -> None:
    from harness.core import artifact_store

    (folder / "parity").mkdir(parents=True)
    shutil.copytree(
        prepared.artifact.path,
        folder / "model",
        ignore=shutil.ignore_patterns(artifact_store.MANIFEST),
    )
    for path in (
        folder / "model",
        *(folder / "model").rglob("*"),
    ):  # the store's are its owner's alone, and an image has other users
        path.chmod(0o755 if path.is_dir() else 0o644)
    for place, spec in enumerate(cell.model.inputs):
        shutil.copyfile(
            Path(prepared.inputs.path) / batches.file_of(spec.name),
            folder / "parity" / f"input-{place}.npy",
        )
    for name, text in texts.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


def _readme(
    cell: Cell,
    deployment: Deployment,
    prepared: Prepared,
    recipe: Recipe | None,
    found: Mapping[str, Any],
) -> str:
    usage = (
        "env/bin/python run.py photo.jpg"
        if recipe
        else "env/bin/python run.py --inputs parity --outputs out"
    )
    words = {
        "cell": cell.id,
        "version": __version__,
        "python": platform.python_version(),
        "usage": usage,
    }
    golden = str((found.get("parity") or {}).get("golden") or "the golden")
    built = deployment.sources and BUILD
    words |= {"build": built or "", "native": NATIVE_ROW if built else "", "tokens": _tokens(cell)}
    return _filled(
        "README.md",
        {
            **words,
            "size": _megabytes(prepared.artifact.bytes),
            "golden": golden,
            "proof": in_words(found),
        },
    )


def _tokens(cell: Cell) -> str:
    """What the README says of splitting text, with what the maker of the inputs says of its
    tokenizer; empty for any other model.
    """
    if cell.model.task != "text":
        return ""
    taken = ", ".join(
        f"`{spec.name}` {spec.dtype}{list(spec.concrete(cell.batch))}" for spec in cell.model.inputs
    )
    told = [
        f"The program takes arrays of token numbers ({taken}) and brings no tokenizer: text is split before, by the model's own.\n"
    ]
    said = (
        inspect.getdoc(import_strings.resolve(cell.model.inputs_from))
        if cell.model.inputs_from
        else None
    )
    if said:
        told.append(
            f"The inputs in `parity/` were made by `{import_strings.portable(cell.model.inputs_from)}`, which says of itself:\n"
        )
        told.append("".join(f"> {line}".rstrip() + "\n" for line in said.splitlines()))
    return "\n".join(told) + "\n"


def in_words(found: Mapping[str, Any]) -> str:
    """The proof in a few sentences, for the terminal and the README."""
    if found["verdict"] != "proved":
        return f"Not proved: {found['reason']}. Do not ship it."
    verdict, scored, held = found["parity"], found["accuracy"], found["environment"]
    told = [
        f"Proved in a fresh environment of {len(held['packages'])} packages ({_megabytes(held['bytes'])}, by {held['by']}): "
        f"its answers need {verdict['needed']:.2g} of the tolerance against {verdict['golden']}.",
        f"Accuracy: {scored['value']:.4g} ({scored['metric']} of {scored['count']})."
        if scored
        else "",
        f"Preprocessing: {found['preprocessing']}.",
        _program_in_words(found) if found.get("program") else "",
        _image_in_words(found.get("image") or {}),
    ]
    return " ".join(filter(None, told))


def _program_in_words(found: Mapping[str, Any]) -> str:
    size_bytes = found["build"]["program_with_libraries"]["bytes"]
    size = (
        f", and with its libraries is {_megabytes(size_bytes)}, without the C library"
        if size_bytes
        else ""
    )
    return f"Its C++ was compiled there: the program without Python needs {found['program']['needed']:.2g} of the tolerance{size}."


def _image_in_words(told: Mapping[str, Any]) -> str:
    if not told.get("above_base_bytes"):
        return ""
    whole = told.get("bytes") is not None
    inside, mounted = (
        told[name]
        for name in (
            ("bytes", "mounted_bytes")
            if whole
            else ("above_base_bytes", "mounted_above_base_bytes")
        )
    )
    what = (
        f"an image, {_megabytes(told['base_bytes'])} of {told['base']} included"
        if whole
        else f"an image above {told['base']}"
    )
    return f"Expected size of {what}: {_megabytes(inside)} with the model inside, {_megabytes(mounted)} without; {told['reason']}."


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.3g} MB"


def _filled(template: str, words: Mapping[str, str]) -> str:
    return Template((TEMPLATES / f"{template}.tmpl").read_text(encoding="utf-8")).substitute(words)
