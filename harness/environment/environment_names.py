"""The environment named after the `@` of a backend, such as `ort@1.24.1`, and its requirements."""

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

from harness.core import registry
from harness.core.errors import Unavailable, UsageError
from harness.core.types import digest
from harness.environment.installers import distribution_of

VARIABLE = "EVENBENCH_PYTHON_"
"""`EVENBENCH_PYTHON_<NAME>=/path/to/python` gives the interpreter of backends called `ort@<name>`;
it comes before all else.
"""

TABLE = "tool.evenbench.environments"
"""Where a project declares environments, in the nearest `pyproject.toml` upward that has the table:
`name = ["requirement", ...]`.
"""

VERSION = re.compile(r"\d+(\.\d+)*((a|b|rc)\d+)?(\.post\d+)?(\.dev\d+)?(\+[a-z0-9.]+)?")
"""What stands after `@` is a version where it looks like one (PEP 440); everything else is an
environment's name.
"""


@dataclass(frozen=True)
class Request:
    """What a backend's name asks for: requirements to be resolved, or the Python of an environment
    that somebody made.
    """

    name: str
    requirements: tuple[str, ...] = ()
    python: str = ""

    @property
    def key(self) -> str:
        """Of the lock that this request was resolved to: 32 hex digits over the requirements, this
        Python and this numpy.
        """
        return digest({"requirements": self.requirements, "for": target(), "numpy": numpy_here()})[
            :32
        ]


def target() -> dict[str, str]:
    """The Python that environments are built for: this one."""
    found = {
        "implementation": sys.implementation.name,
        "python": platform.python_version(),
        "platform": sysconfig.get_platform(),
    }
    return found | {"abi": str(sysconfig.get_config_var("SOABI") or "")}


@cache
def numpy_here() -> str:
    try:
        return metadata.version("numpy")
    except metadata.PackageNotFoundError:
        return ""


def name_of(backend: str) -> str:
    """The environment that a backend's name puts it into: after its `@`, or that of its row; empty
    for this one.
    """
    return backend.partition("@")[2] or registry.row(backend).environment


def request(backend: str) -> Request | None:
    """What the environment of `ort@1.24.1` is made of; None for this one. Reads names only: nothing
    is resolved or built.

    Raises Unavailable for a name that nobody declared, UsageError where a declaration is malformed.
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
            f"{variable}={python} is no Python; give the path of one in which numpy and the runtime are installed"
        )
    return python


def _unknown(backend: str, name: str, base: Sequence[str], known: Sequence[str]) -> str:
    version = f", a version of {base[0]} such as {backend.partition('@')[0]}@1.2.3," if base else ""
    return (
        f"{backend}: no environment {name!r}; expected {', '.join(known) or 'a declared one'}{version} or declare it in pyproject.toml: "
        f'[{TABLE}] {json.dumps(name)} = ["distribution==version"]; or set {variable_of(name)} to its Python'
    )


def declared() -> dict[str, tuple[str, ...]]:
    """The environments that the project around the working folder declares, by name. Raises
    UsageError where they are malformed.
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
        found: Any = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(
            f"{file} cannot be read ({error}); mend it, or run from another folder"
        ) from error
    for part in TABLE.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    if found is not None and not isinstance(found, Mapping):
        raise UsageError(
            f'{file}: {TABLE} is a {type(found).__name__}; expected a table of name = ["requirement", ...]'
        )
    return found


def _requirements(file: Path, name: str, value: Any) -> tuple[str, ...]:
    if (
        not isinstance(value, list)
        or not value
        or not all(isinstance(entry, str) and entry.strip() for entry in value)
    ):
        raise UsageError(
            f'{file}: [{TABLE}] {name} is {value!r}; expected a list of requirements such as ["runtime==1.2"]'
        )
    return tuple(entry.strip() for entry in value)


def with_numpy(requirements: Sequence[str]) -> tuple[str, ...]:
    """The harness's own part of a worker needs numpy, and nothing else that is not in the standard
    library.
    """
    return (
        tuple(requirements)
        if "numpy" in map(distribution_of, requirements)
        else (*requirements, "numpy")
    )
