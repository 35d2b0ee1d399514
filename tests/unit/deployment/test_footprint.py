"""What must be installed: a closure by what packages declare, each byte counted once, and words
where there is nothing to tell.
"""

from __future__ import annotations

import json
import sys
from importlib import metadata
from pathlib import Path

import pytest

from evenbench.harness import cli
from evenbench.harness.deployment import footprint as deployment_footprint
from evenbench.harness.deployment import installed_size, shared_libraries
from evenbench.harness.environment import virtualenvs
from evenbench.harness.environment.installers import distribution_of


def installed(
    folder: Path, **packages: tuple[list[str], dict[str, int]]
) -> dict[str, metadata.Distribution]:
    """Distributions in `folder`: for each name what it requires, and its files with their sizes in
    bytes.
    """
    for name, (requires, files) in packages.items():
        info = folder / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        needs = "".join(f"Requires-Dist: {requirement}\n" for requirement in requires)
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{needs}"
        )
        for file, size in files.items():
            (folder / file).write_bytes(b"x" * size)
        (info / "RECORD").write_text("".join(f"{file},,\n" for file in files))
    return {
        distribution_of(found.metadata["Name"]): found
        for found in metadata.distributions(path=[str(folder)])
    }


def test_the_closure_follows_what_applies_here_and_counts_each_file_once(tmp_path: Path) -> None:
    there = installed(
        tmp_path,
        runtime=(
            ["base>=1", "other; python_version < '3'", "fast[speed]", "absent"],
            {"run.so": 1000, "both.txt": 10, "a.pyc": 5000},
        ),
        base=(["runtime", "Numpy"], {"base.py": 100, "both.txt": 10}),
        fast=(["quick; extra == 'speed'", "never; extra == 'docs'"], {"fast.py": 20}),
        quick=([], {"quick.py": 7}),
        never=([], {"never.py": 9000}),
        other=([], {"other.py": 9000}),
        numpy=([], {"numpy.py": 50}),
    )
    packages, missing = deployment_footprint.closure(["runtime", "numpy"], there)
    assert {package.name: package.bytes for package in packages} == {
        "runtime": 1010,
        "base": 100,
        "fast": 20,
        "quick": 7,
        "numpy": 50,
    }
    assert missing == ("absent",)


def test_an_extra_that_is_asked_for_later_is_followed_too(tmp_path: Path) -> None:
    there = installed(
        tmp_path,
        one=(["two", "three"], {}),
        two=(["four; extra == 'x'"], {}),
        three=(["two[x]"], {}),
        four=([], {}),
    )
    assert {package.name for package in deployment_footprint.closure(["one"], there)[0]} == {
        "one",
        "two",
        "three",
        "four",
    }


def test_an_import_is_timed_in_a_process_of_its_own_or_not_at_all() -> None:
    taken = deployment_footprint.import_seconds(sys.executable, ["json", "csv"])
    assert taken is not None
    assert 0 < taken < 30
    assert deployment_footprint.import_seconds(sys.executable, ["no_such_module_anywhere"]) is None
    assert deployment_footprint.import_seconds(sys.executable, []) is None


def test_a_runtime_that_is_installed_is_told_with_its_packages(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["footprint", "ort", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    names = {package["name"] for package in found["packages"]}
    assert {"onnxruntime", "numpy"} <= names
    assert not {"torch", "onnx", "evenbench"} & names, (
        "what only prepares, and the harness, is not shipped"
    )
    assert found["bytes"] == sum(package["bytes"] for package in found["packages"]) > 10_000_000
    assert found["import_seconds"] > 0


def test_what_a_program_needs_is_told_of_this_one_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = tuple(
        shared_libraries.File(f"lib{at}.so", Path(f"/lib{at}.so"), 1000 * (at + 1))
        for at in range(12)
    )
    interpreter = [sys.executable]
    package = deployment_footprint.Package("onnxruntime", "1.0", 5_000_000)
    monkeypatch.setattr(
        deployment_footprint,
        "listed",
        lambda backend: (deployment_footprint.Footprint(backend, (package,)), interpreter[0]),
    )
    monkeypatch.setattr(
        shared_libraries, "of", lambda backend: shared_libraries.Program(files, ("libcuda.so.1",))
    )
    assert cli.main(["footprint", "cpp-ort"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "are 78.0 kB, without the C library: lib11.so 12.0 kB" in told
    assert "4 more; not found: libcuda.so.1" in told
    assert cli.main(["footprint", "cpp-ort", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)[0]["program"]["files"]) == 12
    monkeypatch.setattr(
        shared_libraries, "of", lambda backend: shared_libraries.Program(reason="no compiler here")
    )
    assert cli.main(["footprint", "cpp-ort"]) == 0
    assert "not known: no compiler here" in capsys.readouterr().out
    interpreter[0] = "/elsewhere/python"
    monkeypatch.setattr(deployment_footprint, "import_seconds", lambda python, names: None)
    assert deployment_footprint.of("cpp-ort").program is None


def test_of_a_program_a_model_needs_its_libraries_and_no_python(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without which all of torch would be counted for a program of a few files."""
    packages = (
        deployment_footprint.Package("torch", "2.0", 5_000_000),
        deployment_footprint.Package("numpy", "2.0", 60_000),
    )
    shared = shared_libraries.File("libtorch_cpu.so", Path("/libtorch_cpu.so"), 400)
    programs = {
        "cpp-libtorch": shared_libraries.Program(
            (shared_libraries.File("program", Path("/program"), 30), shared)
        ),
        "ctypes-libtorch": shared_libraries.Program(
            (shared_libraries.File("libnative.so", Path("/libnative.so"), 20), shared)
        ),
        "cpp-ort": shared_libraries.Program(reason="no compiler here"),
    }
    pythons = {"cpp-openvino": "/elsewhere/python"}
    listed = deployment_footprint.Footprint("", packages)
    monkeypatch.setattr(
        deployment_footprint,
        "listed",
        lambda backend: (listed, pythons.get(backend, sys.executable)),
    )
    monkeypatch.setattr(shared_libraries, "of", lambda backend: programs.get(backend.name))
    found = {name: installed_size.installed(name) for name in (*programs, *pythons, "torch-eager")}
    assert {name: each.bytes for name, each in found.items()} == {
        **{"cpp-libtorch": 430, "ctypes-libtorch": 60_420, "torch-eager": 5_060_000},
        **{"cpp-ort": None, "cpp-openvino": None},
    }
    assert {each.version for each in found.values()} == {"2.0"}, (
        "of the runtime's distribution, by which recorded cells are compared"
    )
    assert found["cpp-ort"].reason == "what the program needs is not known: no compiler here"
    assert "another environment" in found["cpp-openvino"].reason


def test_what_is_not_there_is_told_in_words(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(virtualenvs, "find", lambda asked: None)
    assert cli.main(["footprint", "ort@1.24.1", "null"]) == 0
    told = capsys.readouterr().out
    assert "environment 1.24.1 is not built; evenbench env build ort@1.24.1" in told
    assert "names no distribution" in told
    assert cli.main(["footprint", "nobody"]) == 4
    assert "nobody" in capsys.readouterr().err
