"""A backend with a failing step, and a registry with fresh content."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.harness.core import registry
from evenbench.harness.core.backend import Backend, Source
from evenbench.harness.core.session import Session
from evenbench.harness.core.types import Cell

if TYPE_CHECKING:
    pass


INNER = "EVENBENCH_CRASHING_BACKEND"
"""The variable with the wrapped backend and the kind of crash: `ort:raise` or `ort:abort`."""


class fresh_registry:
    """Clears the registry's caches on entry and exit, for tests with other variables."""

    def __enter__(self) -> None:
        registry.rows.cache_clear()
        registry.find.cache_clear()

    def __exit__(self, *error: object) -> None:
        self.__enter__()


class Crashing(Backend):
    """A wrapper of a backend with a step that raises or aborts (`EVENBENCH_CRASHING_BACKEND`)."""

    name = "crashing"

    def __init__(self) -> None:
        inner, _, self.how = os.environ[INNER].partition(":")
        self.inner = registry.find(inner)
        self.precisions, self.devices = self.inner.precisions, self.inner.devices  # type: ignore[misc]
        self.uses_weights = self.inner.uses_weights  # type: ignore[misc]

    def supports(self, cell: Cell) -> str:
        return self.inner.supports(cell)

    def variables(self, cell: Cell) -> Mapping[str, str]:
        return self.inner.variables(cell)

    def artifact_key(self, cell: Cell) -> Mapping[str, Any]:
        return self.inner.artifact_key(cell)

    def prepare(self, source: Source, cell: Cell, folder: Path) -> Mapping[str, Any]:
        return self.inner.prepare(source, cell, folder)

    def load(self, folder: Path, cell: Cell) -> Session:
        session = self.inner.load(folder, cell)
        session.step = self._crash  # type: ignore[method-assign]
        return session

    def _crash(self) -> None:
        if self.how == "abort":
            os.abort()
        raise RuntimeError("crash on purpose")
