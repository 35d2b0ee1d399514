"""Backends by name: a table of strings, so that naming a runtime, or listing all of them, imports
none of them.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from harness.core import import_strings
from harness.core.backend import Backend, Tunable
from harness.core.errors import Unsupported, UsageError
from harness.core.golden import Golden
from harness.core.types import Cell, Model

GROUP = "harness.backends"
"""The entry-point group by which an installed package adds a backend."""

VARIABLE = "EVENBENCH_BACKENDS"
"""`name=module:Class[:role],...`: a backend that is tried before it is packaged. It comes before
all others of its role.
"""


@dataclass(frozen=True)
class Row:
    """One backend's name, where its class is, how to install what it needs, and its role in a
    comparison.

    A `control` has no answer to check (the harness's floor); a `golden` judges others; a `negative`
    is wrong on purpose. `environment` names the environment that it lives in even where no `@` says
    so, because it cannot share this one. It is left out of `ALL`: nobody downloads a runtime
    without having named it. So is a backend that runs `steps` around networks.
    """

    name: str
    target: str
    hint: str
    role: Literal["runtime", "control", "golden", "negative"] = "runtime"
    environment: str = ""
    runs: Literal["networks", "steps"] = "networks"


@cache
def rows() -> Mapping[str, Row]:
    """Every registered backend by name. Raises UsageError where two have one name."""
    found: dict[str, Row] = {}
    for row in (*_tried(), *importlib.import_module("backends").TABLE, *_installed()):
        if row.name in found:
            raise UsageError(
                f"two backends are named {row.name!r}: {found[row.name].target} and {row.target}; "
                f"rename one in its entry point (group {GROUP}) or uninstall its package"
            )
        found[row.name] = row
    return found


def implementations() -> Mapping[str, Row]:
    """The libraries that can do a recipe's steps, by name: strings, as those of the backends."""
    return {entry.name: entry for entry in importlib.import_module("backends").IMPLEMENTATIONS}


@cache
def implementation(name: str) -> Any:
    """The `harness.inputs.preprocessors.Implementation` of that name, which is registered. Imports
    its module, and thereby no library.
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
    """The row of a backend, the environment after `@` left out. Raises UsageError for a name that
    nobody registered.
    """
    plain = name.partition("@")[0]
    try:
        return rows()[plain]
    except KeyError:
        known = ", ".join(sorted(rows()))
        raise UsageError(
            f"unknown backend {plain!r}; expected one of {known}, or install a package that provides it"
        ) from None


def runtimes() -> tuple[str, ...]:
    """The names that `ALL` stands for, in table order."""
    return tuple(
        entry.name
        for entry in rows().values()
        if entry.role == "runtime" and not entry.environment and entry.runs == "networks"
    )


@cache
def find(name: str) -> Backend:
    """The backend of that name. Imports its module, and thereby no runtime."""
    entry = row(name)
    module, _, attribute = entry.target.partition(":")
    try:
        made = getattr(importlib.import_module(module), attribute)()
    except Exception as error:
        raise UsageError(
            f"backend {entry.name}: importing {entry.target} failed with {type(error).__name__}: {error}; "
            "its module must import without its runtime"
        ) from error
    if not isinstance(made, Backend):
        raise UsageError(
            f"backend {entry.name}: {entry.target} is a {type(made).__name__}; expected a harness.Backend"
        )
    return made


def tunable(name: str) -> Tunable:
    """The backend of that name, which can be tuned. Raises UsageError for one that cannot."""
    found = find(name)
    if not isinstance(found, Tunable):
        raise UsageError(
            f"{name} has nothing to tune; {' or '.join(tunables()) or 'no backend'} has"
        )
    return found


def tunables() -> list[str]:
    """The names of the registered backends that can be tuned; one that cannot be imported is left
    out.
    """
    found = []
    for name in rows():
        with contextlib.suppress(UsageError):
            found += [name] if isinstance(find(name), Tunable) else []
    return found


def describe_file(model: Model) -> dict[str, Any]:
    """Every fact about a model's file, whatever its format; `arguments["shape"]` says the shapes
    that the file does not tell.
    """
    described = importlib.import_module("backends").DESCRIBE
    shapes = [
        [int(size) for size in text.split("x")]
        for text in model.arguments.get("shape", "").split(",")
        if text
    ]
    found: dict[str, Any] = import_strings.resolve(described)(Path(model.file), shapes)
    return found


def peaks(cell: Cell, seconds: float) -> dict[str, Any]:
    """The most arithmetic and bandwidth of the cell's device, each kernel repeated for `seconds`;
    the process needs a library for it.
    """
    found: dict[str, Any] = import_strings.resolve(importlib.import_module("backends").PEAKS)(
        cell, seconds
    )
    return found


def golden_for(cell: Cell) -> Golden:
    """The first registered golden that can run the cell's model. Raises Unsupported where there is
    none.
    """
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


def golden_cell(cell: Cell, backend: str, precision: str = "fp32") -> Cell:
    """The cell's twin that a golden or yardstick runs: same model, batch and threads, on the CPU,
    without options.
    """
    return Cell(
        cell.model, backend, precision, "cpu", cell.batch, cell.threads, (), cell.default_threads
    )
