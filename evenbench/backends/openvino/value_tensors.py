"""OpenVINO's tensors of types unknown to numpy: bfloat16, float8, int4 and text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evenbench.backends.onnx.file_inputs import feeds
from evenbench.harness.inputs import element_types

if TYPE_CHECKING:
    Array = Any


def write(tensor: Any, array: Array) -> None:
    """Copy an array into a tensor of equal shape and element type."""
    if element_types.is_text(array):
        tensor.str_data = array.astype(str)
    elif feeds.is_narrow(str(array.dtype)):
        tensor.data.reshape(-1).view("uint8")[...] = feeds.raw_bytes(array)
    else:
        tensor.data[...] = array


def read(tensor: Any, dtype: str) -> Array:
    """A copy of a tensor, as an array of the dtype of a `TensorSpec`."""
    import numpy as np

    if dtype == element_types.TEXT:
        return np.asarray(tensor.str_data, object)
    if not feeds.is_narrow(dtype):
        return tensor.data.copy()
    return feeds.from_bytes(tensor.data.tobytes(), dtype, list(tensor.shape))
