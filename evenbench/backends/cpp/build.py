"""Builds C++ runners with CMake on first use, against the libraries in the Python packages."""

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

from evenbench.backends.cpp import toolchain, wheel_libraries
from evenbench.harness import Unavailable
from evenbench.harness.core import artifact_store

SOURCES = Path(__file__).with_name("src")
PROGRAM, LIBRARY = "program", "libnative.so"

PREPROCESSING = ("preprocess.cpp", "preprocess.hpp")
"""Sources of the recipe's steps: a separate library in a single file, without a runtime."""

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
"""Flags of this library. Without contraction, every operation rounds to float32."""


def deployment_sources(runtime: str, options: Mapping[str, object]) -> dict[str, str]:
    """Return the sources of a packaged program by file name, with its options."""
    names = (
        "array.hpp",
        "archive.hpp",
        "network.hpp",
        "library.cpp",
        f"{runtime}.cpp",
        "deploy/main.cpp",
        "deploy/CMakeLists.txt",
    )
    sources = {Path(name).name: (SOURCES / name).read_text(encoding="utf-8") for name in names}
    placeholders = {
        "@RUNTIME@": runtime,
        "@PACKAGE@": wheel_libraries.DISTRIBUTIONS[runtime],
        "@OPENED@": " ".join(wheel_libraries.LOADED_LIBRARIES[runtime]),
    }
    for placeholder, value in placeholders.items():
        sources["CMakeLists.txt"] = sources["CMakeLists.txt"].replace(placeholder, value)
    return {
        **sources,
        "options.txt": "".join(f"{name}={value}\n" for name, value in options.items()),
    }


def build_key(runtime: str) -> Mapping[str, Any]:
    """Return the key of the built files: sources, compiler, and the linked library."""
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
    """Return the folder of program and shared library, building both on first use.

    A release build against the files of the Python package, so that versions agree; `check_library`
    verifies the loaded library. Raises Unavailable if a tool is missing.
    """
    reason = toolchain.lacks()
    if reason:
        raise Unavailable(reason)
    with _locked_folder(runtime, build_key(runtime)) as folder:
        if not (folder / LIBRARY).exists():
            _build(runtime, folder)
    return folder


def build_preprocessing() -> Path:
    """Return the shared library of the recipe's steps, compiling on first use.

    Raises Unavailable without a compiler.
    """
    command = toolchain.compiler()
    if not command:
        raise Unavailable(
            "the C++ steps of a recipe are compiled on first use, and no C++20 compiler "
            "was found; install g++ or clang++"
        )
    sources = {name: artifact_store.digest_file(SOURCES / name) for name in PREPROCESSING}
    with _locked_folder(
        "preprocess", {"sources": sources, "compiler": toolchain.compiler_key(), "flags": FLAGS}
    ) as folder:
        file = folder / LIBRARY
        if not file.exists():
            folder.mkdir(exist_ok=True)
            stage = folder / f".{LIBRARY}"
            arguments = [*command, *FLAGS, str(SOURCES / PREPROCESSING[0]), "-o", str(stage)]
            completed = subprocess.run(arguments, capture_output=True, text=True, check=False)
            if completed.returncode:
                raise RuntimeError(
                    f"compiling {PREPROCESSING[0]} failed:\n{completed.stderr[-2000:]}"
                )
            stage.rename(file)
    return file


@contextmanager
def _locked_folder(name: str, parts: Mapping[str, Any]) -> Iterator[Path]:
    """Yield the locked folder for `parts`: concurrent workers run the same build only once."""
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
        definitions = [f"-D{name}={value}" for name, value in settings.items()]
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        variables = {**os.environ, "PATH": path, "CXX": shlex.join(toolchain.compiler())}
        for command in (
            ["-S", str(SOURCES), "-B", str(stage), *generator, *definitions],
            ["--build", str(stage)],
        ):
            completed = subprocess.run(
                [toolchain.cmake(), *command],
                capture_output=True,
                text=True,
                check=False,
                env=variables,
            )
            if completed.returncode:
                tail = "\n".join((completed.stdout + completed.stderr).strip().splitlines()[-25:])
                raise RuntimeError(f"building the {runtime} runner failed:\n{tail}")
        output = stage / "output"
        output.mkdir()
        for name in (PROGRAM, LIBRARY):
            shutil.copy2(stage / name, output / name)
        shutil.rmtree(folder, ignore_errors=True)
        output.rename(folder)
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
