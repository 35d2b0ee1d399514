"""Shared libraries inside the runtimes' Python packages, used by C++ runners."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path

from harness import Unavailable
from harness.inputs import batches

DISTRIBUTIONS = {"onnxruntime": "onnxruntime", "openvino": "openvino", "libtorch": "torch"}
"""The distribution that carries each runtime's libraries, and the name of its package; one of them
is what the program runs on.
"""


MAIN_LIBRARY = {
    "onnxruntime": "capi/libonnxruntime.so*",
    "openvino": "libs/libopenvino.so*",
    "libtorch": "lib/libtorch_cpu.so",
}
"""Where in the package the library is."""


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
"""What the runner, or its runtime, opens by name when a cell is loaded on the CPU: nothing is
linked against these.
"""


def package_folder(name: str) -> Path:
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
    package = package_folder(DISTRIBUTIONS[runtime])
    found = sorted(package.glob(MAIN_LIBRARY[runtime]), key=lambda path: len(path.name))
    if not found:
        raise Unavailable(
            f"{runtime}: no {MAIN_LIBRARY[runtime]} in the package {package.name}; C++ runners need a Linux wheel"
        )
    return found[-1]


def loaded_libraries(runtime: str) -> list[Path]:
    """The files of `OPENED` inside the runtime's package. Raises Unavailable where it is not there."""
    package = package_folder(DISTRIBUTIONS[runtime])
    return [file for pattern in LOADED_LIBRARIES[runtime] for file in sorted(package.glob(pattern))]


def version_of(runtime: str) -> str:
    """The installed version of the package that carries the runtime."""
    return batches.version_of(DISTRIBUTIONS[runtime])


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
    package, found = (
        package_folder(DISTRIBUTIONS[runtime]).resolve(),
        Path(loaded["library"]).resolve(),
    )
    if package not in found.parents:
        raise RuntimeError(
            f"the runner loaded {runtime} from {found}, the Python package is in {package}; a library path such as LD_LIBRARY_PATH "
            "leads elsewhere, unset it"
        )
