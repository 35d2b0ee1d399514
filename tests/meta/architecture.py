"""The layers of the project as data, the imports as they are, and the drawing of both: `python -m tests.meta.architecture`.

A module may import what is in its own layer, without cycles, and what is in a layer further down. Imports inside functions
and for type checking count like any other.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

PACKAGES = ("harness", "backends", "reports", "benchmarks")

LAYERS: Mapping[str, tuple[str, ...]] = {
    "front ends": ("cli", "plugin", "asv_bridge", "testing"),
    "comparison": (
        *("compare", "history"),
        *("bisection", "bridge", "commits", "recorded", "sides", "alerts", "ending", "paired", "pairing", "conversation", "arm"),
    ),
    "commands": (
        *("asv_site", "choosing", "controls", "doctor", "filming", "footprint", "inspection", "levels", "modelfile", "needs", "notices"),
        *("parting", "progress", "pipeline", "proof", "reporting", "running", "scaffold", "shipping", "targets", "tensors"),
        *("terminal", "tuning", "upkeep"),
        "load",
    ),
    "orchestration": ("schedule", "resuming", "outcome", "limit", "preparation", "worker", "collection", "labelled", "usermodel"),
    "one process": ("measure", "scoring", "line", "ways", "streaming", "watching", "scene", "churn", "traffic"),
    "effects": (
        *("dataset_inputs", "datasets", "matrix", "registry", "implementations", "inputs", "photographs", "videos", "download", "store"),
        *("sources", "energy", "environment", "environments", "installers", "libraries", "machine", "gpu", "loadgen", "timing", "results"),
    ),
    "the seam": ("harness", "backend"),
    "pure": (
        *("cases", "encoded", "preprocess", "warmup", "parity", "agreement", "detections", "geometry", "scores", "statistics", "gate"),
        *("planner", "series", "scenarios", "steps", "expectations", "disturbance", "suspects", "health", "advice", "stages", "drawing"),
        *("orders", "rows", "places"),
    ),
    "values": ("types", "codes", "late", "open_sizes", "sizes", "plain"),
}
"""Top to bottom. `harness` stands for the public names of `harness/__init__.py`."""

BESIDE: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "reports/": (
        ("types", "statistics", "results", "advice"),
        ("choosing", "doctor", "history", "inspection", "load", "modelfile", "needs", "pipeline", "progress", "reporting", "running"),
    ),
    "backends/": (
        (
            "harness",
            "backend",
            "registry",
            "preprocess",
            "implementations",
            "inputs",
            "late",
            "download",
            "store",
            "sources",
            "environment",
            "gpu",
            "orders",
            "stages",
            "sizes",
        ),
        (),
    ),
    "benchmarks/": (("harness", "preprocess", "photographs", "asv_bridge"), ()),
}
"""What the other packages may import of the harness, and which modules of it may import them."""

BY_NAME: Mapping[tuple[str, str], str] = {
    ("harness.registry", "backends"): "the table of names, from which every backend is then found by its string",
    ("harness.worker", "backends"): "the same table, before the path of this checkout is left out",
}
"""Imports by a string that is written in the source. They point up on purpose, and are the only ones."""

HEAD = "{:<16}{}"


def draw() -> str:
    """The table as text, as it stands in docs/ARCHITECTURE.md."""
    lines = [HEAD.format(layer, "  ".join(modules)) for layer, modules in LAYERS.items()]
    lines.append("")
    for package, (down, seen_by) in BESIDE.items():
        seen = f"; imported by {'  '.join(seen_by)}" if seen_by else ""
        lines.append(HEAD.format(package, f"imports {'  '.join(down)}{seen}"))
    lines.append("")
    lines += [HEAD.format("by name", f"{importer.partition('.')[2]} loads {target}: {why}") for (importer, target), why in BY_NAME.items()]
    return "\n".join(lines) + "\n"


@cache
def modules() -> Mapping[str, ast.Module]:
    """Every module of the project by its dotted name, parsed."""
    files = [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]
    return {name_of(file): ast.parse(file.read_text(), str(file)) for file in files}


def name_of(file: Path) -> str:
    """`harness.types` of `harness/types.py`, `harness` of `harness/__init__.py`."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(module: str) -> set[str]:
    """The project's modules that a module imports, anywhere in its source."""
    found = {target for node in ast.walk(modules()[module]) for name in _named(node) for target in _resolve(name)}
    return found - {module}


def _named(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "a relative import"
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _resolve(name: str) -> Iterator[str]:
    """The module that a dotted name is, or the one that defines it; nothing where it is not the project's."""
    if name.partition(".")[0] not in PACKAGES:
        return
    yield name if name in modules() else name.rpartition(".")[0]


def imports_by_name(module: str) -> set[str]:
    """What a module imports by a string that is written in its source."""
    calls = [node for node in ast.walk(modules()[module]) if isinstance(node, ast.Call) and node.args]
    named = [call.args[0] for call in calls if "import_module" in ast.dump(call.func)]
    return {str(argument.value) for argument in named if isinstance(argument, ast.Constant)}


def outer_imports(module: str, *, only_at_the_top: bool) -> set[str]:
    """The top-level packages outside this project that a module imports."""
    tree = modules()[module]
    nodes = _executed_on_import(tree) if only_at_the_top else ast.walk(tree)
    return {name.partition(".")[0] for node in nodes for name in _named(node)} - set(PACKAGES)


def _executed_on_import(node: ast.AST) -> Iterator[ast.AST]:
    """Statements that run when the module is imported: not those of functions, nor those for type checkers."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        yield child
        yield from _executed_on_import(child)


def short(module: str) -> str:
    """How the table calls a module: `types` of `harness.types`, `reports/` of anything in reports."""
    package, _, rest = module.partition(".")
    return (rest or "harness") if package == "harness" else f"{package}/"


if __name__ == "__main__":
    print(draw(), end="")
