"""Cold compilations with precompiled headers, and kernels that warm processes find in the cache.

g++ takes most of the time of a kernel to read torch's headers. Inductor can compile the headers
once, by default. But the setting is part of the names of all kernels, and a process with the
setting compiles headers even if all kernels are cached. So measuring processes run without the
setting, and here a cold compilation gets the precompiled headers under the names of such processes.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SETTING = "cpp_cache_precompile_headers"
DEFINITIONS = "_get_torch_cpp_wrapper_definition"


def leave_out_of_keys() -> bool:
    """Take the setting out of the key of inductor's graph cache; False if torch has no such list.

    The setting changes the time of g++, not the kernels.
    """
    from torch._inductor import config

    ignored = getattr(config, "_cache_config_ignore_prefix", None)
    if not isinstance(ignored, list):
        return False
    if SETTING not in ignored:
        ignored.append(SETTING)
    return True


@contextmanager
def cold(use: bool) -> Iterator[None]:
    """If `use`, compile kernels of a `with` block with precompiled headers.

    Nothing changes where the names of kernels would change, as in a torch with other internals.
    """
    keyed = leave_out_of_keys()
    # Elsewhere the definition that goes with the setting changes vector code.
    if not (use and keyed and platform.machine() == "x86_64"):
        yield
        return
    from torch._inductor import config, cpp_builder

    original = getattr(cpp_builder, DEFINITIONS, None)
    if original is None:
        yield
        return
    with config.patch({SETTING: False}):
        definitions, expected = original(), _command(cpp_builder)
    try:
        setattr(cpp_builder, DEFINITIONS, lambda: list(definitions))
        with config.patch({SETTING: True}):
            unchanged = _command(cpp_builder) == expected
        with config.patch({SETTING: unchanged}):
            yield
    finally:
        setattr(cpp_builder, DEFINITIONS, original)


def _command(cpp_builder: Any) -> str:
    """The command line that inductor makes the names of kernels from."""
    from torch._inductor import cpu_vec_isa

    options = cpp_builder.CppTorchDeviceOptions(
        device_type="cpu", vec_isa=cpu_vec_isa.pick_vec_isa()
    )
    builder = cpp_builder.CppBuilder(name="o", sources="i", BuildOption=options)
    return str(builder.get_command_line())
