"""Tensors of ONNX test data: input_0.pb and output_0.pb of a `test_data_set_*` folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.harness import UsageError

if TYPE_CHECKING:
    import onnx


def read(file: Path) -> tuple[str, Any]:
    """The name and value of a file: an array, a list of arrays, or None for an absent optional.

    A file does not say its kind, and bytes of one kind may parse as another, so the first kind with
    complete values counts. An optional tensor reads as a list of one array.
    Raises UsageError for another file.
    """
    import onnx

    data = file.read_bytes()
    for kind, convert in (
        (onnx.TensorProto, _array),
        (onnx.SequenceProto, _list),
        (onnx.OptionalProto, _optional),
    ):
        try:
            message = kind.FromString(data)
            return message.name, convert(message)
        except Exception:  # protobuf's and numpy's errors on bytes of another kind
            continue
    raise UsageError(f"{file} is no tensor, sequence or optional of ONNX; write the file again")


def _array(tensor: onnx.TensorProto) -> Any:
    from onnx import TensorProto, numpy_helper

    array = numpy_helper.to_array(tensor)
    if tensor.data_type == TensorProto.STRING:
        texts = [text.decode() if isinstance(text, bytes) else str(text) for text in array.flat]
        import numpy as np

        return np.asarray(texts, "str").reshape(array.shape)
    return array


def _list(sequence: onnx.SequenceProto) -> list[Any]:
    from onnx import SequenceProto

    if sequence.elem_type != SequenceProto.TENSOR:
        raise ValueError(f"sequence {sequence.name} holds other values than tensors")
    return [_array(tensor) for tensor in sequence.tensor_values]


def _optional(value: onnx.OptionalProto) -> Any:
    from onnx import OptionalProto

    if value.elem_type == OptionalProto.TENSOR and value.HasField("tensor_value"):
        return _array(value.tensor_value)
    if value.elem_type == OptionalProto.SEQUENCE and value.HasField("sequence_value"):
        return _list(value.sequence_value)
    return None
