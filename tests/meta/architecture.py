"""The rooms of the project as data, and the imports between them: `python -m
tests.meta.architecture` draws both.

A room may import itself and the rooms in later rows. Imports inside functions and for type checking
count like any other.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

PACKAGES = ("harness", "backends", "reports", "benchmarks")

ORDER: tuple[tuple[str, ...], ...] = (
    ("cli",),
    ("commands", "worker"),
    ("comparison", "deployment", "load", "pipeline", "asv_bridge", "plugin", "testing"),
    ("collection", "measurement"),
    ("accuracy", "runner"),
    ("inputs", "results"),
    ("environment", "statistics", "preprocess", "photographs"),
    ("harness",),
    ("core",),
)
"""The rooms of `harness/` from top to bottom. `harness` stands for the public names in
`harness/__init__.py`.
"""

BESIDE: Mapping[str, tuple[str, ...]] = {
    "reports": ("core", "results", "statistics"),
    "backends": ("harness", "core", "environment", "inputs", "pipeline", "preprocess"),
    "benchmarks": ("harness", "asv_bridge", "photographs", "preprocess"),
}
"""The rooms of `harness/` that each of the other packages may import."""

MAY_IMPORT_REPORTS = "commands"

BACKENDS: tuple[tuple[str, ...], ...] = (
    ("step_golden", "onnx_artifact", "torch_examples"),
    ("steps", "controls"),
    ("cpp",),
    ("onnxruntime", "openvino", "tensorrt", "tvm", "preprocessing"),
    ("onnx",),
    ("torch",),
    ("backends",),
)
"""The rooms of `backends/`; first the public names of modules that moved, last the shared files."""

REPORTS: tuple[tuple[str, ...], ...] = (
    ("pages", "terminal"),
    ("sections",),
    ("charts",),
    ("reports",),
)

BY_NAME: Mapping[tuple[str, str], str] = {
    (
        "evenbench.harness.core.registry",
        "backends",
    ): "the table of names, from which every backend is then found by its string",
    (
        "evenbench.harness.runner.child_process",
        "backends",
    ): "the same table, before the path of this checkout is left out",
}
"""Imports by a string that is written in the source. They point up on purpose, and are the only
ones.
"""


def draw() -> str:
    """The rows of `harness/` with the rooms that each room imports, as text."""
    lines = []
    for row in ORDER:
        for room in row:
            targets = {
                room_of(target)
                for module in modules()
                if in_room(module, room)
                for target in imports(module)
            }
            names = sorted(name for name in targets - {room} if name != "reports")
            lines.append(f"{room:<14}{' '.join(names)}")
        lines.append("")
    return "\n".join(lines)


def in_room(module: str, room: str) -> bool:
    """Whether a module of the harness lies in a room."""
    return module.partition(".")[0] == "harness" and room_of(module) == room


def room_of(module: str) -> str:
    """The room of a module: `core` of `harness.core.types`, `cli` of `harness.cli`, `torch` of
    `backends.torch.eager`.

    For the shared files of `backends` and `reports`, the package itself.
    """
    package, *rest = module.split(".")
    if not rest:
        return package
    if package == "harness" or (ROOT / package / rest[0]).is_dir():
        return rest[0]
    return rest[0] if package == "backends" and rest[0] in BACKENDS[0] else package


@cache
def modules() -> Mapping[str, ast.Module]:
    """Every module of the project by its dotted name, parsed."""
    files = [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]
    return {name_of(file): ast.parse(file.read_text(), str(file)) for file in files}


def name_of(file: Path) -> str:
    """`harness.core.types` of `harness/core/types.py`, `harness` of `harness/__init__.py`."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(module: str) -> set[str]:
    """The project's modules that a module imports, anywhere in its source."""
    found = {
        target
        for node in ast.walk(modules()[module])
        for name in _named(node)
        for target in _resolve(name)
    }
    return found - {module}


def _named(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "a relative import"
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _resolve(name: str) -> Iterator[str]:
    """The module that a dotted name is, or the one that defines it; nothing where it is not the
    project's.
    """
    if name.partition(".")[0] not in PACKAGES:
        return
    yield name if name in modules() else name.rpartition(".")[0]


def imports_by_name(module: str) -> set[str]:
    """What a module imports by a string that is written in its source."""
    calls = [
        node for node in ast.walk(modules()[module]) if isinstance(node, ast.Call) and node.args
    ]
    named = [call.args[0] for call in calls if "import_module" in ast.dump(call.func)]
    return {str(argument.value) for argument in named if isinstance(argument, ast.Constant)}


def outer_imports(module: str, *, only_at_the_top: bool) -> set[str]:
    """The top-level packages outside this project that a module imports."""
    tree = modules()[module]
    nodes = _executed_on_import(tree) if only_at_the_top else ast.walk(tree)
    return {name.partition(".")[0] for node in nodes for name in _named(node)} - set(PACKAGES)


def _executed_on_import(node: ast.AST) -> Iterator[ast.AST]:
    """Statements that run when the module is imported: not those of functions, nor those for type
    checkers.
    """
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        yield child
        yield from _executed_on_import(child)


if __name__ == "__main__":
    print(draw(), end="")
