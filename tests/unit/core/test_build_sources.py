"""The sources of a build: named alike in two clones, and compared by content."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from evenbench.harness import BATCH, Model, TensorSpec
from evenbench.harness.core import build_sources, import_path
from evenbench.harness.core.paths import PROJECT

SPEC = (TensorSpec("x", (BATCH, 1)),)
MODEL = Model("m", "net.model:build", SPEC, SPEC, inputs_from="harness.inputs:standard_normal")
FILES = {
    "net/__init__.py": "",
    "net/model.py": """
from pathlib import Path
from net import layers
try:
    import faster
except ImportError:
    faster = None
SIZE = int((Path(__file__).parent / "size.txt").read_text())
""",
    "net/layers.py": "REPEATS = 4\n",
    "net/size.txt": "3",
    "setup.txt": "1",
    "unread.txt": "0",
    "native.bin": "read by C++ alone",
}
RECORD = """
import json, sys
from harness.core import build_sources
from tests.unit.core.test_build_sources import MODEL
build_sources.start()
import net.model
open("setup.txt").read()
open("log.txt", "a").write("written, not read")
import ctypes, os
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap(None, 1, 1, 2, libc.open(b"native.bin", 0), 0)
print(json.dumps(build_sources.recorded(MODEL)))
"""
NAMES = {
    "net",
    "net.model",
    "net.layers",
    "./net/size.txt",
    "./setup.txt",
    "./native.bin",
    "faster",
}


def project(folder: Path) -> Path:
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def recorded(folder: Path) -> dict[str, str]:
    import json

    done = subprocess.run(
        [sys.executable, "-c", RECORD],
        cwd=folder,
        env={"PYTHONPATH": f"{folder}:{PROJECT}", "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    every: dict[str, str] = json.loads(done.stdout)
    return {name: sha256 for name, sha256 in every.items() if not name.startswith("tests")}


@pytest.fixture
def first(tmp_path: Path) -> dict[str, str]:
    """What a build in the clone `one` recorded."""
    return recorded(project(tmp_path / "one"))


def is_current(code: dict[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    with monkeypatch.context() as patched:
        patched.chdir(folder)
        patched.syspath_prepend(str(folder))
        return build_sources.unchanged(code, MODEL)


def test_a_second_clone_shares_what_is_equal_and_differs_where_it_differs(
    first: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert {name for name in first if name in NAMES or name.startswith((".", "net"))} == NAMES
    assert first["faster"] == ""
    two = project(tmp_path / "two")
    assert is_current(first, two, monkeypatch)
    assert build_sources.digest_of(recorded(two)) == build_sources.digest_of(first)
    (two / "unread.txt").write_text("changed")
    assert is_current(first, two, monkeypatch)


@pytest.mark.parametrize(
    "file",
    ["net/model.py", "net/layers.py", "net/layers/__init__.py", "net/size.txt", "faster.py"],
)
def test_a_changed_or_new_source_is_seen(
    file: str, first: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = project(tmp_path / "two")
    (two / file).parent.mkdir(exist_ok=True)
    (two / file).write_text("5")
    assert not is_current(first, two, monkeypatch)
    assert is_current(first, tmp_path / "one", monkeypatch)


def test_a_checkout_within_an_environment_is_the_users_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """airspeed velocity keeps a checkout in each of its environments."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    checkout, packages = tmp_path / "project", tmp_path / "lib" / "python3.11" / "site-packages"
    assert not import_path.is_installed(checkout / "lib" / "network.py")
    assert import_path.is_installed(packages / "torch.py")
    assert import_path.is_installed(tmp_path / "local" / "lib" / "x.py")
    monkeypatch.setattr(sys, "path", [str(packages), str(tmp_path / "bin"), str(checkout)])
    assert import_path.shared_path() == (str(checkout),)
