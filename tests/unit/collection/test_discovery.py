"""Declarations are found where they are written, once each, and a broken file is named."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from evenbench.harness import UsageError
from evenbench.harness.collection import discovery

HEAD = """\
from harness import Case, Model
M = Model('m', 'nobody.builds:this')
N = Model('n', 'nobody.builds:this')
"""

Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes declaration files into a folder of the test's own; what importing them leaves behind
    is undone.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)

    def make(name: str, text: str) -> Path:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(HEAD + text)
        return file

    yield make  # type: ignore[misc]
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_cases_are_found_in_the_order_of_files_and_of_lines(write: Write) -> None:
    write("suite/bench_b.py", "last = Case((M,), ('null',))\n")
    write(
        "suite/deep/bench_a.py",
        "z = Case((M,), ('null',))\na = Case((N,), ('null',))\n_hidden = Case((M,))\n",
    )
    write("suite/models.py", "never = Case((M,))\n")
    write("suite/test_bench.py", "never = Case((M,))\n")
    assert [declaration.id for declaration in discovery.find(["suite"])] == [
        "suite/bench_b.py::last",
        "suite/deep/bench_a.py::z",
        "suite/deep/bench_a.py::a",
    ]


def test_a_file_may_be_named_alone_and_lie_anywhere(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write("other/bench_alone.py", "case = Case((M,), ('null',))\n")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (found,) = discovery.find([str(file)])
    assert (found.name, found.file, found.id) == ("case", file, f"{file}::case")


def test_a_file_in_a_package_sees_its_neighbours(write: Write) -> None:
    write("pack_of_test/__init__.py", "")
    write("pack_of_test/models.py", "LATE = N\n")
    write(
        "pack_of_test/bench_pack.py",
        "from pack_of_test.models import LATE\ncase = Case((LATE,), ('null',))\n",
    )
    (found,) = discovery.find(["pack_of_test"])
    assert found.case.models[0].name == "n"
    assert sys.modules["pack_of_test.bench_pack"].case is found.case


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("case = Case((), ('null',))", r"bench_broken\.py: Case: models is empty"),
        (
            "import no_such_runtime",
            r"bench_broken\.py cannot be imported: ModuleNotFoundError: .*; "
            "a declaration file imports `evenbench` only",
        ),
        ("case = (", "cannot be imported: SyntaxError"),
        ("nothing = 3", "no Case in suite; expected a module-level"),
    ],
)
def test_a_file_that_declares_nothing_or_is_broken_is_named(
    text: str, message: str, write: Write
) -> None:
    write("suite/bench_broken.py", text)
    with pytest.raises(UsageError, match=message):
        discovery.find(["suite"])


def test_a_folder_that_is_not_there_is_named() -> None:
    with pytest.raises(UsageError, match="nowhere: no such file or folder"):
        discovery.find(["nowhere"])


def test_a_cell_that_two_cases_declare_belongs_to_the_first(write: Write) -> None:
    write("bench_twice.py", "one = Case((M,), ('null', 'ort'))\ntwo = Case((M, N), ('null',))\n")
    entries = discovery.entries(discovery.find(["bench_twice.py"]), "evenbench run bench_twice.py")
    assert [
        (entry.cell.model.name, entry.cell.backend, entry.case.partition("::")[2])
        for entry in entries
    ] == [
        ("m", "null", "one"),
        ("m", "ort", "one"),
        ("n", "null", "two"),
    ]
    assert {entry.command for entry in entries} == {"evenbench run bench_twice.py"}


def test_a_case_that_does_not_expand_is_named(write: Write) -> None:
    write("bench_stranger.py", "case = Case((M,), ('nobody',))\n")
    with pytest.raises(UsageError, match=r"bench_stranger\.py::case: unknown backend 'nobody'"):
        discovery.entries(discovery.find(["bench_stranger.py"]), "")


def test_declaration_files_are_told_by_their_name() -> None:
    names = ("bench_x.py", "test_x.py", "bench_x.txt", "bench.py")
    assert [discovery.is_declaration_file(Path(name)) for name in names] == [
        True,
        False,
        False,
        False,
    ]


CASE = """
from harness import BATCH, Case, Model, TensorSpec
M = Model({name!r}, build={build!r}, inputs=(TensorSpec("x", (BATCH, 4)),))
case = Case(models=(M,), backends=("null",))
"""


def test_two_files_of_one_name_are_two_files(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "bench_same.py").write_text(
            CASE.format(name=f"model_{folder}", build="pkg:build")
        )
    found = discovery.entries(discovery.find([str(tmp_path)]), "evenbench run")
    assert [entry.cell.model.name for entry in found] == ["model_a", "model_b"]


def test_two_models_of_one_name_are_refused(tmp_path: Path) -> None:
    for folder in ("c", "d"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"bench_{folder}.py").write_text(
            CASE.format(name="same", build=f"pkg_{folder}:build")
        )
    with pytest.raises(UsageError, match="two different models are named 'same'"):
        discovery.entries(discovery.find([str(tmp_path)]), "evenbench run")


def test_a_model_s_file_lies_beside_its_declaration(write: Write, tmp_path: Path) -> None:
    write(
        "suite/bench_files.py",
        "F = Model('f', file='net.onnx')\n"
        "A = Model('a', file='/abs/net.onnx')\n"
        "c = Case((F, A, M), ('ort',))\n",
    )
    (found,) = discovery.find(["suite"])
    assert [model.file for model in found.case.models] == [
        str(tmp_path / "suite" / "net.onnx"),
        "/abs/net.onnx",
        "",
    ]


def test_the_line_of_a_declaration_is_where_its_name_is_assigned_last(tmp_path: Path) -> None:
    file = tmp_path / "bench_lines.py"
    file.write_text(
        "from other import moved\n\nfirst = 1\nnoted: int = 2\n\n\n"
        "def second():\n    first = 3\n\n\nfirst = (\n    4\n)\n"
    )
    found = {name: discovery.line_of(file, name) for name in ("first", "noted", "second", "moved")}
    assert found == {"first": 11, "noted": 4, "second": None, "moved": None}
    assert discovery.line_of(tmp_path / "gone.py", "first") is None


def test_a_late_file_lies_beside_its_declaration_or_in_the_working_folder(
    write: Write, tmp_path: Path
) -> None:
    for name in ("suite/net.py", "suite/data.py", "data.py"):
        write(name, "")
    write(
        "suite/bench_late.py",
        "from harness import trained\n"
        "A = Model('a', 'net.py:build', inputs_from='data.py:x', weights=trained('net.py:fit'))\n"
        "B = Model('b', 'gone.py:build', inputs_from='package.module:x')\n"
        "c = Case((A, B), ('null',))\n",
    )
    (declaration,) = discovery.find(["suite/bench_late.py"])
    first, second = declaration.case.models
    assert (first.build, first.inputs_from, first.weights.train) == (
        f"{tmp_path}/suite/net.py:build",
        "data.py:x",
        f"{tmp_path}/suite/net.py:fit",
    )
    assert (second.build, second.inputs_from) == ("gone.py:build", "package.module:x")
