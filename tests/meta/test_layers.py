"""Imports point down: the walk over the sources agrees with the table, and the table with the documentation."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

import pytest

from tests.meta.architecture import BESIDE, BY_NAME, LAYERS, ROOT, draw, imports, imports_by_name, modules, outer_imports, short

DEPTH = {module: depth for depth, layer in enumerate(LAYERS.values()) for module in layer}


def of(*packages: str) -> list[str]:
    return [module for module in modules() if module.partition(".")[0] in packages]


def test_the_documentation_shows_this_table() -> None:
    """To bring it up to date: paste the output of `python -m tests.meta.architecture` into docs/ARCHITECTURE.md."""
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text()
    (shown,) = re.findall(r"```layers\n(.*?)```", text, re.DOTALL)
    assert shown == draw()


def test_every_module_of_the_harness_has_exactly_one_place() -> None:
    placed = [module for layer in LAYERS.values() for module in layer]
    assert sorted(placed) == sorted(short(module) for module in of("harness"))


@pytest.mark.parametrize("module", of("harness"))
def test_imports_point_down(module: str) -> None:
    for target in imports(module):
        if target.startswith("harness"):
            assert DEPTH[short(target)] >= DEPTH[short(module)], f"{module} imports {target}, which lies in a higher layer"
        else:
            assert short(module) in BESIDE[short(target)][1], f"{module} imports {target}"


@pytest.mark.parametrize("module", of("backends", "reports", "benchmarks"))
def test_the_other_packages_import_what_the_table_says(module: str) -> None:
    own = module.partition(".")[0]
    for target in imports(module):
        package = target.partition(".")[0]
        assert package in (own, "harness"), f"{module} imports {target}"
        if package == "harness":
            assert short(target) in BESIDE[f"{own}/"][0], f"{module} imports {target}"


def test_the_table_allows_nothing_that_nobody_needs() -> None:
    for package, (down, seen_by) in BESIDE.items():
        used = {short(target) for module in of(package.rstrip("/")) for target in imports(module) if target.startswith("harness")}
        assert set(down) - {"results", "advice"} <= used, package
        importers = {short(module) for module in of("harness") if any(short(target) == package for target in imports(module))}
        assert set(seen_by) == importers, package


def test_imports_by_name_are_those_that_are_documented() -> None:
    found = {(module, target) for module in modules() for target in imports_by_name(module)}
    assert found == set(BY_NAME)


def cycles() -> Iterator[list[str]]:
    done: set[str] = set()

    def walk(module: str, path: list[str]) -> Iterator[list[str]]:
        if module in path:
            yield [*path[path.index(module) :], module]
        elif module not in done:
            for target in sorted(imports(module)):
                yield from walk(target, [*path, module])
            done.add(module)

    for module in modules():
        yield from walk(module, [])


def test_no_cycle() -> None:
    assert list(cycles()) == []


@pytest.mark.parametrize("module", of("backends"))
def test_importing_a_backend_imports_the_standard_library_and_the_harness_only(module: str) -> None:
    assert outer_imports(module, only_at_the_top=True) <= sys.stdlib_module_names


@pytest.mark.parametrize("module", of("benchmarks"))
def test_declarations_import_the_standard_library_and_the_harness_only(module: str) -> None:
    assert outer_imports(module, only_at_the_top=True) <= sys.stdlib_module_names


JUDGES = ("parity", "agreement", "detections", "scores")
PARENT = [module for module in of("harness") if short(module) not in ("measure", *JUDGES, "gate", "testing", "plugin")]
"""Modules that a parent process imports at once: measuring and judging belong to workers, the contract and the plugin to pytest,
and the gate is imported by a comparison when it has something to judge."""


@pytest.mark.parametrize("module", PARENT)
def test_the_parent_needs_nothing_but_the_standard_library_to_start(module: str) -> None:
    assert outer_imports(module, only_at_the_top=True) <= sys.stdlib_module_names


@pytest.mark.parametrize("module", of("reports"))
def test_reports_need_no_runtime_and_no_numpy(module: str) -> None:
    allowed = {"jinja2", "markupsafe", "plotly", "itables", "rich"}
    assert outer_imports(module, only_at_the_top=False) - sys.stdlib_module_names <= allowed


def test_the_walk_sees_imports_wherever_they_are() -> None:
    """The rules above are worth as much as this: one import of every kind that the sources hold."""
    assert "harness.store" in imports("harness.preparation"), "from package import module"
    assert "harness.types" in imports("harness.store"), "from module import name"
    assert "harness" in imports("harness.outcome"), "a public name of the package"
    assert "harness.measure" in imports("harness.worker"), "inside a function"
    assert "harness.backend" in imports("backends.ort_session"), "for type checkers"
    assert "torch" in outer_imports("backends.torch_model", only_at_the_top=False)
