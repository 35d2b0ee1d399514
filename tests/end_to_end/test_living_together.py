"""A project keeps its own packages `harness`, `backends` and `reports`, and is measured."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny
from conftest import REPOSITORY, Ran, variables

NAMES = ("harness", "backends", "reports")

TEST = """
import {name}


def test_own():
    assert {name}.OWN == "{name}"
"""

DECLARATION = """
from evenbench import Case
from tiny import TINY

latency = Case(models=(TINY,), backends=("tiny",))
"""

BUILD = """
import torch
from backends import SIZE
from reports.layout import DEPTH


def build():
    return torch.nn.Sequential(*(torch.nn.Linear(SIZE, SIZE) for _ in range(DEPTH)))
"""


def packages(root: Path) -> None:
    for name in NAMES:
        (root / name).mkdir(parents=True)
        (root / name / "__init__.py").write_text(f'OWN = "{name}"\n')


def modules(root: Path) -> None:
    root.mkdir(exist_ok=True)
    for name in NAMES:
        (root / f"{name}.py").write_text(f'OWN = "{name}"\n')


def namespaces(root: Path) -> None:
    """Folders with Python files and without `__init__.py`."""
    for name in NAMES:
        (root / name).mkdir(parents=True)
        (root / name / "part.py").write_text(f'OWN = "{name}"\n')


def ran(folder: Path, *command: str, **more: str) -> Ran:
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=variables(folder) | more,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return Ran(done.returncode, done.stdout + done.stderr)


PYTEST = (
    ("-m", "pytest"),
    ("-c", "import sys, pytest; sys.path.remove(''); sys.exit(pytest.main())"),
)
"""`python -m pytest` has the working folder on its path; plain `pytest` has not."""


@pytest.mark.parametrize("command", PYTEST, ids=["python -m pytest", "pytest"])
@pytest.mark.parametrize("layout", [packages, modules])
@pytest.mark.parametrize("source", ["", "src"])
def test_tests_of_a_project_import_its_own_packages(
    tmp_path: Path, layout: Callable[[Path], None], source: str, command: tuple[str, ...]
) -> None:
    layout(tmp_path / source)
    (tmp_path / "pytest.ini").write_text(f"[pytest]\npythonpath = {source or '.'}\n")
    for name in NAMES:
        (tmp_path / f"test_{name}.py").write_text(TEST.format(name=name))
    done = ran(tmp_path, *command)
    assert done.code == 0, done.text
    assert "3 passed" in done.text


def test_a_project_with_all_three_is_measured(tmp_path: Path) -> None:
    """Its own modules build the model in the workers, and evenbench's measure."""
    packages(tmp_path)
    (tmp_path / "backends" / "__init__.py").write_text("SIZE = 4\n")
    (tmp_path / "reports" / "layout.py").write_text("DEPTH = 2\n")
    (tmp_path / "net.py").write_text(BUILD)
    (tmp_path / "bench_tiny.py").write_text(DECLARATION)
    tested = ran(tmp_path, "-m", "pytest", "bench_tiny.py", "--evenbench-plan", "quick")
    assert tested.code == 0, tested.text
    assert "1 passed" in tested.text
    words = ("--backends", "torch-eager", "--plan", "quick", "--task", "other")
    done = ran(tmp_path, "-m", "evenbench", "run", "net.py:build", "--shape", "1x4", *words)
    assert done.code == 0, done.text
    assert "ok           net-torch-eager-fp32-cpu-b1" in done.text


def test_a_declaration_that_gets_the_projects_harness_is_told_the_other_name(
    tmp_path: Path,
) -> None:
    packages(tmp_path)
    (tmp_path / "bench_tiny.py").write_text(DECLARATION.replace("from evenbench", "from harness"))
    done = ran(tmp_path, "-m", "evenbench", "list", "bench_tiny.py")
    assert done.code == 4, done.text
    assert f"{tmp_path / 'harness' / '__init__.py'} is the project's own 'harness'" in done.text
    assert "`from evenbench import Case`" in done.text


SHORT = """
import {name}
from {name} import part

print(part.OWN, {name}.__name__)
"""


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_without_init_is_the_projects_where_it_holds_python(
    tmp_path: Path, name: str
) -> None:
    namespaces(tmp_path)
    (tmp_path / "script.py").write_text(SHORT.format(name=name))
    done = ran(tmp_path, "script.py", PYTHONPATH=str(REPOSITORY / "aliases"))
    assert done.text.split() == [name, name], done.text


def test_a_folder_of_notes_hides_nothing(tmp_path: Path) -> None:
    for name in NAMES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "notes.txt").write_text("")
    (tmp_path / "bench_tiny.py").write_text(DECLARATION.replace("from evenbench", "from harness"))
    done = ran(tmp_path, "-m", "evenbench", "list", "bench_tiny.py")
    assert done.code == 0, done.text


def test_short_names_are_the_same_modules(tmp_path: Path) -> None:
    """A second import of a file would make a second class, and `isinstance` would fail."""
    code = (
        "import harness.core.cases, reports.verdict, backends.torch, evenbench; "
        "from harness import Case; import evenbench.harness.core.cases as cases; "
        "assert Case is evenbench.Case is cases.Case is harness.core.cases.Case; "
        "print(harness.core.cases.__spec__.name, harness.__name__)"
    )
    for path in (str(REPOSITORY / "aliases"), str(REPOSITORY)):
        first = "import evenbench; " if path == str(REPOSITORY) else ""
        done = ran(
            tmp_path, "-P", "-c", first + code, PYTHONPATH=os.pathsep.join([path, str(REPOSITORY)])
        )
        assert done.text.split() == ["evenbench.harness.core.cases", "evenbench.harness"], done.text


def _check_metadata(site: Path) -> None:
    """An index shows no relative link, and type checkers see every package."""
    (metadata,) = site.glob("evenbench-*.dist-info/METADATA")
    text = metadata.read_text(encoding="utf-8")
    assert "\nProject-URL: Homepage, https://" in text
    assert "\nAuthor: " in text
    relative = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if ":" not in link]
    assert [link for link in relative if not link.startswith("#")] == []
    assert "(https://raw.githubusercontent.com/evenbench/evenbench/main/docs/images/" in text
    for folder in ("", "harness", "backends", "reports"):
        assert (site / "evenbench" / folder / "py.typed").is_file()


@pytest.mark.slow  # it builds a wheel
def test_the_same_from_a_wheel(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path)]
    subprocess.run([*command, str(REPOSITORY)], check=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    site, project = tmp_path / "site", tmp_path / "project"
    zipfile.ZipFile(wheel).extractall(site)
    _check_metadata(site)
    packages(project)
    (project / "bench_tiny.py").write_text(DECLARATION)
    (project / "test_own.py").write_text(TEST.format(name="harness"))
    path = os.pathsep.join([str(site), str(Path(tiny.__file__).parent)])
    done = ran(project, "-m", "pytest", ".", "--evenbench-plan", "quick", PYTHONPATH=path)
    assert done.code == 0, done.text
    assert "2 passed" in done.text
    where = ran(project, "-c", "import evenbench; print(evenbench.__file__)", PYTHONPATH=path)
    assert where.text.startswith(str(site))
