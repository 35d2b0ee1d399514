"""The sources of declared cells: every file of the user's that a build would import, by content."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from evenbench.harness.core.cases import Entry
from evenbench.harness.core.tensor_specs import TensorSpec
from evenbench.harness.core.types import Cell, Model
from evenbench.harness.runner import declared_sources

TENSORS = (TensorSpec("x", (1, 2)),)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, text in {
        "benchmarks/bench_net.py": "import shared",
        "benchmarks/shared.py": "",
        "declared_net.py": "from declared_parts import layers\nimport numpy, torch",
        "declared_parts/__init__.py": "from . import norms",
        "declared_parts/layers.py": "def body():\n    from declared_parts.deep import block",
        "declared_parts/deep/block.py": "from ..norms import norm",
        "declared_parts/norms.py": "",
        "declared_parts/unused.py": "",
    }.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    declared_sources._roots.cache_clear()
    return tmp_path


def entry(build: str = "declared_net:build") -> Entry:
    model = Model("net", build, TENSORS, TENSORS)
    return Entry(Cell(model, "null"), "benchmarks/bench_net.py::latency")


def test_the_closure_has_what_is_imported_and_nothing_else(project: Path) -> None:
    files = declared_sources.closure(["benchmarks/bench_net.py", "declared_net.py"])
    assert {Path(file).relative_to(project).as_posix() for file in files} == {
        "benchmarks/bench_net.py",
        "benchmarks/shared.py",
        "declared_net.py",
        "declared_parts/__init__.py",
        "declared_parts/deep/block.py",
        "declared_parts/layers.py",
        "declared_parts/norms.py",
    }
    assert not {"declared_net", "declared_parts"} & set(sys.modules), "a source was imported"


@pytest.mark.parametrize("build", ["declared_net:build", "declared_net.py:build"])
@pytest.mark.parametrize(
    "name",
    [
        "benchmarks/shared.py",
        "benchmarks/bench_net.py",
        "declared_net.py",
        "declared_parts/norms.py",
    ],
)
def test_a_changed_source_changes_the_digest(project: Path, build: str, name: str) -> None:
    before = declared_sources.digest_of([entry(build)])
    assert declared_sources.digest_of([entry(build)]) == before
    (project / name).write_text("# changed\n" + (project / name).read_text())
    assert declared_sources.digest_of([entry(build)]) != before


def test_other_files_do_not_change_the_digest(project: Path) -> None:
    before = declared_sources.digest_of([entry()])
    (project / "declared_parts" / "unused.py").write_text("CHANGED = True")
    assert declared_sources.digest_of([entry()]) == before


def test_a_changed_model_file_changes_the_digest(project: Path) -> None:
    file = project / "net.onnx"
    file.write_bytes(b"\0one")
    model = Model("net", inputs=TENSORS, outputs=TENSORS, file=str(file))
    entries = [Entry(Cell(model, "null"))]
    before = declared_sources.digest_of(entries)
    file.write_bytes(b"\0two")
    assert declared_sources.digest_of(entries) != before
