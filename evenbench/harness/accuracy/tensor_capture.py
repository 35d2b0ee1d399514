"""Capture of a network's intermediate tensors: an exposed artifact, and a process that writes the
tensors for some inputs to files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from evenbench.harness.core import registry
from evenbench.harness.core.types import Cell, to_json
from evenbench.harness.inputs import batches as inputs

EXPOSE: Literal["expose"] = "expose"
WATCH: Literal["watch"] = "watch"


@dataclass(frozen=True)
class Watch:
    """The tensors to fetch, by name (None: all; empty: the model's outputs only), and the batches
    (empty: all).
    """

    names: tuple[str, ...] | None = ()
    batches: tuple[int, ...] = ()


def expose(cell: Cell, wanted: Watch, folders: Mapping[str, Path], folder: Path) -> dict[str, Any]:
    """Write an artifact with fetchable intermediate tensors to `folder`; `folders` has the artifact
    and the inputs.
    """
    backend = registry.find(cell.backend)
    batch = inputs.load(folders["inputs"], cell.model)[wanted.batches[0]]
    exposed = backend.expose(folders["artifact"], cell, folder, wanted.names, batch)
    return to_json(exposed)  # type: ignore[no-any-return]


def watch(cell: Cell, wanted: Watch, folders: Mapping[str, Path], folder: Path) -> dict[str, Any]:
    """Write every tensor as `<batch>-<number>.npy`; returns the names in order of their numbers, by
    batch.
    """
    import numpy as np

    backend = registry.find(cell.backend)
    session = (
        backend.watch(folders["artifact"], cell, wanted.names)
        if wanted.names
        else backend.load(folders["artifact"], cell)
    )
    batches = inputs.load(folders["inputs"], cell.model)
    names: dict[str, list[str]] = {}
    try:
        for index in wanted.batches or range(len(batches)):
            session.bind(batches[index])
            session.step()
            session.sync()
            outputs = session.fetch()
            names[str(index)] = list(outputs)
            for number, value in enumerate(outputs.values()):
                np.save(folder / f"{index}-{number}.npy", np.asarray(value))
    finally:
        session.close()
    return {"names": names}
