"""Preprocessing in C++, compiled on first use: resizing in fixed point as Pillow does, and levels
to numbers by a table. Pillow decodes.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from backends.cpp import build, toolchain
from backends.preprocessing.numpy_preprocessor import NumPy
from harness.inputs import batches
from harness.inputs.preprocessors import Image
from harness.preprocess import Layout, Normalise, Resize, ToArray

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

FILTERS = ("bilinear", "bicubic", "nearest")
"""In the order of `Filter` in `cpp/pixels.hpp`."""


@dataclass(frozen=True)
class Levels:
    """Pixels, uint8 [height, width] or [height, width, 3], and what becomes of their levels when
    they are laid out.
    """

    pixels: Array
    scale: float
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


class Cpp(NumPy):
    """An image is a uint8 array, as with NumPy, and `Levels` from `ToArray` on. C++ programs do
    their steps by the same code.
    """

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

        taken, place = _dense(image)
        made = np.empty((height, width, *taken.shape[2:]), np.uint8)
        _call(
            "resize",
            *place,
            FILTERS.index(step.filter),
            int(step.antialias),
            int(tall_first()),
            width,
            height,
            made.ctypes.data,
        )
        return made

    def to_array(self, image: Image, step: ToArray) -> Image:
        return Levels(image, step.scale)

    def normalise(self, image: Image, step: Normalise) -> Image:
        if not isinstance(image, Levels) or image.mean:
            raise ValueError("Normalise comes once, after ToArray")
        return replace(image, mean=step.mean, std=step.std)

    def lay_out(self, image: Image, step: Layout) -> Any:
        import numpy as np

        if not isinstance(image, Levels):
            raise ValueError("Layout comes after ToArray")
        if len(image.mean) != len(image.std):
            raise ValueError(
                f"Normalise has {len(image.mean)} means and {len(image.std)} deviations"
            )
        taken, place = _dense(image.pixels)
        height, width, channels, first = *taken.shape[:2], place[3], step.order == "CHW"
        made = np.empty(
            (channels, height, width) if first else (height, width, channels), np.float32
        )
        means, deviations = (
            (ctypes.c_float * len(values))(*values) for values in (image.mean, image.std)
        )
        _call(
            "lay_out",
            *place,
            image.scale,
            means,
            deviations,
            len(image.mean),
            int(first),
            made.ctypes.data,
        )
        return made.astype(step.dtype, copy=False)


def tall_first() -> bool:
    """Whether what loses more than twice as many rows as columns is made lower before it is made
    narrower: so from Pillow 13 on.
    """
    major = batches.version_of("pillow").partition(".")[0]
    return not major.isdecimal() or int(major) >= 13


def _dense(image: Array) -> tuple[Array, tuple[int, int, int, int, int]]:
    """An image as the C++ takes it, which must outlive the call: its address, width, height,
    channels, and bytes from row to row.
    """
    import numpy as np

    if image.dtype != np.uint8:
        raise ValueError(f"pixels are {image.dtype}; expected uint8")
    channels = image.shape[2] if image.ndim == 3 else 1
    dense = image.strides[1:] == ((channels, 1) if image.ndim == 3 else (1,))
    taken = image if dense else np.ascontiguousarray(image)
    return taken, (taken.ctypes.data, taken.shape[1], taken.shape[0], channels, taken.strides[0])


def load() -> None:
    """Compile and load the library now, and not within the first step. Raises Unavailable where it
    cannot be compiled.
    """
    _library()


def _call(name: str, *arguments: object) -> None:
    library = _library()
    if not getattr(library, f"pixels_{name}")(*arguments):
        raise RuntimeError(library.pixels_error().decode(errors="replace"))


@cache
def _library() -> Any:
    """Raises Unavailable where it cannot be compiled."""
    library = ctypes.CDLL(str(build.build_preprocessing()))
    pointer, number, size, real = ctypes.c_void_p, ctypes.c_int, ctypes.c_ssize_t, ctypes.c_float
    place = [pointer, number, number, number, size]
    library.pixels_error.restype, library.pixels_error.argtypes = ctypes.c_char_p, []
    library.pixels_resize.argtypes = [*place, number, number, number, number, number, pointer]
    library.pixels_lay_out.argtypes = [*place, real, pointer, pointer, number, number, pointer]
    return library
