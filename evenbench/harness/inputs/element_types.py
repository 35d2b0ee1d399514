"""Element types beyond numpy's own, such as bfloat16, int4 and text, in arrays and .npy files."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

TEXT = "str"
"""The dtype of text in a `TensorSpec`."""


def dtype_of(name: str) -> np.dtype[Any]:
    """numpy's dtype for the name in a `TensorSpec`, such as `bfloat16` or `int4`.

    Raises TypeError for an unknown name, and for a narrow type without the package ml_dtypes.
    """
    import numpy as np

    with contextlib.suppress(TypeError):
        return np.dtype(name)
    import ml_dtypes  # noqa: F401  the import registers the names

    return np.dtype(name)


def is_float(name: str) -> bool:
    """Whether a dtype holds real floating numbers, of any width."""
    return name.startswith(("float", "bfloat"))


def is_text(array: Array) -> bool:
    """Whether an array holds text, of fixed length or as Python objects."""
    return array.dtype.kind in "UOST"


def storable(array: Array) -> Array:
    """The array in a dtype of numpy's own: bits of narrow types, text of fixed length.

    A .npy file of any other dtype needs pickle, or loses the dtype.
    """
    import numpy as np

    if is_text(array):
        return np.asarray(array, np.str_)
    if array.dtype.isbuiltin == 2:  # registered by ml_dtypes
        return array.view(f"u{array.dtype.itemsize}")
    return array


def restored(array: Array, name: str) -> Array:
    """The array of a .npy file in the dtype `name` of the `TensorSpec`."""
    if name == TEXT:
        return array.astype(object)
    dtype = dtype_of(name)
    return array if array.dtype == dtype else array.view(dtype)


def integer_limits(name: str) -> tuple[int, int]:
    """The least and the greatest value of an integer type, such as -8 and 7 of int4."""
    import numpy as np

    digits = int("".join(character for character in name if character.isdigit()) or 1)
    if name == "bool":
        return 0, 1
    if name in ("int2", "int4"):
        return -(2 ** (digits - 1)), 2 ** (digits - 1) - 1
    if name in ("uint2", "uint4"):
        return 0, 2**digits - 1
    limits = np.iinfo(name)
    return int(limits.min), int(limits.max)
