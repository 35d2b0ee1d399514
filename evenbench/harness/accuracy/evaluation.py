"""Evaluation of a session on labelled data, in the measured process after the timed laps."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from evenbench.harness.core.session import Session
from evenbench.harness.core.types import Cell
from evenbench.harness.inputs import dataset_batches
from evenbench.harness.inputs.datasets import Dataset

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

FOUND = "found.json"
"""Detections are written to this file and scored in a separate process, because the measured
environment may lack pycocotools.
"""


class EvaluationRecord(TypedDict, total=False):
    """The evaluation in a process: `scores`, or the number of detections in a file as `found`, or
    an `error` with the last line of its `traceback`.
    """

    scores: dict[str, float]
    found: int
    error: str
    traceback: str


def scorer(
    cell: Cell, dataset: Dataset | None, folders: Mapping[str, Path], into: Path
) -> Callable[[Session], EvaluationRecord] | None:
    """The evaluation to run after the timed laps; None for a job without labelled data."""
    if dataset is None:
        return None
    return lambda session: of_session(session, cell, folders["dataset"], dataset.task, into)


def of_session(
    session: Session, cell: Cell, dataset: Path, task: str, into: Path
) -> EvaluationRecord:
    """Evaluate a session on the prepared images in `dataset`; detections go into the folder `into`.

    An exception becomes an `error`, so the timed laps are kept.
    """
    try:
        return SCORED[task](session, cell, dataset, into)
    except Exception as error:
        tail = traceback.format_exception(error)[-2].strip() if error.__traceback__ else ""
        return {"error": f"{type(error).__name__}: {error}"[:1000], "traceback": tail}


def _outputs(
    session: Session, cell: Cell, dataset: Path
) -> Iterator[tuple[slice, Mapping[str, Any]]]:
    """Yield the samples and outputs of each batch, in order.

    The first images fill up the last batch; the slice excludes repeats.
    """
    import numpy as np

    spec = cell.model.inputs[0]
    samples = np.load(dataset / dataset_batches.SAMPLES, mmap_mode="r")
    size = cell.batch if spec.is_batched else 1
    for start in range(0, len(samples), size):
        indices = np.arange(start, start + size) % len(samples)
        batch = np.ascontiguousarray(samples[indices] if spec.is_batched else samples[start])
        batch.setflags(write=False)
        session.bind({spec.name: batch})
        session.step()
        session.sync()
        yield slice(start, min(start + size, len(samples))), session.fetch()


def _classification(session: Session, cell: Cell, dataset: Path, into: Path) -> EvaluationRecord:
    import numpy as np

    from evenbench.harness.accuracy import metrics

    labels = np.load(dataset / dataset_batches.LABELS)
    name = cell.model.outputs[0].name
    ranks, classes = np.zeros(len(labels), np.int64), 0
    for samples, outputs in _outputs(session, cell, dataset):
        scores = outputs[name][: samples.stop - samples.start].astype(np.float64)
        ranks[samples], classes = metrics.ranks(scores, labels[samples]), scores.shape[1]
    return {"scores": metrics.of_ranks(ranks, classes)}


def _segmentation(session: Session, cell: Cell, dataset: Path, into: Path) -> EvaluationRecord:
    import numpy as np

    from evenbench.harness.accuracy import metrics

    labels = np.load(dataset / dataset_batches.LABELS, mmap_mode="r")
    spec = cell.model.outputs[0]
    classes = int(spec.shape[1])
    confusion = np.zeros((classes, classes), np.int64)
    for samples, outputs in _outputs(session, cell, dataset):
        predicted = outputs[spec.name][: samples.stop - samples.start].argmax(1)
        confusion += metrics.confusion(predicted, labels[samples], classes)
    return {"scores": metrics.of_confusion(confusion)}


def _detection(session: Session, cell: Cell, dataset: Path, into: Path) -> EvaluationRecord:
    from evenbench.harness.accuracy import metrics
    from evenbench.harness.inputs import geometry

    truth = json.loads((dataset / dataset_batches.TRUTH).read_text())
    categories = {
        int(label): int(category) for label, category in truth["categories_by_label"].items()
    }
    results: list[dict[str, Any]] = []
    for (_, outputs), image in zip(_outputs(session, cell, dataset), truth["images"], strict=True):
        place = geometry.Place(**image["place"])
        results += metrics.objects(outputs, place, int(image["id"]), categories)
    (into / FOUND).write_text(json.dumps(results))
    return {"found": len(results)}


SCORED = {"classification": _classification, "segmentation": _segmentation, "detection": _detection}
"""By task: the evaluation of a session on the prepared images."""


def of_objects(dataset: Path, folder: Path) -> EvaluationRecord:
    """The scores of a detector, from the file of the measured process in `folder`."""
    from evenbench.harness.accuracy import metrics

    results = json.loads((folder / FOUND).read_text())
    return {"scores": metrics.of_objects(dataset / dataset_batches.TRUTH, results)}
