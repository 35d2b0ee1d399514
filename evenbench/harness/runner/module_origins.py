"""Where the modules of a comparison's side come from: the side's sources, or nowhere."""

from __future__ import annotations

import contextlib
import json
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote, urlparse

from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.import_path import is_installed, is_ours


@dataclass(frozen=True)
class Origin:
    """The one folder for a side's own modules.

    `project` is the top folder of the side's sources, `elsewhere` the repository of the working
    folder if another, and `packages` are top-level packages of the project installed here.
    """

    project: str
    elsewhere: str = ""
    packages: tuple[str, ...] = ()

    def narrow_path(self) -> None:
        """Remove entries of `elsewhere` from the import path, as added by editable installs."""
        if self.elsewhere:
            sys.path[:] = [entry for entry in sys.path if not self._is_elsewhere(Path(entry))]

    def check(self) -> dict[str, str]:
        """The files of the project's modules in this process, relative to `project`, by module.

        Raises UsageError for a module of the project from outside `project`.
        """
        files = {}
        for name, module in sorted(sys.modules.items()):
            if not (plain := getattr(module, "__file__", None)) or name == "__main__":
                continue
            file = Path(plain).resolve()
            if is_ours(file):
                continue
            if file.is_relative_to(self.project) and not is_installed(file):
                files[name] = file.relative_to(self.project).as_posix()
            elif name.partition(".")[0] in self.packages or self._is_elsewhere(file):
                raise UsageError(
                    f"{name} is imported from {file}, not from {self.project}, so another version "
                    "would be measured under this name; add the folder of the package to "
                    "PYTHONPATH, or uninstall the package, and compare again"
                )
        return files

    def _is_elsewhere(self, file: Path) -> bool:
        inside = bool(self.elsewhere) and file.is_relative_to(self.elsewhere)
        return inside and not file.is_relative_to(self.project) and not is_installed(file)


@cache
def installed_packages(project: Path) -> tuple[str, ...]:
    """Top-level packages of the distributions installed here from the sources in `project`.

    Such a distribution was installed from a folder of the project, or has the project's name.
    """
    named = _declared_name(project)
    tops: set[str] = set()
    for distribution in metadata.distributions():
        name = _normal(distribution.metadata["Name"] or "")
        if name and (name == named or _installed_from(distribution, project)):
            tops.update(_top_levels(distribution))
    return tuple(sorted(tops))


def package_folders(project: Path, packages: tuple[str, ...]) -> Iterator[Path]:
    """The folders that hold `packages` in the sources in `project`, at most two levels deep."""
    for package in packages:
        for pattern in (package, f"*/{package}", f"*/*/{package}"):
            places = sorted({*project.glob(pattern), *project.glob(f"{pattern}.py")})
            sources = [place for place in places if place.is_file() or any(place.glob("*.py"))]
            if sources:
                yield sources[0].parent
                break


def _installed_from(distribution: metadata.Distribution, project: Path) -> bool:
    with contextlib.suppress(ValueError, AttributeError):
        value: Mapping[str, object] = json.loads(distribution.read_text("direct_url.json") or "{}")
        url = urlparse(str(value.get("url", "")))
        local = url.scheme == "file" and "dir_info" in value
        return local and Path(unquote(url.path)).resolve().is_relative_to(project)
    return False


def _declared_name(project: Path) -> str:
    """The name of the distribution in the project's pyproject.toml, or an empty string."""
    with contextlib.suppress(OSError, ValueError):
        value = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
        tables = value.get("project", {}), value.get("tool", {}).get("poetry", {})
        return next((_normal(table["name"]) for table in tables if "name" in table), "")
    return ""


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _top_levels(distribution: metadata.Distribution) -> set[str]:
    """Names importable from a distribution, by its list of files and its `top_level.txt`."""
    named = set((distribution.read_text("top_level.txt") or "").split())
    for file in distribution.files or ():
        if file.suffix == ".py" and ".." not in file.parts:
            named.add(file.parts[0].removesuffix(".py"))
    return {name for name in named if name.isidentifier() and not name.startswith("__")}
