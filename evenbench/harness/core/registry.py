"""Backends by name: a table of strings. Naming or listing runtimes imports no runtime."""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from evenbench.harness.core import import_strings
from evenbench.harness.core.backend import Backend, Tunable
from evenbench.harness.core.errors import Unsupported, UsageError
from evenbench.harness.core.golden import Golden
from evenbench.harness.core.types import Cell, Model

GROUP = "harness.backends"
"""The entry-point group for backends of installed packages."""

VARIABLE = "EVENBENCH_BACKENDS"
"""`name=module:Class[:role],...`: backends under development, first in their role."""


@dataclass(frozen=True)
class Row:
    """A backend's name, the import string of its class, an install hint, and its role.

    A `control` has no output to check (the harness's floor); a `golden` judges other backends; a
    `negative` is wrong on purpose. `environment` names a default environment for backends that
    cannot share this one; `ALL` excludes such backends, because a download needs an explicit
    request. `ALL` also excludes backends for `steps` around networks. Speed-ups are over the
    `baseline`.
    """

    name: str
    target: str
    hint: str
    role: Literal["runtime", "control", "golden", "negative"] = "runtime"
    environment: str = ""
    runs: Literal["networks", "steps"] = "networks"
    baseline: bool = False


@cache
def rows() -> Mapping[str, Row]:
    """Every registered backend by name. Raises UsageError for a duplicate name."""
    table: dict[str, Row] = {}
    for row in (*_tried(), *_backends().TABLE, *_installed()):
        if row.name in table:
            raise UsageError(
                f"two backends are named {row.name!r}: {table[row.name].target} and {row.target}; "
                f"rename one in its entry point (group {GROUP}) or uninstall its package"
            )
        table[row.name] = row
    return table


def _backends() -> Any:
    """The package with the table, imported by name because this room lies below it."""
    return importlib.import_module("evenbench.backends")


def baseline() -> str:
    """The name of the backend under every speed-up: of this project's table alone."""
    table: tuple[Row, ...] = _backends().TABLE
    return next(row.name for row in table if row.baseline)


def implementations() -> Mapping[str, Row]:
    """The libraries for recipe steps by name, as strings."""
    return {entry.name: entry for entry in _backends().IMPLEMENTATIONS}


@cache
def implementation(name: str) -> Any:
    """The registered `harness.inputs.preprocessors.Implementation` called `name`.

    Imports the implementation's module, and no library.
    """
    return import_strings.resolve(implementations()[name].target)()


def _installed() -> list[Row]:
    return [
        Row(point.name, point.value, f"pip install {point.dist.name if point.dist else point.name}")
        for point in metadata.entry_points(group=GROUP)
    ]


def _tried() -> list[Row]:
    listed = [entry.strip() for entry in os.environ.get(VARIABLE, "").split(",") if entry.strip()]
    return [_tried_row(*entry.partition("=")[::2]) for entry in listed]


def _tried_row(name: str, target: str) -> Row:
    module, _, rest = target.partition(":")
    attribute, _, role = rest.partition(":")
    if role not in ("", "runtime", "control", "golden"):
        raise UsageError(
            f"{VARIABLE}: {name}={target} has role {role!r}; expected runtime, control or golden"
        )
    return Row(name, f"{module}:{attribute}", f"see {VARIABLE}", role or "runtime")  # type: ignore[arg-type]


def row(name: str) -> Row:
    """The row of a backend, ignoring the environment after `@`. Raises UsageError if unknown."""
    plain = name.partition("@")[0]
    try:
        return rows()[plain]
    except KeyError:
        near = _nearest(plain)
        meant = f"did you mean {near}?" if near else f"expected one of {', '.join(runtimes())};"
        raise UsageError(
            f"unknown backend {plain!r}; {meant} `evenbench doctor` lists all, and a backend of a "
            "package is known once the package is installed"
        ) from None


