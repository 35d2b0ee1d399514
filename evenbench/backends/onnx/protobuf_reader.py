"""A reader of the nodes in ONNX files without the onnx package.

Timed processes import no package other than their runtime, and other environments may lack onnx. An
ONNX file is a protobuf message; the reader knows the fields below, and skips the values of weights.
"""

from __future__ import annotations

import mmap
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

FLOATS = {1: "fp32", 10: "fp16", 11: "fp64", 16: "bf16"}
"""ONNX's numbers of the floating element types."""

# Field numbers of ModelProto, GraphProto, NodeProto, AttributeProto and TensorProto in onnx.proto.
# Field numbers never change.
MODEL_GRAPH = 7
GRAPH_NODE, GRAPH_INITIALIZER = 1, 5
NODE_INPUT, NODE_OUTPUT, NODE_NAME, NODE_TYPE, NODE_ATTRIBUTE, NODE_DOMAIN = 1, 2, 3, 4, 5, 7
ATTRIBUTE_NAME, ATTRIBUTE_STRING = 1, 4
TENSOR_TYPE, TENSOR_NAME = 2, 8

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""The wire types of protobuf. Groups are an error, because ONNX uses none."""


@dataclass(frozen=True)
class Node:
    """An operator with input and output names; `activation` is the fused function, if any."""

    kind: str
    domain: str = ""
    name: str = ""
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    activation: str = ""

    @property
    def operator(self) -> str:
        """The operator type, with the domain of custom operators."""
        return f"{self.domain}.{self.kind}" if self.domain not in ("", "ai.onnx") else self.kind


@dataclass(frozen=True)
class Graph:
    """The main graph of a file.

    `constants` maps initialiser names to bytes in the file, `stored` maps float types to bytes.
    """

    nodes: tuple[Node, ...] = ()
    constants: Mapping[str, int] = field(default_factory=dict)
    stored: Mapping[str, int] = field(default_factory=dict)

    @property
    def precision(self) -> str:
        """The float type of most bytes of the initialisers; an empty string without floats."""
        return max(self.stored, key=lambda kind: self.stored[kind], default="")


def read(file: Path) -> Graph:
    """The main graph of an ONNX file. Raises ValueError for other files."""
    with (
        file.open("rb") as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
    ):
        data = memoryview(mapped)
        try:
            return _graph(data)
        except (IndexError, UnicodeDecodeError) as error:
            raise ValueError(
                f"{file.name} is not an ONNX file ({type(error).__name__}: {error}); "
                "export it again"
            ) from error
        finally:
            data.release()


def _graph(data: memoryview) -> Graph:
    nodes: list[Node] = []
    constants: dict[str, int] = {}
    stored: Counter[str] = Counter()
    for number, value in _fields(data):
        if number != MODEL_GRAPH:
            continue
        for inner, part in _fields(_bytes(value)):
            if inner == GRAPH_NODE:
                nodes.append(_node(_bytes(part)))
            elif inner == GRAPH_INITIALIZER:
                name, kind = _tensor(_bytes(part))
                constants[name] = len(_bytes(part))
                if kind in FLOATS:
                    stored[FLOATS[kind]] += constants[name]
    return Graph(tuple(nodes), constants, dict(stored))


def _node(data: memoryview) -> Node:
    texts: dict[int, list[str]] = {}
    activation = ""
    for number, value in _fields(data):
        if number in (NODE_INPUT, NODE_OUTPUT, NODE_NAME, NODE_TYPE, NODE_DOMAIN):
            texts.setdefault(number, []).append(_text(value))
        elif number == NODE_ATTRIBUTE:
            activation = activation or _activation(_bytes(value))
    kind, domain, name = (
        "".join(texts.get(number, [])) for number in (NODE_TYPE, NODE_DOMAIN, NODE_NAME)
    )
    return Node(
        kind,
        domain,
        name,
        tuple(texts.get(NODE_INPUT, ())),
        tuple(texts.get(NODE_OUTPUT, ())),
        activation,
    )


def _activation(data: memoryview) -> str:
    """The value of an attribute named `activation`; an empty string for other attributes."""
    fields = {
        number: value
        for number, value in _fields(data)
        if number in (ATTRIBUTE_NAME, ATTRIBUTE_STRING)
    }
    matches = ATTRIBUTE_NAME in fields and _text(fields[ATTRIBUTE_NAME]) == "activation"
    return _text(fields[ATTRIBUTE_STRING]) if matches and ATTRIBUTE_STRING in fields else ""


def _tensor(data: memoryview) -> tuple[str, int]:
    """The name and element type of an initialiser."""
    name, kind = "", 0
    for number, value in _fields(data):
        if number == TENSOR_NAME:
            name = _text(value)
        elif number == TENSOR_TYPE and isinstance(value, int):
            kind = value
    return name, kind


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield the fields of a message: number, and integer or bytes of a string or message."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == VARINT:
            value, at = _varint(data, at)
            yield number, value
        elif wire in (FIXED64, FIXED32):
            at += 8 if wire == FIXED64 else 4
        elif wire == BYTES:
            length, at = _varint(data, at)
            if at + length > len(data):
                raise IndexError(f"a field of {length} bytes ends beyond the message")
            yield number, data[at : at + length]
            at += length
        else:
            raise IndexError(f"wire type {wire} is unknown to protobuf")


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """Read an integer of seven bits per byte, lowest first; return value and next offset."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise IndexError("an integer of more than 64 bits")


def _bytes(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise IndexError("an integer instead of a message")
    return value


def _text(value: int | memoryview) -> str:
    return str(_bytes(value), "utf-8")
