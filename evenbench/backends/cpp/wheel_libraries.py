"""Shared libraries inside the runtimes' Python packages, used by C++ runners."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path

from evenbench.harness import Unavailable
from evenbench.harness.inputs import batches

DISTRIBUTIONS = {"onnxruntime": "onnxruntime", "openvino": "openvino", "libtorch": "torch"}
"""The distribution with each runtime's libraries, equal to the package's name."""


MAIN_LIBRARY = {
    "onnxruntime": "capi/libonnxruntime.so*",
    "openvino": "libs/libopenvino.so*",
    "libtorch": "lib/libtorch_cpu.so",
}
"""The runtime's library in the package."""


LOADED_LIBRARIES = {
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
"""Libraries loaded by name on the CPU, by the runner or the runtime: no binary links to these."""


def package_folder(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise Unavailable(
            f"the runner links to libraries of the package {name}, which is not installed; "
            "install it"
        )
    return Path(next(iter(spec.submodule_search_locations)))


def library_of(runtime: str) -> Path:
    """Return the runtime's shared library in the Python package, or raise Unavailable."""
    package = package_folder(DISTRIBUTIONS[runtime])
    libraries = sorted(package.glob(MAIN_LIBRARY[runtime]), key=lambda path: len(path.name))
    if not libraries:
        raise Unavailable(
            f"{runtime}: no {MAIN_LIBRARY[runtime]} in the package {package.name}; C++ "
            "runners need a Linux wheel"
        )
    return libraries[-1]


def loaded_libraries(runtime: str) -> list[Path]:
    """Return the files of `LOADED_LIBRARIES` in the package, or raise Unavailable."""
    package = package_folder(DISTRIBUTIONS[runtime])
    return [file for pattern in LOADED_LIBRARIES[runtime] for file in sorted(package.glob(pattern))]


def version_of(runtime: str) -> str:
    """Return the installed version of the runtime's package."""
    return batches.version_of(DISTRIBUTIONS[runtime])


def check_library(runtime: str, loaded: Mapping[str, str]) -> None:
    """Raise RuntimeError if the loaded library differs from the library in the Python package.

    `loaded` contains the `version` reported by the library, and the loaded file (`library`).
    """
    installed, version = version_of(runtime), loaded["version"]
    if not re.match(re.escape(installed.partition("+")[0]) + r"(?![.\d])", version):
        raise RuntimeError(
            f"the runner loaded {runtime} {version}, the Python package is {installed}; "
            "unset library paths such as LD_LIBRARY_PATH"
        )
    package, file = (
        package_folder(DISTRIBUTIONS[runtime]).resolve(),
        Path(loaded["library"]).resolve(),
    )
    if package not in file.parents:
        raise RuntimeError(
            f"the runner loaded {runtime} from {file}, the Python package is in {package}; "
            "unset library paths such as LD_LIBRARY_PATH"
        )