def _nearest(name: str) -> str:
    """The backend with a similar name, or the first of a distribution such as `onnxruntime`."""
    import difflib

    if near := difflib.get_close_matches(name, rows(), n=1, cutoff=0.75):
        return near[0]
    for known in runtimes():
        with contextlib.suppress(UsageError):
            if name.lower() in [each.lower() for each in find(known).distributions]:
                return known
    near = difflib.get_close_matches(name, runtimes(), n=1)
    return near[0] if near else ""


def runtimes() -> tuple[str, ...]:
    """The names behind `ALL`, in table order."""
    return tuple(
        entry.name
        for entry in rows().values()
        if entry.role == "runtime" and not entry.environment and entry.runs == "networks"
    )


@cache
def find(name: str) -> Backend:
    """The backend called `name`. Imports its module, and no runtime."""
    entry = row(name)
    module, _, attribute = entry.target.partition(":")
    try:
        backend = getattr(import_strings.module_named(module), attribute)()
    except Exception as error:
        raise UsageError(
            f"backend {entry.name}: importing {entry.target} failed with {type(error).__name__}: "
            f"{error}; "
            "its module must import without its runtime"
        ) from error
    if not isinstance(backend, Backend):
        raise UsageError(
            f"backend {entry.name}: {entry.target} is a {type(backend).__name__}; expected an "
            "evenbench.Backend"
        )
    return backend


def tunable(name: str) -> Tunable:
    """The tunable backend called `name`. Raises UsageError for a backend without tuning."""
    backend = find(name)
    if not isinstance(backend, Tunable):
        raise UsageError(
            f"{name} has no tuning; expected {' or '.join(tunables()) or 'a backend with tuning'}"
        )
    return backend


def tunables() -> list[str]:
    """Names of the registered backends with tuning, except backends that fail to import."""
    names = []
    for name in rows():
        with contextlib.suppress(UsageError):
            names += [name] if isinstance(find(name), Tunable) else []
    return names


def describe_file(model: Model) -> dict[str, Any]:
    """All facts about a model file of any format.

    `arguments["shape"]` supplies shapes missing in the file.
    """
    described = _backends().DESCRIBE
    shapes = [
        [int(size) for size in text.split("x")]
        for text in model.arguments.get("shape", "").split(",")
        if text
    ]
    facts: dict[str, Any] = import_strings.resolve(described)(Path(model.file), shapes)
    return facts


def read_inputs(paths: Sequence[Path]) -> Any:
    """The `harness.inputs.given_samples.Given` of files with a model's inputs."""
    return import_strings.resolve(_backends().INPUT_FILES)(paths)


def peaks(cell: Cell, seconds: float) -> dict[str, Any]:
    """Peak arithmetic and bandwidth of the cell's device, from kernels repeated for `seconds`.

    The process needs a library for these kernels.
    """
    facts: dict[str, Any] = import_strings.resolve(_backends().PEAKS)(cell, seconds)
    return facts


def golden_for(cell: Cell) -> Golden:
    """The first registered golden for the cell's model. Raises Unsupported if none can run it."""
    reasons = []
    for entry in rows().values():
        if entry.role == "golden":
            candidate = find(entry.name)
            assert isinstance(candidate, Golden), (
                f"{entry.name} has role golden and must derive from harness.Golden"
            )
            reason = candidate.supports(golden_cell(cell, entry.name))
            if not reason:
                return candidate
            reasons.append(f"{entry.name}: {reason}")
    raise Unsupported(
        f"no golden can judge {cell.model.name}: {'; '.join(reasons) or 'none is registered'}"
    )


def golden_cell(cell: Cell, backend: str, precision: str = "") -> Cell:
    """The cell of a golden or yardstick: same model, batch and threads; CPU; no options.

    The default `precision` is the model's own: fp32, or that of the file.
    """
    own = precision or cell.model.own_precision
    return Cell(cell.model, backend, own, "cpu", cell.batch, cell.threads, (), cell.default_threads)
