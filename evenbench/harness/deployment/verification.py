"""Verification of a deployment: the program runs in a fresh environment built from the bundled
requirements, and the outputs are judged like any cell's.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from evenbench.harness import photographs, preprocess
from evenbench.harness.core import artifact_store, import_strings
from evenbench.harness.core.errors import Unavailable
from evenbench.harness.core.records.parity import AccuracyRecord, JudgementRecord
from evenbench.harness.core.types import BOUNDARIES, Cell, Recipe
from evenbench.harness.deployment import fresh_environment
from evenbench.harness.deployment.fresh_environment import NotProved
from evenbench.harness.deployment.proof import ProofRecord
from evenbench.harness.environment import installers
from evenbench.harness.inputs import preprocessors
from evenbench.harness.results import records

if TYPE_CHECKING:
    from evenbench.harness.runner.prepared import Prepared


@dataclass(frozen=True)
class Subject:
    """The subject of a proof: the written folder, the cell, its preparation, and the program's
    requirements.

    `tools` are the build requirements of the C++ sources in `native/`, if any.
    """

    folder: Path
    cell: Cell
    prepared: Prepared
    requirements: Sequence[str]
    recipe: Recipe | None
    tools: Sequence[str] = ()


def prove(subject: Subject) -> ProofRecord:
    """Run the program in a fresh environment, and judge its outputs. Leaves the outputs and the
    lock in the folder.
    """
    begin = time.monotonic()
    proof: ProofRecord = {
        "verdict": "proved",
        "reason": "",
        "cell": subject.cell.id,
        "time": records.timestamp(),
        "artifact_sha256": subject.prepared.artifact.sha256,
        "input_sha256": subject.prepared.inputs.facts["sha256"],
        "program_sha256": artifact_store.digest_file(subject.folder / "run.py"),
    }
    with tempfile.TemporaryDirectory(prefix="evenbench-proof-") as work:
        try:
            _prove(subject, Path(work), proof)
        except NotProved as error:
            proof["verdict"], proof["reason"] = "not proved", str(error)
        except (installers.InstallError, Unavailable) as error:
            proof["verdict"] = "not proved"
            proof["reason"] = f"no fresh environment could be built: {error}"
    proof["seconds"] = time.monotonic() - begin
    return proof


def _prove(subject: Subject, work: Path, proof: ProofRecord) -> None:
    """Add every part to `proof`, in order. Raises NotProved at the first failure."""
    lock, build = subject.folder / "requirements.lock", work / "build"
    python, proof["environment"] = fresh_environment.build(
        subject.requirements, lock, work / "environment"
    )
    if subject.tools:
        proof["build"] = fresh_environment.compile_sources(
            subject.folder / "native", subject.tools, python, work, build
        )
    program = [str(python), "-I", str(subject.folder / "run.py")]
    proof["preprocessing"] = _preprocessing(subject, program, work)
    outputs = _outputs(subject, program, subject.folder / "parity", work / "outputs")
    proof["accuracy"] = _accuracy(subject, program, work)
    verdict = _judged(subject, outputs, proof["accuracy"])
    verdict["artifact_sha256"] = proof["artifact_sha256"]
    verdict["input_sha256"] = proof["input_sha256"]
    proof["parity"] = verdict
    if verdict["verdict"] != "pass":
        reason = verdict["reason"] or verdict["verdict"]
        raise NotProved(f"in the fresh environment the output is wrong: {reason}")
    if subject.tools:
        proof["program"] = _native_verdict(subject, work, build, proof["accuracy"])
    for file in sorted((work / "outputs").glob("output-*.np[yz]")):
        (subject.folder / "parity" / file.name).write_bytes(file.read_bytes())
    fresh_environment.run([*program, "--check"], work)


def _native_verdict(
    subject: Subject, work: Path, build: Path, accuracy: AccuracyRecord | None
) -> JudgementRecord:
    """The verdict on the C++ program's outputs for the same inputs. Raises NotProved for wrong
    outputs.
    """
    inputs, outputs = subject.folder / "parity", work / "native-outputs"
    command = [str(build / "program"), str(inputs), str(outputs), str(subject.folder / "model")]
    fresh_environment.run(command, work)
    verdict = _judged(subject, _loaded(subject.cell, outputs), accuracy)
    if verdict["verdict"] != "pass":
        reason = verdict["reason"] or verdict["verdict"]
        raise NotProved(f"the C++ program's output is wrong: {reason}")
    return verdict


def _preprocessing(subject: Subject, program: Sequence[str], work: Path) -> str:
    """The result of comparing the program's preprocessing with ours. Raises NotProved for any
    different byte.
    """
    import numpy as np

    images = photos_of(subject.cell)
    if subject.recipe is None or not images:
        return "no recipe" if subject.recipe is None else "no photographs to compare by"
    file = work / "preprocessed.npy"
    fresh_environment.run([*program, *map(str, images), "--preprocessed", str(file)], work)
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
    """The program's outputs for the arrays in a folder, each as batches."""
    command = [*program, "--inputs", str(inputs), "--outputs", str(outputs)]
    fresh_environment.run(command, outputs.parent)
    return _loaded(subject.cell, outputs)


