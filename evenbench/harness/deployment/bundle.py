"""Deployment bundles: a standalone program for a cell's artifact, with requirements, container file
and proof.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from evenbench.harness.accuracy.tensor_capture import WATCH, Watch
from evenbench.harness.core import artifact_store, registry
from evenbench.harness.core.errors import StoreError, Unsupported, UsageError
from evenbench.harness.core.types import Cell
from evenbench.harness.deployment import image_size, program, readme, verification
from evenbench.harness.deployment.proof import ProofRecord
from evenbench.harness.inputs import batches, preprocessors
from evenbench.harness.runner.job import Job
from evenbench.harness.runner.preparation import Preparer
from evenbench.harness.runner.prepared import Refusal

if TYPE_CHECKING:
    from evenbench.harness.core.backend import Deployment
    from evenbench.harness.runner.prepared import Prepared

TIMEOUT_SECONDS = 3600.0
"""Limit for preparing an artifact that is not in the cache."""


def ship(cell: Cell, folder: Path, base_bytes: int = 0, others: Sequence[Cell] = ()) -> ProofRecord:
    """Prepare the cell, write its deployment into `folder`, and prove the program; returns the
    contents of proof.json.

    `base_bytes` is the size of the Dockerfile's base image, 0 if unknown. `others` are tried in
    order if the cell is unsupported. Raises UsageError, and writes nothing, if no cell can be
    prepared, loaded and run, or has a program.
    """
    folder = folder.absolute()  # programs run in other folders
    cell, deployment, prepared = runnable([cell, *others])
    recipe = verification.recipe_of(cell)
    pins = program.requirements(cell, deployment, prepared, recipe)
    files = program.files(cell, deployment, prepared, recipe, pins)
    tools = program.pinned(deployment.tools)
    try:
        _write(folder, cell, prepared, files)
        subject = verification.Subject(folder, cell, prepared, pins, recipe, tools)
        proof = verification.prove(subject)
        proof["image"] = image_size.expected(proof, folder, base_bytes)
        (folder / "proof.json").write_text(json.dumps(proof, indent=1))
        text = readme.text(cell, deployment, prepared, recipe, proof)
        (folder / "README.md").write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be written ({error}); free some space, or name another folder with -o"
        ) from error
    return proof


def runnable(cells: Sequence[Cell]) -> tuple[Cell, Deployment, Prepared]:
    """The first supported cell, with the needs of its program, prepared and run once. A choice
    other than the first cell is printed on standard error.

    Raises UsageError with all reasons if every cell is refused, and at once for a failed cell.
    """
    refused: list[str] = []
    for cell in cells:
        try:
            deployment, prepared = _deployment(cell), _tried(cell)
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
            print(*refused, sep="\n", file=sys.stderr)
            print(f"{cell.id} is shipped in its place; the case declares both", file=sys.stderr)
        return cell, deployment, prepared
    raise UsageError("; ".join(refused))


def _tried(cell: Cell) -> Prepared:
    """The prepared cell, after one process has loaded the artifact and run one batch, because some
    runtimes refuse a file only then. Raises Refusal.
    """
    preparer = Preparer(TIMEOUT_SECONDS)
    prepared = preparer.prepare(cell)
    with tempfile.TemporaryDirectory(prefix="evenbench-ship-") as out:
        first_batch = Watch(batches=(0,))
        job = Job(WATCH, cell, first_batch, folder=out, folders=prepared.folders())
        reply = preparer.work(job)
    if reply.value is None:
        raise Refusal(replace(reply, phase="load"))
    return prepared


def _deployment(cell: Cell) -> Deployment:
    """The needs of the cell's program. Raises UsageError with the reason for a cell without a
    program.
    """
    refused = _refusal(cell)
    try:
        if not refused:
            return registry.find(cell.backend).deployment(cell)
    except Unsupported as error:
        refused = str(error)
    raise UsageError(f"{cell.id} cannot be shipped: {refused}")


def _refusal(cell: Cell) -> str:
    """The reason against shipping a cell, or an empty string."""
    unsupported = registry.find(cell.backend).supports(cell)
    if unsupported:
        return unsupported
    role = registry.row(cell.backend).role
    if role != "runtime":
        return f"{cell.backend} is a {role}, which nobody deploys"
    if cell.device != "cpu":
        return (
            f"the needs of {cell.device} (a driver, its libraries) are in no list of requirements; "
            "programs are written for the CPU"
        )
    library = preprocessors.of(cell.model.recipe) if cell.model.recipe else preprocessors.DEFAULT
    if library != preprocessors.DEFAULT:
        return (
            f"its photos are prepared by {library}, but a program has the recipe's own steps, in "
            "Pillow; ship the plain model"
        )
    return ""


def _write(folder: Path, cell: Cell, prepared: Prepared, files: Mapping[str, str]) -> None:
    model = folder / "model"
    (folder / "parity").mkdir(parents=True)
    shutil.copytree(
        prepared.artifact.path, model, ignore=shutil.ignore_patterns(artifact_store.MANIFEST)
    )
    # Files of the store are readable by their owner only; an image has other users.
    for path in (model, *model.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    for number, spec in enumerate(cell.model.inputs):
        source = Path(prepared.inputs.path) / batches.file_of(spec.name)
        shutil.copyfile(source, folder / "parity" / f"input-{number}.npy")
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
