"""Building C++ runners: by CMake, on first use, against the libraries that the Python packages
carry; and which library was loaded.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness import Unavailable
from harness.core import artifact_store
from harness.inputs import batches

SOURCES = Path(__file__).with_name("src")
PROGRAM, LIBRARY = "program", "libnative.so"

PIXELS = ("pixels.cpp", "pixels.hpp")
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

DISTRIBUTIONS = {"onnxruntime": "onnxruntime", "openvino": "openvino", "libtorch": "torch"}
"""The distribution that carries each runtime's libraries, and the name of its package; one of them
is what the program runs on.
"""

PATTERNS = {
    "onnxruntime": "capi/libonnxruntime.so*",
    "openvino": "libs/libopenvino.so*",
    "libtorch": "lib/libtorch_cpu.so",
}
"""Where in the package the library is."""

OPENED = {
    "onnxruntime": ("capi/libonnxruntime.so*",),
    "openvino": (
        *(
            "libs/libopenvino_intel_cpu_plugin.so",
            "libs/libopenvino_onnx_frontend.so*",
            "libs/libopenvino_ir_frontend.so*",
        ),
        *(
            "libs/libopenvino_auto_batch_plugin.so",
            "libs/libtbbbind_*.so*",
            "libs/libtbbmalloc.so*",
        ),
    ),
    "libtorch": (),
}
"""What the runner, or its runtime, opens by name when a cell is loaded on the CPU: nothing is
linked against these.
"""

TOOLS = ("cmake", "ninja")
BUILD_TOOLS = ("cmake>=3.26", "ninja>=1.11")
"""What an environment of a runner's own needs beside the runtime."""


def lacks() -> str:
    """In words, what is needed to build a runner and is not here; an empty string where nothing is.
    Looks, and imports nothing.
    """
    if not sys.platform.startswith("linux"):
        return f"C++ runners are built against the shared libraries of Linux wheels, and this is {sys.platform}; run them on Linux"
    wanting = []
    if not _cmake():
        wanting.append("cmake (pip install 'evenbench[cpp]')")
    if not compiler():
        named = os.environ.get("CXX", "")
        wanting.append(
            f"the compiler that CXX names ({named})" if named else "a C++20 compiler (such as g++)"
        )
    return (
        f"a C++ runner is built on first use, and this is missing: {' and '.join(wanting)}; install it"
        if wanting
        else ""
    )


def compiler() -> list[str]:
    """The command of the C++ compiler: `CXX` where it is set, as CMake reads it, g++ or clang++
    otherwise; empty where there is none.
    """
    named = shlex.split(os.environ.get("CXX", ""))
    if named:
        return named if shutil.which(named[0]) else []
    return next(([name] for name in ("g++", "clang++") if shutil.which(name)), [])


def _cmake() -> str:
    beside = Path(sys.executable).with_name(
        "cmake"
    )  # the one of this environment, whether or not it is activated
    return str(beside) if beside.exists() else shutil.which("cmake") or ""


def _package(name: str) -> Path:
    found = importlib.util.find_spec(name)
    if found is None or not found.submodule_search_locations:
        raise Unavailable(
            f"the package {name}, whose libraries the runner is built against, is not installed"
        )
    return Path(next(iter(found.submodule_search_locations)))


def library_of(runtime: str) -> Path:
    """The runtime's own shared library inside its Python package. Raises Unavailable where it is
    not there.
    """
    package = _package(DISTRIBUTIONS[runtime])
    found = sorted(package.glob(PATTERNS[runtime]), key=lambda path: len(path.name))
    if not found:
        raise Unavailable(
            f"{runtime}: no {PATTERNS[runtime]} in the package {package.name}; C++ runners need a Linux wheel"
        )
    return found[-1]


def opened(runtime: str) -> list[Path]:
    """The files of `OPENED` inside the runtime's package. Raises Unavailable where it is not there."""
    package = _package(DISTRIBUTIONS[runtime])
    return [file for pattern in OPENED[runtime] for file in sorted(package.glob(pattern))]


def shipped(runtime: str, options: Mapping[str, object]) -> dict[str, str]:
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
        "@PACKAGE@": DISTRIBUTIONS[runtime],
        "@OPENED@": " ".join(OPENED[runtime]),
    }
    for word, value in words.items():
        found["CMakeLists.txt"] = found["CMakeLists.txt"].replace(word, value)
    return {**found, "options.txt": "".join(f"{name}={value}\n" for name, value in options.items())}


def version_of(runtime: str) -> str:
    """The installed version of the package that carries the runtime."""
    return batches.version_of(DISTRIBUTIONS[runtime])


