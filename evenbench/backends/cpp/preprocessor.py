"""Preprocessing in C++, compiled on first use: fixed-point resize as in Pillow, table of levels.

Pillow decodes.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from evenbench.backends.cpp import build, toolchain
from evenbench.backends.preprocessing.numpy_preprocessor import NumPy
from evenbench.harness.inputs import batches
from evenbench.harness.inputs.preprocessors import Image
from evenbench.harness.preprocess import Layout, Normalise, Resize, ToArray

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

FILTERS = ("bilinear", "bicubic", "nearest")
"""Filters in the order of `Filter` in `src/preprocess.hpp`."""


@dataclass(frozen=True)
class Levels:
    """Pixels, uint8 [height, width] or [height, width, 3], with the pending scaling of levels."""

    pixels: Array
    scale: float
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


class Cpp(NumPy):
    """The C++ steps; an image is a uint8 array, and `Levels` from `ToArray` on."""

    name = "cpp"
    native_sources = tuple(str(build.SOURCES / name) for name in build.PREPROCESSING)
    does = {
        "Decode": "Pillow: there is no decoder in this C++",
        "Resize": "C++: two passes of 22-bit fixed point, as Pillow's",
        "ToArray": "C++: a table of 256 numbers for each channel",
        "Normalise": "C++: part of that table",
        "Layout": "C++: where the table is looked up",
    }

    def missing(self) -> tuple[str, ...]:
        return (*super().missing(), *(() if toolchain.compiler() else ("a C++20 compiler",)))

    def resize(self, image: Image, step: Resize, width: int, height: int) -> Image:
        import numpy as np

        dense, layout = _dense(image)
        resized = np.empty((height, width, *dense.shape[2:]), np.uint8)
        _call(
            "resize",
            *layout,
            FILTERS.index(step.filter),
            int(step.antialias),
            int(tall_first()),
            width,
            height,
            resized.ctypes.data,
        )
        return resized

    def to_array(self, image: Image, step: ToArray) -> Image:
        return Levels(image, step.scale)

    def normalise(self, image: Image, step: Normalise) -> Image:
        if not isinstance(image, Levels) or image.mean:
            raise ValueError("Normalise must follow ToArray, once")
        return replace(image, mean=step.mean, std=step.std)

    def lay_out(self, image: Image, step: Layout) -> Any:
        import numpy as np

        if not isinstance(image, Levels):
            raise ValueError("Layout must follow ToArray")
        if len(image.mean) != len(image.std):
            raise ValueError(
                f"Normalise has {len(image.mean)} means and {len(image.std)} deviations"
            )
        dense, layout = _dense(image.pixels)
        height, width, channels, first = *dense.shape[:2], layout[3], step.order == "CHW"
        output = np.empty(
            (channels, height, width) if first else (height, width, channels), np.float32
        )
        means, deviations = (
            (ctypes.c_float * len(values))(*values) for values in (image.mean, image.std)
        )
        _call(
            "lay_out",
            *layout,
            image.scale,
            means,
            deviations,
            len(image.mean),
            int(first),
            output.ctypes.data,
        )
        return output.astype(step.dtype, copy=False)


def tall_first() -> bool:
    """Return True for Pillow 13 and later: images much taller than wide are first reduced in
    height.
    """
    major = batches.version_of("pillow").partition(".")[0]
    return not major.isdecimal() or int(major) >= 13


def _dense(image: Array) -> tuple[Array, tuple[int, int, int, int, int]]:
    """Return a dense image, to be kept alive by the caller, with its address and layout for C++.

    The layout is width, height, channels, and bytes between rows.
    """
    import numpy as np

    if image.dtype != np.uint8:
        raise ValueError(f"pixels are {image.dtype}; expected uint8")
    channels = image.shape[2] if image.ndim == 3 else 1
    dense = image.strides[1:] == ((channels, 1) if image.ndim == 3 else (1,))
    pixels = image if dense else np.ascontiguousarray(image)
    return pixels, (
        pixels.ctypes.data,
        pixels.shape[1],
        pixels.shape[0],
        channels,
        pixels.strides[0],
    )


def load() -> None:
    """Compile and load the library now instead of in the first step.

    Raises Unavailable without a compiler.
    """
    _library()


def _call(name: str, *arguments: object) -> None:
    library = _library()
    if not getattr(library, f"preprocess_{name}")(*arguments):
        raise RuntimeError(library.preprocess_error().decode(errors="replace"))


@cache
def _library() -> Any:
    """Load the library. Raises Unavailable without a compiler."""
    library = ctypes.CDLL(str(build.build_preprocessing()))
    pointer, number, size, real = ctypes.c_void_p, ctypes.c_int, ctypes.c_ssize_t, ctypes.c_float
    layout = [pointer, number, number, number, size]
    library.preprocess_error.restype, library.preprocess_error.argtypes = ctypes.c_char_p, []
    library.preprocess_resize.argtypes = [*layout, number, number, number, number, number, pointer]
    library.preprocess_lay_out.argtypes = [*layout, real, pointer, pointer, number, number, pointer]
    return library
