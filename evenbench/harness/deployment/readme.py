"""The README of a deployment, and the summary of its proof."""

from __future__ import annotations

import inspect
import platform
from typing import TYPE_CHECKING

from evenbench.harness import __version__
from evenbench.harness.core import import_strings, quantities
from evenbench.harness.core.types import Cell, Recipe
from evenbench.harness.deployment.program import filled
from evenbench.harness.deployment.proof import ImageSize, ProofRecord

if TYPE_CHECKING:
    from evenbench.harness.core.backend import Deployment
    from evenbench.harness.runner.prepared import Prepared

BUILD = """\
env/bin/pip install -r requirements-build.txt
env/bin/cmake -S native -B build -DPython_EXECUTABLE="$PWD/env/bin/python"
env/bin/cmake --build build
build/program parity out-of-cpp
"""
"""Commands that compile the C++ sources and run the program."""

NATIVE_ROW = (
    "| `native/`, `requirements-build.txt` | C++: a program without Python, the library called by "
    "`run.py`, and the build tools of both |\n"
)


def text(
    cell: Cell,
    deployment: Deployment,
    prepared: Prepared,
    recipe: Recipe | None,
    proof: ProofRecord,
) -> str:
    """The README.md of a deployment."""
    arguments = "photo.jpg" if recipe else "--inputs parity --outputs out"
    is_native = bool(deployment.sources)
    parity = proof.get("parity")
    values = {
        "cell": cell.id,
        "version": __version__,
        "python": platform.python_version(),
        "python_series": ".".join(platform.python_version_tuple()[:2]),
        "usage": f"env/bin/python run.py {arguments}",
        "build": BUILD if is_native else "",
        "native": NATIVE_ROW if is_native else "",
        "tokens": _tokens(cell),
        "size": _megabytes(prepared.artifact.bytes),
        "golden": (parity["golden"] if parity else "") or "the golden",
        "proof": summary(proof),
    }
    return filled("README.md", values)


def _tokens(cell: Cell) -> str:
    """The section about tokenization, with the docstring of the inputs' function; empty for models
    of other tasks.
    """
    if cell.model.task != "text":
        return ""
    inputs = ", ".join(
        f"`{spec.name}` {spec.dtype}{list(spec.concrete(cell.batch))}" for spec in cell.model.inputs
    )
    paragraphs = [
        f"The program takes arrays of token numbers ({inputs}) and brings no tokenizer: split text "
        "with the model's own tokenizer first.\n"
    ]
    source = cell.model.inputs_from
    documented = inspect.getdoc(import_strings.resolve(source)) if source else None
    if documented:
        name = import_strings.portable(source)
        quote = "".join(f"> {line}".rstrip() + "\n" for line in documented.splitlines())
        paragraphs += [f"`{name}` made the inputs in `parity/`; its documentation:\n", quote]
    return "\n".join(paragraphs) + "\n"


def summary(proof: ProofRecord) -> str:
    """The proof in a few sentences, for the terminal and the README."""
    if proof["verdict"] != "proved":
        return f"Not proved: {proof['reason']}. Do not ship it."
    parity, accuracy, environment = proof["parity"], proof["accuracy"], proof["environment"]
    size = f"{_megabytes(environment['bytes'])}, by {environment['by']}"
    packages = quantities.count(len(environment["packages"]), "package")
    sentences = [
        f"Proved in a fresh environment of {packages} ({size}): its outputs "
        f" need {parity['needed']:.2g} of the tolerance against {parity['golden']}.",
        f"Accuracy: {accuracy['value']:.4g} ({accuracy['metric']} of {accuracy['count']})."
        if accuracy
        else "",
        f"Preprocessing: {proof['preprocessing']}.",
        _program_summary(proof) if proof.get("program") else "",
        image_summary(proof["image"]) if "image" in proof else "",
    ]
    return " ".join(filter(None, sentences))


def _program_summary(proof: ProofRecord) -> str:
    size_bytes = proof["build"]["program_with_libraries"]["bytes"]
    shown = _megabytes(size_bytes) if size_bytes else ""
    size = f", and takes {shown} with its libraries, without the C library" if shown else ""
    needed = proof["program"]["needed"]
    return (
        "The C++ sources were compiled there: the program without Python needs "
        f"{needed:.2g} of the tolerance{size}."
    )


def image_summary(image: ImageSize) -> str:
    """The expected size of the container images in a sentence; empty for an unknown size."""
    above, mounted = image["above_base_bytes"], image["mounted_above_base_bytes"]
    if not above:
        return ""
    subject = f"an image above {image['base']}"
    if image["bytes"] is not None:
        above, mounted = image["bytes"], image["mounted_bytes"]
        base = f"{_megabytes(image['base_bytes'] or 0)} of {image['base']}"
        subject = f"an image, {base} included"
    return (
        f"Expected size of {subject}: {_megabytes(above)} with the model inside, "
        f"{_megabytes(mounted or 0)} without; {image['reason']}."
    )


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.3g} MB"
