"""Short import names: `harness` is `evenbench.harness`, unless the project has its own `harness`.

Declarations import `harness`, as in `from harness import Case`. Many projects have a package of
this name, or of the name `backends` or `reports`, and their own imports must get their own package.
evenbench itself therefore imports `evenbench.harness`, and a short name is only an alias: of the
same module objects, and only where no other package has the name.

Two ways lead to an alias. `install` serves evenbench's own processes. The modules in the folder
`aliases/` of the distribution serve any other Python, such as a notebook; they call `stand_in`.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

NAMES = ("harness", "backends", "reports")


class Alias(Loader):
    """Gives the module `evenbench.x` the further name `x`, without a second import of its file."""

    def __init__(self) -> None:
        self._spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(f"evenbench.{spec.name}")
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec  # the import system has written the alias's in its place


class Aliases(MetaPathFinder):
    """Finds `harness` and `harness.core`; ahead of all other finders.

    Another finder would import a file a second time, under a second name.
    """

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        top, _, rest = name.partition(".")
        if top not in NAMES:
            return None
        ours = is_alias(top) if rest else projects_own(top) is None
        if not ours or importlib.util.find_spec(f"evenbench.{name}") is None:
            return None
        return ModuleSpec(name, Alias(), is_package=not rest)


def is_alias(name: str) -> bool:
    """Whether the imported top-level module `name` is evenbench's."""
    module = sys.modules.get(name)
    return module is not None and module is sys.modules.get(f"evenbench.{name}")


def install() -> None:
    """Make the short names importable in this process."""
    if not any(isinstance(finder, Aliases) for finder in sys.meta_path):
        sys.meta_path.insert(0, Aliases())


def stand_in(name: str) -> None:
    """Replace the imported module `name` by the project's package, or by evenbench's.

    Python imports the module in `aliases/` where no package of this name comes earlier on the
    import path. A package may come later, and a folder without `__init__.py` never comes first.
    """
    install()
    spec = projects_own(name)
    if spec is None:
        sys.modules[name] = importlib.import_module(f"evenbench.{name}")
        return
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    if spec.loader:
        spec.loader.exec_module(module)


def projects_own(name: str) -> ModuleSpec | None:
    """The specification of a package `name` that is not evenbench's; None without such a package.

    A folder without `__init__.py` counts as a package if it has Python files.
    """
    path = list(sys.path)
    while spec := PathFinder.find_spec(name, path):
        if not _is_alias_module(spec):
            return spec if _has_python(spec) else None
        folder = Path(str(spec.origin)).parent
        path = [entry for entry in path if Path(entry or ".").resolve() != folder.resolve()]
    others = [finder for finder in sys.meta_path if not isinstance(finder, Aliases)]
    specs = (finder.find_spec(name, None, None) for finder in others if finder is not PathFinder)
    return next((spec for spec in specs if spec and not _is_alias_module(spec)), None)


CALL = b"aliases.stand_in(__name__)"
"""The call in the modules of `aliases/`, of this and of any other installation of evenbench."""


def _is_alias_module(spec: ModuleSpec) -> bool:
    file = Path(spec.origin or "")
    return file.suffix == ".py" and file.stem == spec.name and CALL in file.read_bytes()


def _has_python(spec: ModuleSpec) -> bool:
    if spec.origin:
        return True
    folders = [Path(place) for place in spec.submodule_search_locations or ()]
    return any(
        next(folder.glob(pattern), None) for folder in folders for pattern in ("*.py", "*/*.py")
    )


def advice(module: str) -> str:
    """How to import evenbench's `module` beside a package of the project with its name.

    Empty where no package of the project has the name.
    """
    top = module.partition(".")[0]
    if top not in NAMES or is_alias(top):
        return ""
    loaded = sys.modules.get(top)
    spec = loaded.__spec__ if loaded else projects_own(top)
    places = [spec.origin, *(spec.submodule_search_locations or ())] if spec else []
    place = next((place for place in places if place), None)
    if place is None:
        return ""
    return (
        f"{place} is the project's own {top!r}; import evenbench's as `evenbench.{top}`, and "
        "declarations as in `from evenbench import Case`"
    )
