"""The sources of a build: named alike in two clones, and compared by content."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from evenbench.harness import BATCH, Model, TensorSpec
from evenbench.harness.core import build_sources, import_path
from evenbench.harness.core.file_reads import kernel
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
    "mapped.bin": "mapped by C++ alone",
    "data/deep/native.bin": "read by C++ alone",
    "data/held.bin": "open in C++ at the end",
    "data/log.bin": "written by C++ alone",
}
RECORD = """
import ctypes, json, os, subprocess, sys
from harness.core import build_sources
from harness.core.file_reads import kernel
from tests.unit.core.test_build_sources import MODEL
kernel.KINDS = [getattr(kernel, sys.argv[1])]
build_sources.start(MODEL)
import net.model
open("setup.txt").read()
open("log.txt", "a").write("written, not read")
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
mapped = libc.open(b"mapped.bin", os.O_RDONLY)
libc.mmap(None, 1, 1, 2, mapped, 0)
libc.close(mapped)
native = libc.open(b"data/deep/native.bin", os.O_RDONLY)
assert libc.read(native, ctypes.create_string_buffer(4), 4) == 4
libc.close(native)
libc.open(b"data/held.bin", os.O_RDONLY)
libc.close(libc.open(b"data/log.bin", os.O_WRONLY))
subprocess.run([sys.executable, "-c", "open('unread.txt').read()"], env={})
print(json.dumps(build_sources.recorded(MODEL)))
"""
NAMES = {
    "net",
    "net.model",
    "net.layers",
    "./net/size.txt",
    "./setup.txt",
    "./mapped.bin",
    "./data/deep/native.bin",
    "./data/held.bin",
    "faster",
}


def project(folder: Path) -> Path:
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def recorded(folder: Path, kind: str = "Fanotify") -> dict[str, str]:
    done = subprocess.run(
        [sys.executable, "-c", RECORD, kind],
        cwd=folder,
        env={"PYTHONPATH": f"{folder}:{PROJECT}", "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    every: dict[str, str] = json.loads(done.stdout)
    return {name: sha256 for name, sha256 in every.items() if not name.startswith("tests")}


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone that no test changes."""
    return project(tmp_path_factory.mktemp("one"))


@pytest.fixture(scope="module")
def first(one: Path) -> dict[str, str]:
    """What a build in the clone `one` recorded."""
    return recorded(one)


def test_without_fanotify_files_of_other_processes_count_too(
    first: dict[str, str], one: Path
) -> None:
    found = recorded(one, "Inotify")
    assert first.items() <= found.items()
    assert "./unread.txt" in found.keys() - first.keys()


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
    [
        "net/model.py",
        "net/layers.py",
        "net/layers/__init__.py",
        "net/size.txt",
        "faster.py",
        "data/deep/native.bin",
    ],
)
def test_a_changed_or_new_source_is_seen(
    file: str, first: dict[str, str], one: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = project(tmp_path / "two")
    (two / file).parent.mkdir(exist_ok=True)
    (two / file).write_text("5")
    assert not is_current(first, two, monkeypatch)
    assert is_current(first, one, monkeypatch)


def test_an_account_with_lost_events_is_never_current(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Lossy(kernel.Inotify):
        def files(self, events: bytes) -> Iterator[Path]:
            yield kernel.LOST

    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").touch()
    monkeypatch.setattr(kernel, "KINDS", (Lossy,))
    build_sources.start(MODEL)
    (tmp_path / "a.txt").read_text()
    code = build_sources.recorded(MODEL)
    assert code[build_sources.UNKNOWN]
    assert not build_sources.unchanged(code, MODEL)


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
