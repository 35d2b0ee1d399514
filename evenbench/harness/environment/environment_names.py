"""Names of environments, given after a backend's `@` as in `ort@1.24.1`, and their requirements."""

from __future__ import annotations

import json
import os
import platform
import re
import sys
import sysconfig
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from evenbench.harness.core import registry
from evenbench.harness.core.errors import Unavailable, UsageError
from evenbench.harness.core.types import digest
from evenbench.harness.environment.installers import distribution_of

VARIABLE = "EVENBENCH_PYTHON_"
"""`EVENBENCH_PYTHON_<NAME>=/path/to/python` sets the interpreter of backends called `ort@<name>`.

The variable overrides all declarations.
"""

TABLE = "tool.evenbench.environments"
"""A project's environments, `name = ["requirement", ...]`, in the nearest `pyproject.toml`."""

VERSION = re.compile(r"\d+(\.\d+)*((a|b|rc)\d+)?(\.post\d+)?(\.dev\d+)?(\+[a-z0-9.]+)?")
"""A version (PEP 440) after the `@`. Any other text is the name of an environment."""


@dataclass(frozen=True)
class Request:
    """Requirements to resolve, or the Python of an environment made by the user."""

    name: str
    requirements: tuple[str, ...] = ()
    python: str = ""

    @property
    def key(self) -> str:
        """The lock's key: 32 hex digits over the requirements, this Python and this numpy."""
        return digest({"requirements": self.requirements, "for": target(), "numpy": numpy_here()})[
            :32
        ]


def target() -> dict[str, str]:
    """The Python of all environments: this interpreter."""
    python = {
        "implementation": sys.implementation.name,
        "python": platform.python_version(),
        "platform": sysconfig.get_platform(),
    }
    return python | {"abi": str(sysconfig.get_config_var("SOABI") or "")}


@cache
def numpy_here() -> str:
    """This environment's numpy version; empty without numpy."""
    try:
        return metadata.version("numpy")
    except metadata.PackageNotFoundError:
        return ""


def name_of(backend: str) -> str:
    """The environment of a backend: after its `@`, or from its row; empty for this environment."""
    return backend.partition("@")[2] or registry.row(backend).environment


def request(backend: str) -> Request | None:
    """The environment of a backend such as `ort@1.24.1`; None for this environment.

    Reads names only; resolves and builds nothing. Raises Unavailable for an undeclared name, and
    UsageError for a malformed declaration.
    """
    name = name_of(backend)
    if not name:
        return None
    variable = variable_of(name)
    if variable in os.environ:
        return Request(name, python=_given(variable))
    project = declared()
    if name in project:
        return Request(name, with_numpy(project[name]))
    named = registry.find(backend).environments
    if name in named:
        return Request(name, with_numpy(named[name]))
    plain = registry.row(backend)
    base = tuple(named.get(plain.environment, ())) or registry.find(backend).distributions[:1]
    if VERSION.fullmatch(name) and base:
        return Request(name, with_numpy((f"{base[0]}=={name}", *base[1:])))
    raise Unavailable(_unknown(backend, name, base, sorted({*project, *filter(None, named)})))


def variable_of(name: str) -> str:
    """`EVENBENCH_PYTHON_1_24_1` of `1.24.1`."""
    return VARIABLE + "".join(letter if letter.isalnum() else "_" for letter in name).upper()


def _given(variable: str) -> str:
    python = os.environ[variable]
    if not os.access(python, os.X_OK) or Path(python).is_dir():
        raise Unavailable(
            f"{variable}={python} is no Python; give the path of a Python with numpy and the "
            "runtime installed"
        )
    return python


def _unknown(backend: str, name: str, base: Sequence[str], known: Sequence[str]) -> str:
    version = f", a version of {base[0]} such as {backend.partition('@')[0]}@1.2.3," if base else ""
    return (
        f"{backend}: no environment {name!r}; expected "
        f"{', '.join(known) or 'a declared one'}{version} or declare it in pyproject.toml: "
        f'[{TABLE}] {json.dumps(name)} = ["distribution==version"]; or set {variable_of(name)} '
        "to its Python"
    )


def declared() -> dict[str, tuple[str, ...]]:
    """The requirements of environments declared by the project around the working folder, by name.

    Raises UsageError for a malformed declaration.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        file = folder / "pyproject.toml"
        if file.is_file():
            table = _table(file)
            if table is not None:
                return {name: _requirements(file, name, value) for name, value in table.items()}
    return {}


def _table(file: Path) -> Mapping[str, Any] | None:
    try:
        table: Any = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # also very long numbers, deep lists
        raise UsageError(
            f"{file} cannot be read ({error}); fix the file, or run from another folder"
        ) from error
    for part in TABLE.split("."):
        table = table.get(part) if isinstance(table, Mapping) else None
    if table is not None and not isinstance(table, Mapping):
        raise UsageError(
            f"{file}: {TABLE} is a {type(table).__name__}; expected a table of name = "
            '["requirement", ...]'
        )
    return table


def _requirements(file: Path, name: str, value: Any) -> tuple[str, ...]:
    if (
        not isinstance(value, list)
        or not value
        or not all(isinstance(entry, str) and entry.strip() for entry in value)
    ):
        raise UsageError(
            f"{file}: [{TABLE}] {name} is {value!r}; expected a list of requirements such as "
            '["runtime==1.2"]'
        )
    return tuple(entry.strip() for entry in value)


def with_numpy(requirements: Sequence[str]) -> tuple[str, ...]:
    """The requirements, with numpy. A worker's harness needs numpy beside the standard library."""
    return (
        tuple(requirements)
        if "numpy" in map(distribution_of, requirements)
        else (*requirements, "numpy")
    )
