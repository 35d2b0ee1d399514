"""Looking into a network: an artifact whose tensors can be fetched, and one process that fetches
them for some inputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness.core import registry
from harness.core.types import Cell, to_json
from harness.inputs import batches as inputs

EXPOSE: Literal["expose"] = "expose"
WATCH: Literal["watch"] = "watch"


@dataclass(frozen=True)
class Watch:
    """What is to be fetched: tensors within by name (None: all; none: the model's outputs alone),
    of which batches (none: of all).
    """

    names: tuple[str, ...] | None = ()
    batches: tuple[int, ...] = ()


def expose(cell: Cell, asked: Watch, folders: Mapping[str, Path], folder: Path) -> dict[str, Any]:
    """Write an artifact whose intermediate tensors can be fetched to `folder`; `folders` has the
    artifact and the inputs.
    """
    batch = inputs.load(folders["inputs"], cell.model)[asked.batches[0]]
    made = registry.find(cell.backend).expose(folders["artifact"], cell, folder, asked.names, batch)
    return to_json(made)  # type: ignore[no-any-return]


def watch(cell: Cell, asked: Watch, folders: Mapping[str, Path], folder: Path) -> dict[str, Any]:
    """Write every tensor as `<batch>-<number>.npy`; returns for each batch which number is which
    name.
    """
    import numpy as np

    backend = registry.find(cell.backend)
    session = (
        backend.watch(folders["artifact"], cell, asked.names)
        if asked.names
        else backend.load(folders["artifact"], cell)
    )
    batches = inputs.load(folders["inputs"], cell.model)
    found: dict[str, list[str]] = {}
    try:
        for index in asked.batches or range(len(batches)):
            session.bind(batches[index])
            session.step()
            session.sync()
            outputs = session.fetch()
            found[str(index)] = list(outputs)
            for number, value in enumerate(outputs.values()):
                np.save(folder / f"{index}-{number}.npy", np.asarray(value))
    finally:
        session.close()
    return {"names": found}
