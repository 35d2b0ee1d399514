"""The files of a standalone program for a cell's artifact: sources, settings, requirements."""

from __future__ import annotations

import inspect
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from evenbench.harness.core import data_dependent_shapes, import_strings
from evenbench.harness.core.tensor_specs import TensorSpec
from evenbench.harness.core.types import Cell, Recipe
from evenbench.harness.environment.installers import distribution_of
from evenbench.harness.inputs import batches

if TYPE_CHECKING:
    from evenbench.harness.core.backend import Deployment
    from evenbench.harness.runner.prepared import Prepared

TEMPLATES = Path(__file__).parent / "templates"

SUMMARIES = {
    "classification": "the five best classes",
    "detection": "the objects",
    "segmentation": "the classes of most pixels",
}
"""By task, the program's summary of a photo."""


def files(
    cell: Cell, deployment: Deployment, prepared: Prepared, recipe: Recipe | None, pins: list[str]
) -> dict[str, str]:
    """The program's text files, by name."""
    version = ".".join(platform.python_version_tuple()[:2])
    name = cell.model.name.lower().replace("_", "-")
    native = {f"native/{file}": text for file, text in deployment.sources.items()}
    tools = {"requirements-build.txt": _lines(pinned(deployment.tools))} if native else {}
    values = settings(cell, deployment, prepared, recipe)
    dockerfile = "Dockerfile-native" if native else "Dockerfile"
    return {
        "run.py": source(cell, deployment, recipe),
        "settings.json": json.dumps(values, indent=1, default=repr),
        "requirements.txt": _lines(pins),
        "Dockerfile": filled(dockerfile, {"cell": cell.id, "name": name, "python": version}),
        ".dockerignore": "env\nbuild\nproof.json\nREADME.md\n",
        **native,
        **tools,
    }


def _lines(texts: Sequence[str]) -> str:
    return "".join(f"{text}\n" for text in texts)


def filled(template: str, values: Mapping[str, str]) -> str:
    """A template of the `templates` folder with its placeholders replaced."""
    return Template((TEMPLATES / f"{template}.tmpl").read_text(encoding="utf-8")).substitute(values)


def source(cell: Cell, deployment: Deployment, recipe: Recipe | None) -> str:
    """The source of run.py: the recipe's steps, the runtime's class, and a command line."""
    steps = recipe.steps if recipe else ()
    sources = [inspect.getsource(kind) for kind in dict.fromkeys(type(step) for step in steps)]
    listed = "".join(f"    {step!r},\n" for step in steps)
    constant = f"STEPS: tuple[Any, ...] = (\n{listed})" if steps else "STEPS: tuple[Any, ...] = ()"
    values = {
        "cell": cell.id,
        "usage": _usage(cell) if recipe else "",
        "steps": "\n\n".join(["Image = Any", *sources, constant]),
        "network": inspect.getsource(import_strings.resolve(deployment.network)),
    }
    return filled("run.py", values)


def _usage(cell: Cell) -> str:
    summary = f"{SUMMARIES.get(cell.model.task, 'the outputs')} of each"
    return f"  python run.py photo.jpg another.jpg                {summary}\n"


def settings(
    cell: Cell, deployment: Deployment, prepared: Prepared, recipe: Recipe | None = None
) -> dict[str, Any]:
    """The contents of settings.json: names, shapes and dtypes, options of the runtime, and limits
    for differences from the proved outputs.

    The recipe is included as data for programs in other languages; run.py has its steps as source.
    """
    from evenbench.harness.accuracy import tolerances

    allowed = tolerances.tolerance_for(cell.precision, cell.model.tolerance)
    return {
        "cell": cell.id,
        "task": cell.model.task,
        "labels": list(cell.model.labels),
        "recipe": _recipe_as_data(recipe),
        "inputs": _tensors(cell, cell.model.inputs),
        "outputs": _tensors(cell, cell.model.outputs),
        "threads": cell.threads,
        "runtime": dict(deployment.settings),
        "objects": _rule_for_objects(cell),
        "tolerance": {"rtol": allowed.rtol, "atol": allowed.atol},
        "artifact_sha256": prepared.artifact.sha256,
        "weights_sha256": prepared.weights.get("sha256", ""),
    }


def _rule_for_objects(cell: Cell) -> dict[str, Any] | None:
    """The rule of comparing a detector's objects; None for other models."""
    from evenbench.harness.accuracy import detection_matching

    shapes = {spec.name: spec.shape for spec in cell.model.outputs}
    names = data_dependent_shapes.objects(cell.model.task, shapes)
    if not names:
        return None
    limits = asdict(detection_matching.LIMITS[cell.precision])
    return {"names": list(names), "threshold": cell.model.score_threshold, **limits}


def _tensors(cell: Cell, specs: Sequence[TensorSpec]) -> list[dict[str, Any]]:
    return [
        {
            "name": spec.name,
            "dtype": spec.dtype,
            "shape": list(spec.concrete(cell.batch)),
            "batched": spec.is_batched,
            "open": spec.is_open,
        }
        for spec in specs
    ]


def _recipe_as_data(recipe: Recipe | None) -> dict[str, Any] | None:
    """The recipe's steps in order, by name and fields, in the form used inside ONNX files."""
    if recipe is None:
        return None
    steps = [{"step": type(step).__name__, **asdict(step)} for step in recipe.steps]
    return {"name": recipe.name, "steps": steps}


def requirements(
    cell: Cell, deployment: Deployment, prepared: Prepared, recipe: Recipe | None
) -> list[str]:
    """The runtime, numpy, and Pillow for photos, pinned to versions of the measured environment.

    The measured environment is the cell's own virtual environment, if any.
    """
    names = [*deployment.distributions, "numpy", *(["pillow"] if recipe else [])]
    locked = (prepared.environment or {}).get("packages", ())
    pins = {distribution_of(package): package for package in locked}
    return [pins.get(name, f"{name}=={batches.version_of(name)}") for name in names]


def pinned(distributions: Sequence[str]) -> list[str]:
    """Build tools, pinned to the installed versions; unpinned if not installed."""
    versions = {name: batches.version_of(name) for name in distributions}
    return [
        f"{name}=={version}" if version[:1].isdigit() else name
        for name, version in versions.items()
    ]