def key(runtime: str) -> Mapping[str, Any]:
    """What decides the built files: sources, compiler, and the library's version and place, which
    is linked in.
    """
    sources = {
        path.name: artifact_store.digest_file(path)
        for path in sorted(SOURCES.iterdir())
        if path.is_file()
    }
    library = {"version": version_of(runtime), "path": str(library_of(runtime))}
    return {"runtime": runtime, "sources": sources, "compiler": _compiler_key(), "library": library}


def _compiler_key() -> list[str]:
    """The compiler's command and what it says of its version."""
    command = compiler()
    said = (
        subprocess.run([*command, "--version"], capture_output=True, text=True, check=False).stdout
        if command
        else ""
    )
    return [*command, said.partition("\n")[0]]


def compiler_version() -> str:
    """What the compiler says of itself in its first line; empty where there is none."""
    return _compiler_key()[-1]


def built(runtime: str) -> Path:
    """The folder with the program and the shared library, built now where it is not there. Raises
    Unavailable where it cannot be.

    Release, against the very files of the Python package, so that versions agree by construction;
    `check_library` asserts it.
    """
    reason = lacks()
    if reason:
        raise Unavailable(reason)
    with _folder(runtime, key(runtime)) as folder:
        if not (folder / LIBRARY).exists():
            _build(runtime, folder)
    return folder


def built_pixels() -> Path:
    """The shared library of the steps of a recipe, compiled now where it is not there. Raises
    Unavailable where there is no compiler.
    """
    command = compiler()
    if not command:
        raise Unavailable(
            "a recipe's steps in C++ are compiled on first use, and a C++20 compiler (such as g++) is missing; install one"
        )
    sources = {name: artifact_store.digest_file(SOURCES / name) for name in PIXELS}
    with _folder(
        "pixels", {"sources": sources, "compiler": _compiler_key(), "flags": FLAGS}
    ) as folder:
        file = folder / LIBRARY
        if not file.exists():
            folder.mkdir(exist_ok=True)
            stage = folder / f".{LIBRARY}"
            order = [*command, *FLAGS, str(SOURCES / PIXELS[0]), "-o", str(stage)]
            done = subprocess.run(order, capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"compiling {PIXELS[0]} failed:\n{done.stderr[-2000:]}")
            stage.rename(file)
    return file


@contextmanager
def _folder(name: str, parts: Mapping[str, Any]) -> Iterator[Path]:
    """Where what `parts` decide is built, alone: two workers that need it at once build it once."""
    folder = artifact_store.root() / "native" / f"{name}-{artifact_store.key_of(parts)[:16]}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


def _build(runtime: str, folder: Path) -> None:
    stage = Path(tempfile.mkdtemp(prefix=".stage-", dir=folder.parent))
    try:
        settings = {"CMAKE_BUILD_TYPE": "Release", "RUNTIME": runtime, **_where(runtime)}
        generator = (
            ["-G", "Ninja"]
            if shutil.which("ninja") or Path(sys.executable).with_name("ninja").exists()
            else []
        )
        given = [f"-D{name}={value}" for name, value in settings.items()]
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        variables = {**os.environ, "PATH": path, "CXX": shlex.join(compiler())}
        for command in (
            ["-S", str(SOURCES), "-B", str(stage), *generator, *given],
            ["--build", str(stage)],
        ):
            done = subprocess.run(
                [_cmake(), *command], capture_output=True, text=True, check=False, env=variables
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


def _where(runtime: str) -> Mapping[str, str]:
    if runtime == "openvino":
        return {"OpenVINO_DIR": str(_package("openvino") / "cmake")}
    if runtime == "libtorch":
        torch = _package("torch")
        folders = (torch / "include", torch / "include" / "torch" / "csrc" / "api" / "include")
        return {
            "TORCH_INCLUDES": ";".join(map(str, folders)),
            "TORCH_LIBRARIES": str(torch / "lib"),
        }
    return {}


def check_library(runtime: str, loaded: Mapping[str, str]) -> None:
    """Raise RuntimeError where the loaded library is not the one in the Python package that it is
    compared with.

    `loaded` holds the `version` that the library itself reports and the file (`library`) that it
    was loaded from.
    """
    installed, said = version_of(runtime), loaded["version"]
    if not re.match(re.escape(installed.partition("+")[0]) + r"(?![.\d])", said):
        raise RuntimeError(
            f"the runner loaded {runtime} {said}, the Python package is {installed}; a library path such as LD_LIBRARY_PATH leads "
            "elsewhere, unset it"
        )
    package, found = _package(DISTRIBUTIONS[runtime]).resolve(), Path(loaded["library"]).resolve()
    if package not in found.parents:
        raise RuntimeError(
            f"the runner loaded {runtime} from {found}, the Python package is in {package}; a library path such as LD_LIBRARY_PATH "
            "leads elsewhere, unset it"
        )