def _loaded(cell: Cell, folder: Path) -> list[Any]:
    """The outputs written by a program into a folder, each as batches. Raises NotProved for a
    missing output.
    """
    import numpy as np

    try:
        return [
            _with_open_size(folder, number)
            if spec.is_open
            else np.load(folder / f"output-{number}.npy")
            for number, spec in enumerate(cell.model.outputs)
        ]
    except FileNotFoundError as error:
        raise NotProved(
            f"the program ended well and wrote no {Path(error.filename).name}"
        ) from error


def _with_open_size(folder: Path, number: int) -> list[Any]:
    """An output with a data-dependent shape, as an array per batch."""
    import numpy as np

    with np.load(folder / f"output-{number}.npz") as kept:
        return [kept[f"arr_{at}"] for at in range(len(kept.files))]


def _accuracy(subject: Subject, program: Sequence[str], work: Path) -> AccuracyRecord | None:
    """The program's top-1 accuracy on the model's held-out split, by the rule of
    `judging.accuracy`; None for other models.
    """
    import numpy as np

    if not subject.cell.model.evaluation:
        return None
    folder, batch = Path(subject.prepared.inputs.path), subject.cell.batch
    samples, labels = np.load(folder / "evaluation.npy"), np.load(folder / "labels.npy")
    order = np.arange(-(-len(samples) // batch) * batch).reshape(-1, batch) % len(samples)
    (work / "held-out").mkdir()
    np.save(work / "held-out" / "input-0.npy", samples[order])
    scores = _outputs(subject, program, work / "held-out", work / "scores")[0]
    predicted = scores.argmax(-1).reshape(-1)[: len(samples)]
    hits = int((predicted == labels).sum())
    return {"metric": "top-1", "value": hits / len(samples), "count": len(samples)}


def _judged(
    subject: Subject, outputs: Sequence[Any], accuracy: AccuracyRecord | None
) -> JudgementRecord:
    """The verdict on the program's outputs, by the cell's own rule and golden."""
    from evenbench.harness.measurement import judging

    names = [spec.name for spec in subject.cell.model.outputs]
    kept = {
        batch: {name: arrays[batch] for name, arrays in zip(names, outputs, strict=True)}
        for batch in range(len(outputs[0]))
    }
    assert subject.prepared.golden is not None, "a control is refused before"
    golden = Path(subject.prepared.golden.path)
    try:
        verdict = judging.judge(subject.cell, dict.fromkeys(BOUNDARIES, kept), golden, accuracy)
    except ValueError as error:
        raise NotProved(str(error)) from error
    return cast(JudgementRecord, verdict)


def photos_of(cell: Cell) -> list[Path]:
    """The photographs in the cell's inputs; empty for other inputs."""
    if cell.model.images or not recipe_of(cell):
        return [photographs.locate(image) for image in cell.model.images]
    files = json.loads(dict(cell.model.arguments).get("files", "[]"))
    return [Path(photo) for photo in files]


def recipe_of(cell: Cell) -> Recipe | None:
    """The recipe of the model's photos: declared, or named by the user for their own model."""
    if cell.model.recipe:
        return cell.model.recipe
    name = dict(cell.model.arguments).get("recipe", "")
    is_of_photos = import_strings.portable(cell.model.inputs_from) == "harness.inputs:files"
    return preprocess.RECIPES.get(name) if is_of_photos else None
