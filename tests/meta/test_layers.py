"""Imports point down: the walk over the sources agrees with the table, and the table with the
documentation.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

import pytest

from tests.meta.architecture import (
    BACKENDS,
    BESIDE,
    BY_NAME,
    MAY_IMPORT_REPORTS,
    ORDER,
    PACKAGE,
    REPORTS,
    ROOT,
    imports,
    imports_by_name,
    modules,
    outer_imports,
    room_of,
)


def of(*packages: str) -> list[str]:
    return [module for module in modules() if module.partition(".")[0] in packages]


def rows(order: tuple[tuple[str, ...], ...]) -> dict[str, int]:
    return {room: number for number, row in enumerate(order) for room in row}


ROWS = {"harness": rows(ORDER), "backends": rows(BACKENDS), "reports": rows(REPORTS)}


@pytest.mark.parametrize("package", ROWS)
def test_every_room_has_exactly_one_row(package: str) -> None:
    assert set(ROWS[package]) == {room_of(module) for module in of(package)}


@pytest.mark.parametrize("module", of(*ROWS))
def test_rooms_import_down_only(module: str) -> None:
    own, depth = module.partition(".")[0], ROWS[module.partition(".")[0]]
    for target in imports(module):
        if target.partition(".")[0] == own and room_of(target) != room_of(module):
            assert depth[room_of(target)] > depth[room_of(module)], (
                f"{module} imports {target}, which is not in a lower row"
            )


@pytest.mark.parametrize("module", modules())
def test_packages_import_what_the_table_says(module: str) -> None:
    own = module.partition(".")[0]
    for target in imports(module):
        package = target.partition(".")[0]
        if package == own:
            continue
        if own == "harness":
            assert package == "reports", f"{module} imports {target}"
            assert room_of(module) in MAY_IMPORT_REPORTS, f"{module} imports {target}"
        else:
            assert package == "harness", f"{module} imports {target}"
            assert room_of(target) in BESIDE[own], f"{module} imports {target}"


def test_the_table_allows_nothing_that_nobody_needs() -> None:
    for package, allowed in BESIDE.items():
        used = {
            room_of(target)
            for module in of(package)
            for target in imports(module)
            if target.startswith("harness")
        }
        assert set(allowed) == used, package


FILES_PER_FOLDER = 30


@pytest.mark.parametrize("package", [*ROWS, "tests"])
def test_no_folder_is_crowded(package: str) -> None:
    """Nobody finds a file by reading a list of more; make a room."""
    top = ROOT / package if package == "tests" else PACKAGE / package
    folders = [
        top,
        *(folder for folder in top.rglob("*") if folder.is_dir()),
    ]
    counts = {
        folder.relative_to(ROOT): len(
            [file for file in folder.glob("*.py") if file.name != "__init__.py"]
        )
        for folder in folders
    }
    assert {folder: count for folder, count in counts.items() if count > FILES_PER_FOLDER} == {}


ROOM = re.compile(r"^\| `([a-z_]+)(?:/|\.py)` \|", re.MULTILINE)


def test_the_documentation_names_every_room() -> None:
    """The table in docs/ARCHITECTURE.md has a row per room of `harness/`, in any order."""
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text()
    (section,) = re.findall(
        r"<!-- rooms of harness -->\n(.*?)<!-- end of rooms -->", text, re.DOTALL
    )
    folders = {
        folder.name
        for folder in (PACKAGE / "harness").iterdir()
        if (folder / "__init__.py").is_file()
    }
    files = {file.stem for file in (PACKAGE / "harness").glob("*.py") if file.stem != "__init__"}
    assert sorted(ROOM.findall(section)) == sorted(folders | files)


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


NUMPY_ROOMS = ("accuracy", "measurement", "testing", "plugin")
PAIRED_TEST = (
    "harness.statistics.paired_test",
    "harness.statistics.paired_intervals",
)
PARENT = [
    module
    for module in of("harness")
    if room_of(module) not in NUMPY_ROOMS and module not in PAIRED_TEST
]
"""Modules that a parent process imports at once: measuring and judging belong to workers, the
contract and the plugin to pytest, and a comparison imports the paired test when it has something to
judge."""


@pytest.mark.parametrize("module", PARENT)
def test_the_parent_needs_nothing_but_the_standard_library_to_start(module: str) -> None:
    assert outer_imports(module, only_at_the_top=True) <= sys.stdlib_module_names


@pytest.mark.parametrize("module", of("reports"))
def test_reports_need_no_runtime_and_no_numpy(module: str) -> None:
    allowed = {"itables", "jinja2", "markupsafe", "matplotlib", "plotly", "pyarrow", "rich"}
    assert outer_imports(module, only_at_the_top=False) - sys.stdlib_module_names <= allowed


def test_the_walk_sees_imports_wherever_they_are() -> None:
    """The rules above are worth as much as this: one import of every kind that the sources hold."""
    assert "harness.core.artifact_store" in imports("harness.runner.prepared"), (
        "from package import module"
    )
    assert "harness.core.errors" in imports("harness.core.artifact_store"), (
        "from module import name"
    )
    assert "harness" in imports("harness.runner.record_parts"), "a public name of the package"
    assert "harness.measurement.resident" in imports("harness.measurement.tasks"), (
        "inside a function"
    )
    assert "harness.core.session" in imports("backends.onnxruntime.session"), "for type checkers"
    assert "torch" in outer_imports("backends.torch.model", only_at_the_top=False)
