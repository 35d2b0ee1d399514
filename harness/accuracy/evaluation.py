"""A session's answers on labelled data: run over every image in the process that timed it, after it
was timed.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.session import Session
from harness.core.types import Cell
from harness.inputs import dataset_batches
from harness.inputs.datasets import Dataset

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

FOUND = "found.json"
"""What a detector found, which another process scores: the one that was timed may lack what that
takes.
"""


def scorer(
    cell: Cell, dataset: Dataset | None, folders: Mapping[str, Path], into: Path
) -> Callable[[Session], Mapping[str, Any]] | None:
    """What is called with a session after it was timed, where its job has labelled data; None
    elsewhere.
    """
    if dataset is None:
        return None
    return lambda session: of_session(session, cell, folders["dataset"], dataset.task, into)


def of_session(
    session: Session, cell: Cell, dataset: Path, task: str, into: Path
) -> dict[str, Any]:
    """The metrics of this session as `scores`, or `found` where objects were written into a file;
    `error` where it went wrong.

    An error is told and not raised: what was timed before must not be lost over it.
    """
    try:
        return SCORED[task](session, cell, dataset, into)
    except Exception as error:
        tail = traceback.format_exception(error)[-2].strip() if error.__traceback__ else ""
        return {"error": f"{type(error).__name__}: {error}"[:1000], "traceback": tail}


def _answers(
    session: Session, cell: Cell, dataset: Path
) -> Iterator[tuple[slice, Mapping[str, Any]]]:
    """The outputs for each batch of images, in order; the last batch is filled up with the first
    images, which do not count twice.
    """
    import numpy as np

    spec = cell.model.inputs[0]
    samples = np.load(dataset / dataset_batches.SAMPLES, mmap_mode="r")
    size = cell.batch if spec.is_batched else 1
    for start in range(0, len(samples), size):
        indices = np.arange(start, start + size) % len(samples)
        bound = np.ascontiguousarray(samples[indices] if spec.is_batched else samples[start])
        bound.setflags(write=False)
        session.bind({spec.name: bound})
        session.step()
        session.sync()
        yield slice(start, min(start + size, len(samples))), session.fetch()


def _classification(session: Session, cell: Cell, dataset: Path, into: Path) -> dict[str, Any]:
    import numpy as np

    from harness.accuracy import metrics

    labels = np.load(dataset / dataset_batches.LABELS)
    name = cell.model.outputs[0].name
    found, classes = np.zeros(len(labels), np.int64), 0
    for taken, outputs in _answers(session, cell, dataset):
        made = outputs[name][: taken.stop - taken.start].astype(np.float64)
        found[taken], classes = metrics.ranks(made, labels[taken]), made.shape[1]
    return {"scores": metrics.of_ranks(found, classes)}


def _segmentation(session: Session, cell: Cell, dataset: Path, into: Path) -> dict[str, Any]:
    import numpy as np

    from harness.accuracy import metrics

    labels = np.load(dataset / dataset_batches.LABELS, mmap_mode="r")
    spec = cell.model.outputs[0]
    classes = int(spec.shape[1])
    whole = np.zeros((classes, classes), np.int64)
    for taken, outputs in _answers(session, cell, dataset):
        answers = outputs[spec.name][: taken.stop - taken.start].argmax(1)
        whole += metrics.confusion(answers, labels[taken], classes)
    return {"scores": metrics.of_confusion(whole)}


def _detection(session: Session, cell: Cell, dataset: Path, into: Path) -> dict[str, Any]:
    from harness.accuracy import metrics
    from harness.inputs import geometry

    told = json.loads((dataset / dataset_batches.TRUTH).read_text())
    categories = {
        int(label): int(category) for label, category in told["categories_by_label"].items()
    }
    made: list[dict[str, Any]] = []
    for (_, outputs), image in zip(_answers(session, cell, dataset), told["images"], strict=True):
        made += metrics.objects(
            outputs, geometry.Place(**image["place"]), int(image["id"]), categories
        )
    (into / FOUND).write_text(json.dumps(made))
    return {"found": len(made)}


SCORED = {"classification": _classification, "segmentation": _segmentation, "detection": _detection}
"""By task: what runs a session over the prepared images."""


def of_objects(dataset: Path, found: Path) -> dict[str, Any]:
    """The metrics of what a detector found, read from the file that its process wrote."""
    from harness.accuracy import metrics

    return {
        "scores": metrics.of_objects(
            dataset / dataset_batches.TRUTH, json.loads((found / FOUND).read_text())
        )
    }
