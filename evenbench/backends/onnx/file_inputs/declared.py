"""The inputs and outputs that an ONNX file declares: kind, element type and sizes of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evenbench.backends.onnx.file_inputs.value_outputs import KEYS, LENGTH, PRESENT
from evenbench.harness.inputs.element_types import TEXT

if TYPE_CHECKING:
    import onnx

TENSOR, SEQUENCE, MAP = "tensor", "sequence", "map"

ELEMENTS = 3
"""The number of tensors in a made-up sequence."""


@dataclass(frozen=True)
class Declared:
    """An input or output of a file.

    `shape` holds a number, a name, or an empty string for an anonymous size; None is a tensor of
    unknown rank. `kind` is tensor, sequence or map; `shape` and `dtype` of a sequence are those of
    the elements; `dtype` of maps is the values' dtype.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...] | None
    kind: str = TENSOR
    optional: bool = False
    keys: str = ""
    """The dtype of the keys of maps, in a sequence or alone; empty for other values."""

    @property
    def is_integer(self) -> bool:
        """Whether the elements are whole numbers."""
        return self.dtype.startswith(("int", "uint"))

    @property
    def is_variable(self) -> bool:
        """Whether a run has to show the arrays of the value: a sequence, map or optional."""
        return self.kind != TENSOR or self.optional

    def described(self) -> str:
        """The type and shape as text for messages, such as `float32[batch, ?]`."""
        if self.shape is None:
            return f"{self.dtype} without a shape"
        return f"{self.dtype}[{', '.join(str(size) if size != '' else '?' for size in self.shape)}]"


def inputs(graph: onnx.GraphProto) -> list[Declared]:
    """The inputs given by a caller, without initialisers listed as inputs."""
    constants = {tensor.name for tensor in graph.initializer}
    constants |= {tensor.values.name for tensor in graph.sparse_initializer}
    return [_declared(value) for value in graph.input if value.name not in constants]


def outputs(graph: onnx.GraphProto) -> list[Declared]:
    return [_declared(value) for value in graph.output]


def separated(outputs: Sequence[Declared], names: Sequence[str]) -> list[Declared]:
    """The outputs with each sequence, map or absent value as arrays, by the names of a run
    (`value_outputs`).
    """
    flat: list[Declared] = []
    for output in outputs:
        if output.name in names or not output.is_variable:
            flat.append(output)
            continue
        starts = (f"{output.name}[", f"{output.name}.")
        parts = [name for name in names if name.startswith(starts)]
        flat += [Declared(name, _dtype_of_part(output, name), None) for name in parts]
    return flat


def _dtype_of_part(output: Declared, name: str) -> str:
    ends = {KEYS: output.keys, LENGTH: "int64", PRESENT: "bool"}
    return next((dtype for end, dtype in ends.items() if name.endswith(end)), output.dtype)


def _declared(value: onnx.ValueInfoProto) -> Declared:
    kind, type_ = TENSOR, value.type
    optional = type_.HasField("optional_type")
    if optional:
        type_ = type_.optional_type.elem_type
    if type_.HasField("sequence_type"):
        kind, type_ = SEQUENCE, type_.sequence_type.elem_type
    if type_.HasField("map_type"):
        held = dtype_of(type_.map_type.value_type.tensor_type.elem_type)
        return Declared(value.name, held, None, MAP, optional, dtype_of(type_.map_type.key_type))
    tensor = type_.sparse_tensor_type if type_.HasField("sparse_tensor_type") else type_.tensor_type
    return Declared(value.name, dtype_of(tensor.elem_type), _shape(tensor), kind, optional)


def _shape(tensor: Any) -> tuple[int | str, ...] | None:
    if not tensor.HasField("shape"):
        return None
    return tuple(map(_size, tensor.shape.dim))


def _size(size: Any) -> int | str:
    # Some writers give a negative number, or a question mark, to a free dimension.
    if size.HasField("dim_value") and size.dim_value >= 0:
        return int(size.dim_value)
    return "" if size.dim_param in ("?", "-1", "None") else str(size.dim_param)


def dtype_of(element_type: int) -> str:
    """The dtype of a `TensorSpec` for an element type of ONNX; empty if undefined."""
    import onnx

    if element_type == onnx.TensorProto.UNDEFINED:
        return ""
    if element_type == onnx.TensorProto.STRING:
        return TEXT
    return str(onnx.helper.tensor_dtype_to_np_dtype(element_type))
