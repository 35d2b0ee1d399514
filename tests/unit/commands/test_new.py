"""The starting files work as they are written, and never overwrite one of yours.

That a new backend passes the contract as generated is what a block of CONTRIBUTING.md says, which
`tests/docs` runs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from evenbench.harness import cli
from evenbench.harness.commands import new
from evenbench.harness.core.errors import UsageError

ROOT = Path(__file__).resolve().parents[3]


def python(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Another process, in `folder`, in which this evenbench is importable."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "EVENBENCH_CACHE": str(folder / ".cache"),
        **variables,
    }
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_was_written_and_what_to_do_next_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["new", "backend", "my-runtime", "--into", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert f"wrote {tmp_path}/my_runtime.py" in said
    assert 'my-runtime = "my_runtime:MyRuntime"' in said
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "my_runtime.py",
        "test_my_runtime.py",
    ]


def test_a_new_backend_imports_no_runtime(tmp_path: Path) -> None:
    new.write("backend", "my-runtime", tmp_path)
    done = python(
        tmp_path,
        "-c",
        "import sys, my_runtime; print(sorted({'onnx', 'torch', 'numpy'} & set(sys.modules)))",
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_a_new_case_comes_with_its_model_and_lists(tmp_path: Path) -> None:
    new.write("case", "tiny-net", tmp_path)
    done = python(tmp_path, "-m", "evenbench.harness.cli", "list", ".")
    assert done.returncode == 0, done.stderr
    assert "tiny-net-torch-eager-fp32-cpu-b1" in done.stdout


@pytest.mark.slow
def test_a_new_model_runs(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    new.write("model", "tiny-net", tmp_path)
    new.write("case", "tiny-net", tmp_path)
    done = python(
        tmp_path, "-m", "evenbench.harness.cli", "run", ".", "--plan", "quick", "-k", "torch-eager"
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_case_in_a_package_imports_its_model_from_there(tmp_path: Path) -> None:
    package = tmp_path / "mine" / "speed"
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").write_text("")
    new.write("case", "net", package)
    assert "from mine.speed.net import NET" in (package / "bench_net.py").read_text()
    assert python(tmp_path, "-m", "evenbench.harness.cli", "list", "mine").returncode == 0


@pytest.mark.parametrize("kind", ["backend", "model", "case"])
def test_nothing_is_overwritten(kind: str, tmp_path: Path) -> None:
    new.write(kind, "mine", tmp_path)
    before = {path: path.write_text("precious") and path.read_text() for path in tmp_path.iterdir()}
    with pytest.raises(UsageError, match="never overwritten"):
        new.write(kind, "mine", tmp_path)
    assert {path: path.read_text() for path in tmp_path.iterdir()} == before


def test_a_case_keeps_the_model_that_is_there(tmp_path: Path) -> None:
    new.write("model", "mine", tmp_path)
    (tmp_path / "mine.py").write_text("MINE = 1\n")
    new.write("case", "mine", tmp_path)
    assert (tmp_path / "mine.py").read_text() == "MINE = 1\n"


@pytest.mark.parametrize("name", ["", "3x", "-", "class", "é"])
def test_a_name_that_makes_no_module_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="makes no module name"):
        new.write("model", name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_backend_may_not_hide_a_package(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="would hide the package"):
        new.write("backend", "numpy", tmp_path)


def test_a_folder_that_cannot_be_made_is_an_error_of_usage(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        new.write("model", "mine", tmp_path / "file")


@pytest.mark.parametrize("name", ['my"runtime', "it's", "a@b", "a=b", "back\\slash", "a/b", "$(x)"])
def test_a_name_with_signs_that_mean_something_elsewhere_is_refused(
    name: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="makes no module name"):
        new.write("backend", name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_backend_may_not_have_the_name_of_another(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is a backend 'ort' already .* my-ort"):
        new.write("backend", "ort", tmp_path)


@pytest.mark.parametrize("kind", ["model", "case"])
def test_a_model_may_not_hide_a_package_either(kind: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="would hide the package"):
        new.write(kind, "numpy", tmp_path)
