"""The pytest plugin: every `Case` in a test module becomes ordinary pytest items.

pytest loads this package through the entry point `evenbench` (group `pytest11`) in every session,
so the package imports no runtime, and does nothing until a `Case` is collected. All selected items
of a comparison group are measured together, interleaved, when the first item runs; the other items
report. pytest-benchmark gets the recorded laps through a timer, so nothing is timed twice.
"""

from __future__ import annotations

import ast
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from evenbench.harness.collection import discovery
from evenbench.harness.core.cases import Case
from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.plans import PLANS
from evenbench.harness.plugin.items import CellItem, DeclarationFile, cell_items, items_of
from evenbench.harness.plugin.suite import SUITE, Suite


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the plugin's options."""
    group = parser.getgroup("evenbench", "evenbench: measuring the cells of a Case")
    group.addoption(
        "--evenbench-plan",
        choices=tuple(PLANS),
        default="default",
        help="measurement plan (default: default)",
    )
    group.addoption(
        "--evenbench-results", metavar="DIR", help="folder of the results files (default: results)"
    )
    group.addoption(
        "--evenbench-fresh",
        action="store_true",
        help="start a new run instead of resuming an interrupted run",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark of all cells."""
    config.addinivalue_line(
        "markers", "evenbench: a cell of a harness.Case, measured by evenbench."
    )
    config.stash[SUITE] = Suite(config)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    """Collect `bench_*.py`, unless pytest itself collects the file by `python_files` or by name."""
    patterns = parent.config.getini("python_files")
    by_pytest = parent.session.isinitpath(file_path) or any(
        file_path.match(pattern) for pattern in patterns
    )
    if by_pytest or not declares(file_path):
        return None
    hooks = parent.session.gethookproxy(file_path)
    module: pytest.Module = hooks.pytest_pycollect_makemodule(module_path=file_path, parent=parent)
    return module


def pytest_pycollect_makemodule(
    module_path: Path, parent: pytest.Collector
) -> pytest.Module | None:
    """Make a declaration file a module with usage errors in one line."""
    return DeclarationFile.from_parent(parent, path=module_path) if declares(module_path) else None


def declares(file: Path) -> bool:
    """Whether a file may hold cases, by name and by an import of evenbench.

    Importing an unrelated script named `bench_*.py` could have side effects. A file with a syntax
    error counts, so the error is reported.
    """
    if not discovery.is_declaration_file(file):
        return False
    text = file.read_bytes()
    if b"Case" not in text:
        return False
    try:
        nodes = list(ast.walk(ast.parse(text)))
    except (SyntaxError, ValueError):
        return True
    names = [
        alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names
    ] + [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    return any(name.partition(".")[0] in ("evenbench", "harness") for name in names)


def pytest_pycollect_makeitem(
    collector: pytest.Module | pytest.Class, name: str, obj: object
) -> list[pytest.Item] | None:
    """Make the items of a module-level `Case`. Usage errors become collection errors."""
    if (
        not isinstance(obj, Case)
        or not isinstance(collector, pytest.Module)
        or name.startswith("_")
    ):
        return None
    try:
        return items_of(collector, name, obj)
    except UsageError as error:
        raise collector.CollectError(f"{collector.path}::{name}: {error}") from None


def pytest_collection_finish(session: pytest.Session) -> None:
    """Check the results folder before the first test."""
    if cell_items(session):
        session.config.stash[SUITE].check_folder()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Report the declaration as the place of a skipped cell, instead of a line of evenbench."""
    report = yield
    if isinstance(item, CellItem) and report.skipped and isinstance(report.longrepr, tuple):
        path, line, _ = item.reportinfo()
        report.longrepr = (str(path), (line or 0) + 1, report.longrepr[2])
    return report


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Finish the run."""
    session.config.stash[SUITE].finish(exitstatus)


@pytest.hookimpl(tryfirst=True)
def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print a short section before pytest-benchmark, whose summary may end the session."""
    lines = config.stash[SUITE].summary()
    if lines:
        terminalreporter.section("evenbench", sep="-")
        for line in lines:
            terminalreporter.write_line(line)
