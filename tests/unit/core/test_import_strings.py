"""Late names: what has one, what they resolve to, and what is said where they do not."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from evenbench.harness.core import import_strings
from evenbench.harness.core.errors import UsageError
from tests.unit.builders import matrix


def load(file: Path, name: str) -> ModuleType:
    """Import a file under a name that nothing on sys.path has, as pytest's importlib mode does."""
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with a function; what it does to sys.path and sys.modules is undone."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "modules", {**sys.modules})
    file = tmp_path / "late_code.py"
    file.write_text("def build():\n    return 'built'\n")
    return file


def test_a_function_of_an_importable_module_is_called_by_it() -> None:
    assert import_strings.name_of(matrix) == "tests.unit.builders:matrix"
    assert import_strings.resolve("tests.unit.builders:matrix") is matrix


def test_a_string_is_taken_as_it_is() -> None:
    assert import_strings.name_of("no.such:thing") == "no.such:thing"


def test_a_function_of_an_unimportable_module_is_called_by_its_file(code: Path) -> None:
    name = import_strings.name_of(load(code, "collected_by_importlib").build)
    assert name == f"{code}:build"
    assert import_strings.resolve(name)() == "built"


def test_a_module_that_another_file_shadows_is_called_by_its_file(
    code: Path, tmp_path: Path
) -> None:
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "late_code.py").write_text("")
    sys.path[:0] = [str(tmp_path / "first"), str(tmp_path)]
    assert import_strings.name_of(load(code, "late_code").build) == f"{code}:build"
    sys.path.remove(str(tmp_path / "first"))
    assert import_strings.name_of(load(code, "late_code").build) == "late_code:build"


class Holder:
    def method(self) -> None: ...


def nested() -> Any:
    def inner() -> None: ...

    return inner


@pytest.mark.parametrize(
    "target", [lambda: None, nested(), Holder.method, Holder().method, functools.partial(matrix)]
)
def test_what_has_no_name_at_the_top_of_a_module_is_refused(target: Any) -> None:
    with pytest.raises(ValueError, match="only a module-level function"):
        import_strings.name_of(target)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("matrix", "is not a late name; expected package.module:function"),
        (":matrix", "is not a late name"),
        ("tests.unit.builders:", "is not a late name"),
        ("tests.unit.nobody:matrix", "no module 'tests.unit.nobody' on sys.path"),
        ("tests.unit.builders:nobody", "has no 'nobody'; define it at the top level"),
        ("/no/such/file.py:build", "no such file"),
    ],
)
def test_a_name_that_does_not_resolve_says_what_was_expected(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        import_strings.resolve(name)


def test_a_file_sees_its_neighbours_and_is_loaded_once(code: Path) -> None:
    (code.parent / "late_neighbour.py").write_text("VALUE = 3\n")
    code.write_text(
        "import late_neighbour\nCALLS = []\n"
        "def build():\n    CALLS.append(1)\n    return late_neighbour.VALUE, len(CALLS)\n"
    )
    assert import_strings.resolve(f"{code}:build")() == (3, 1)
    assert import_strings.resolve(f"{code}:build")() == (3, 2)


def test_a_missing_dependency_is_not_taken_for_a_missing_module(code: Path, tmp_path: Path) -> None:
    """`nosuchthing_models` begins with the name of what it lacks."""
    (tmp_path / "nosuchthing_models.py").write_text("import nosuchthing\n")
    sys.path.insert(0, str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="No module named 'nosuchthing'"):
        import_strings.resolve("nosuchthing_models:build")


def test_a_file_that_fails_to_load_fails_again_and_is_not_found_half_made(code: Path) -> None:
    code.write_text("def build(): ...\nraise RuntimeError('half way')\n")
    for _ in range(2):
        with pytest.raises(RuntimeError, match="half way"):
            import_strings.resolve(f"{code}:build")


def test_a_portable_name_has_no_folder() -> None:
    assert import_strings.portable("/home/me/models/net.py:build") == "net.py:build"
    assert import_strings.portable(r"C:\models\net.py:build").endswith("net.py:build")
    assert import_strings.portable("package.module:build") == "package.module:build"


def test_the_source_of_a_name_is_found_without_importing_it(code: Path) -> None:
    code.write_text("raise RuntimeError('imported')\n")
    sys.path.insert(0, str(code.parent))
    assert import_strings.source_of("late_code:build") == str(code)
    assert import_strings.source_of(f"{code}:build") == str(code)
    assert import_strings.source_of("tests.unit:anything").endswith("tests/unit/__init__.py")
    assert import_strings.source_of("no.such.module:build") == ""
    assert import_strings.source_of("models/net.pt2:model") == "models/net.pt2"


def test_the_digest_of_a_source_and_the_words_for_an_absent_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text("x = 1\n")
    assert import_strings.source_sha256("net.py:build") == hashlib.sha256(b"x = 1\n").hexdigest()
    assert import_strings.source_sha256("") == import_strings.source_sha256("no_module:x") == ""
    with pytest.raises(UsageError, match=r"nosuch\.py:build: nosuch\.py cannot be read"):
        import_strings.source_sha256("nosuch.py:build")
