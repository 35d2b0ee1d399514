"""The nodes of an ONNX file, read without the onnx package: a process that times a runtime imports
no other.

An ONNX file is a protobuf message; only the few fields that are named below are read, and weights
are skipped over. It works as well in an environment in which onnx is not installed.
"""

from __future__ import annotations

import mmap
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

FLOATS = {1: "fp32", 10: "fp16", 11: "fp64", 16: "bf16"}
"""ONNX's numbers for the element types that have a precision."""

# Field numbers of ModelProto, GraphProto, NodeProto, AttributeProto and TensorProto in onnx.proto,
# which never change.
MODEL_GRAPH = 7
GRAPH_NODE, GRAPH_INITIALIZER = 1, 5
NODE_INPUT, NODE_OUTPUT, NODE_NAME, NODE_TYPE, NODE_ATTRIBUTE, NODE_DOMAIN = 1, 2, 3, 4, 5, 7
ATTRIBUTE_NAME, ATTRIBUTE_STRING = 1, 4
TENSOR_TYPE, TENSOR_NAME = 2, 8

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Protobuf's wire types. Groups, which ONNX does not use, are an error."""


@dataclass(frozen=True)
class Node:
    """One operator with the tensors that it reads and makes; `activation` is what was fused into
    it, by its attribute.
    """

    kind: str
    domain: str = ""
    name: str = ""
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    activation: str = ""

    @property
    def operator(self) -> str:
        """Its type, with the domain where that is not ONNX's own."""
        return f"{self.domain}.{self.kind}" if self.domain not in ("", "ai.onnx") else self.kind


@dataclass(frozen=True)
class Graph:
    """The main graph of a file. `constants` maps an initialiser's name to its bytes in the file,
    `stored` float types to theirs.
    """

    nodes: tuple[Node, ...] = ()
    constants: Mapping[str, int] = field(default_factory=dict)
    stored: Mapping[str, int] = field(default_factory=dict)

    @property
    def precision(self) -> str:
        """The float type that most bytes of the initialisers have, or an empty string where none
        has one.
        """
        return max(self.stored, key=lambda kind: self.stored[kind], default="")


def read(file: Path) -> Graph:
    """The main graph of an ONNX file. Raises ValueError where it is none."""
    with (
        file.open("rb") as opened,
        mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
    ):
        whole = memoryview(mapped)
        try:
            return _graph(whole)
        except (IndexError, UnicodeDecodeError) as error:
            raise ValueError(
                f"{file.name} is no ONNX file ({type(error).__name__}: {error}); export it again"
            ) from error
        finally:
            whole.release()


def _graph(whole: memoryview) -> Graph:
    nodes: list[Node] = []
    constants: dict[str, int] = {}
    stored: Counter[str] = Counter()
    for number, value in _fields(whole):
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
    """The value of the attribute `activation`, or nothing of any other."""
    found = {
        number: value
        for number, value in _fields(data)
        if number in (ATTRIBUTE_NAME, ATTRIBUTE_STRING)
    }
    named = ATTRIBUTE_NAME in found and _text(found[ATTRIBUTE_NAME]) == "activation"
    return _text(found[ATTRIBUTE_STRING]) if named and ATTRIBUTE_STRING in found else ""


def _tensor(data: memoryview) -> tuple[str, int]:
    """An initialiser's name and element type."""
    name, kind = "", 0
    for number, value in _fields(data):
        if number == TENSOR_NAME:
            name = _text(value)
        elif number == TENSOR_TYPE and isinstance(value, int):
            kind = value
    return name, kind


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Field numbers and values of one message: a number, or the bytes of a string or message within
    it.
    """
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
                raise IndexError(f"a field of {length} bytes ends behind its message")
            yield number, data[at : at + length]
            at += length
        else:
            raise IndexError(f"wire type {wire} is not protobuf's")


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """A number of seven bits per byte, lowest first, and where the next field begins."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise IndexError("a number of more than 64 bits")


def _bytes(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise IndexError("a number stands where a message was expected")
    return value


def _text(value: int | memoryview) -> str:
    return str(_bytes(value), "utf-8")
