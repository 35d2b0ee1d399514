"""Building C++ runners: by CMake, on first use, against the libraries that the Python packages
carry; and which library was loaded.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from backends.cpp import toolchain, wheel_libraries
from harness import Unavailable
from harness.core import artifact_store

SOURCES = Path(__file__).with_name("src")
PROGRAM, LIBRARY = "program", "libnative.so"

PREPROCESSING = ("pixels.cpp", "pixels.hpp")
"""The steps of a recipe: a library of their own, which needs no runtime and is one file to compile.
"""

FLAGS = (
    "-std=c++20",
    "-O3",
    "-DNDEBUG",
    "-Wall",
    "-Wextra",
    "-ffp-contract=off",
    "-fPIC",
    "-shared",
)
"""Of that library. Without contraction every operation rounds to float32, on processors that could
fuse two as well.
"""


def deployment_sources(runtime: str, options: Mapping[str, object]) -> dict[str, str]:
    """The sources of a program of its own, by file name, with the options that it is told."""
    names = (
        "array.hpp",
        "archive.hpp",
        "network.hpp",
        "library.cpp",
        f"{runtime}.cpp",
        "deploy/main.cpp",
        "deploy/CMakeLists.txt",
    )
    found = {Path(name).name: (SOURCES / name).read_text(encoding="utf-8") for name in names}
    words = {
        "@RUNTIME@": runtime,
        "@PACKAGE@": wheel_libraries.DISTRIBUTIONS[runtime],
        "@OPENED@": " ".join(wheel_libraries.LOADED_LIBRARIES[runtime]),
    }
    for word, value in words.items():
        found["CMakeLists.txt"] = found["CMakeLists.txt"].replace(word, value)
    return {**found, "options.txt": "".join(f"{name}={value}\n" for name, value in options.items())}


def build_key(runtime: str) -> Mapping[str, Any]:
    """What decides the built files: sources, compiler, and the library's version and place, which
    is linked in.
    """
    sources = {
        path.name: artifact_store.digest_file(path)
        for path in sorted(SOURCES.iterdir())
        if path.is_file()
    }
    library = {
        "version": wheel_libraries.version_of(runtime),
        "path": str(wheel_libraries.library_of(runtime)),
    }
    return {
        "runtime": runtime,
        "sources": sources,
        "compiler": toolchain.compiler_key(),
        "library": library,
    }


def build_runner(runtime: str) -> Path:
    """The folder with the program and the shared library, built now where it is not there. Raises
    Unavailable where it cannot be.

    Release, against the very files of the Python package, so that versions agree by construction;
    `check_library` asserts it.
    """
    reason = toolchain.lacks()
    if reason:
        raise Unavailable(reason)
    with _locked_folder(runtime, build_key(runtime)) as folder:
        if not (folder / LIBRARY).exists():
            _build(runtime, folder)
    return folder


def build_preprocessing() -> Path:
    """The shared library of the steps of a recipe, compiled now where it is not there. Raises
    Unavailable where there is no compiler.
    """
    command = toolchain.compiler()
    if not command:
        raise Unavailable(
            "a recipe's steps in C++ are compiled on first use, and a C++20 compiler (such as g++) is missing; install one"
        )
    sources = {name: artifact_store.digest_file(SOURCES / name) for name in PREPROCESSING}
    with _locked_folder(
        "pixels", {"sources": sources, "compiler": toolchain.compiler_key(), "flags": FLAGS}
    ) as folder:
        file = folder / LIBRARY
        if not file.exists():
            folder.mkdir(exist_ok=True)
            stage = folder / f".{LIBRARY}"
            order = [*command, *FLAGS, str(SOURCES / PREPROCESSING[0]), "-o", str(stage)]
            done = subprocess.run(order, capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"compiling {PREPROCESSING[0]} failed:\n{done.stderr[-2000:]}")
            stage.rename(file)
    return file


@contextmanager
def _locked_folder(name: str, parts: Mapping[str, Any]) -> Iterator[Path]:
    """Where what `parts` decide is built, alone: two workers that need it at once build it once."""
    folder = artifact_store.root() / "native" / f"{name}-{artifact_store.key_of(parts)[:16]}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


def _build(runtime: str, folder: Path) -> None:
    stage = Path(tempfile.mkdtemp(prefix=".stage-", dir=folder.parent))
    try:
        settings = {"CMAKE_BUILD_TYPE": "Release", "RUNTIME": runtime, **_cmake_paths(runtime)}
        generator = (
            ["-G", "Ninja"]
            if shutil.which("ninja") or Path(sys.executable).with_name("ninja").exists()
            else []
        )
        given = [f"-D{name}={value}" for name, value in settings.items()]
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        variables = {**os.environ, "PATH": path, "CXX": shlex.join(toolchain.compiler())}
        for command in (
            ["-S", str(SOURCES), "-B", str(stage), *generator, *given],
            ["--build", str(stage)],
        ):
            done = subprocess.run(
                [toolchain.cmake(), *command],
                capture_output=True,
                text=True,
                check=False,
                env=variables,
            )
            if done.returncode:
                tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-25:])
                raise RuntimeError(f"building the {runtime} runner failed:\n{tail}")
        made = stage / "made"
        made.mkdir()
        for name in (PROGRAM, LIBRARY):
            shutil.copy2(stage / name, made / name)
        shutil.rmtree(folder, ignore_errors=True)
        made.rename(folder)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _cmake_paths(runtime: str) -> Mapping[str, str]:
    if runtime == "openvino":
        return {"OpenVINO_DIR": str(wheel_libraries.package_folder("openvino") / "cmake")}
    if runtime == "libtorch":
        torch = wheel_libraries.package_folder("torch")
        folders = (torch / "include", torch / "include" / "torch" / "csrc" / "api" / "include")
        return {
            "TORCH_INCLUDES": ";".join(map(str, folders)),
            "TORCH_LIBRARIES": str(torch / "lib"),
        }
    return {}
